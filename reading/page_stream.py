"""Reading of many pages, one after the other, with images decoded ahead in threads."""

import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from class_maps import InputError, OmrError
from converters.images import Pixels
from converters.page import Page
from reading.network import Network
from reading.options import PAGES_AHEAD, ImageOptions
from reading.page_images import PageFile, read_image
from reading.page_reader import PreparedPage, ReadingOptions, prepare, read_page
from reading.read_ahead import read_ahead


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PageReading:
    """Outcome for one page."""

    file: PageFile
    page: Page | None = None
    """The page with its symbols; None if it could not be read."""
    image: Pixels | None = None
    """Pixels of the page; None if it could not be read, or was read before and is not shown."""
    angle_degrees: float = 0.0
    """Angle by which the page was turned back, see :attr:`PreparedPage.angle_degrees`."""
    n_tiles: int = 0
    """Number of tiles that the network read; tiles without ink are skipped."""
    seconds: float = 0.0
    """Time for decoding, preparation, the network and merging."""
    remarks: tuple[str, ...] = ()
    """Notes for the user about this page."""
    error: str | None = None
    """Reason why the page could not be read, in one line."""

    @property
    def name(self) -> PurePosixPath:
        """Name of the page."""
        return self.file.name


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Decoded:
    """A page that a thread has decoded and prepared."""

    file: PageFile
    seconds: float
    image: Pixels | None = None
    prepared: PreparedPage | None = None
    error: str | None = field(default=None)


def unread(_file: PageFile) -> PageReading | None:
    """Find no reading of an earlier process."""
    return None


def read_pages(
    files: Iterable[PageFile],
    network: Network,
    options: ReadingOptions,
    *,
    images: ImageOptions | None = None,
    batch: int = 16,
    threads: int = PAGES_AHEAD,
    find: Callable[[PageFile], PageReading | None] = unread,
) -> Generator[PageReading, None, None]:
    """Read pages; one that cannot be read does not stop the others.

    Args:
        files: Pages to read.
        network: Trained network.
        options: Everything that determines the symbols, besides network and images.
        images: How page images are decoded.
        batch: Maximum number of tiles in a call of the network; with torch, affects last digits.
        threads: Pages that are decoded at the same time; does not change the symbols.
        find: Returns the complete reading of a page if there is one already; called by threads.

    Yields:
        The outcome for each page, in the order of ``files``.
    """
    image_options = images or ImageOptions()

    def decode(file: PageFile) -> PageReading | _Decoded:
        return find(file) or _decode(file, network.imgsz, options, image_options)

    for pages in read_ahead(files, decode, threads):
        for one in pages:
            yield one if isinstance(one, PageReading) else _read(one, network, options, batch)


def _decode(file: PageFile, imgsz: int, options: ReadingOptions, images: ImageOptions) -> _Decoded:
    start = time.perf_counter()
    try:
        image = read_image(file, images)
        prepared = prepare(file.name, image, imgsz, options)
    except InputError as error:
        reason = str(error).removeprefix(f"{file.path}: ")
        return _Decoded(file=file, error=reason, seconds=time.perf_counter() - start)
    seconds = time.perf_counter() - start
    return _Decoded(file=file, image=image, prepared=prepared, seconds=seconds)


def _read(decoded: _Decoded, network: Network, options: ReadingOptions, batch: int) -> PageReading:
    if decoded.prepared is None:
        return PageReading(file=decoded.file, error=decoded.error, seconds=decoded.seconds)
    start = time.perf_counter()
    try:
        page = read_page(decoded.prepared, network, options, batch=batch)
    except OmrError as error:
        seconds = decoded.seconds + time.perf_counter() - start
        return PageReading(file=decoded.file, error=str(error), seconds=seconds)
    return PageReading(
        file=decoded.file,
        page=page,
        image=decoded.image,
        angle_degrees=decoded.prepared.angle_degrees,
        n_tiles=int(decoded.prepared.grid.has_ink.sum()),
        seconds=decoded.seconds + time.perf_counter() - start,
        remarks=decoded.prepared.remarks,
    )
