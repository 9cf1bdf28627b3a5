"""Pages to be read: image files, folders of them, pages of TIFF files, and PDF files."""

import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from class_maps import ConfigError, InputError, MissingExtraError
from converters import image_headers, images
from converters.formats.image_folders import OTHER_IMAGE_SUFFIXES, files_in
from converters.image_headers import IMAGE_SUFFIXES
from converters.images import Pixels
from reading.options import ImageOptions
from reading.pdf_images import image_damage

PDF = ".pdf"
_ROUNDING = 1e-6
"""Relative error of the sides of a PDF page, which are stored in single precision."""
_PDFIUM = threading.Lock()  # PDFium must not be called from two threads at once


@dataclass(frozen=True, kw_only=True, slots=True)
class PageFile:
    """A page that can be read: an image file, or a page of a file with several pages."""

    name: PurePosixPath
    """Name of the page, relative to the folder that contains it; unique."""
    path: Path
    index: int | None = None
    """Page in the file, from 0; None for image files with a single page."""

    @property
    def score(self) -> PurePosixPath:
        """Name of the page's score: its file if that has several pages, otherwise its folder."""
        return self.name.parent if self.index is None else self.name.parent / self.path.name

    @property
    def where(self) -> str:
        """The file and, if it has several pages, the page from 1, for messages."""
        return str(self.path) if self.index is None else f"{self.path}: page {self.index + 1}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PageList:
    """All pages of the sources of a command."""

    pages: tuple[PageFile, ...]
    failures: dict[str, str]
    """Reason for each file whose pages cannot be listed, such as a PDF with a password."""
    n_skipped: int
    """Number of images in folders whose format is not supported."""


def list_pages(sources: Iterable[Path]) -> PageList:
    """List the pages of image files, PDF files and folders, in reading order.

    Args:
        sources: Files, and folders that are searched with their subfolders; hidden files are
            ignored.

    Raises:
        ConfigError: No pages were found, a source does not exist or is not an image, or two pages
            have the same name.
        MissingExtraError: A source is a PDF file and pypdfium2 is not installed.
    """
    pages: list[PageFile] = []
    failures: dict[str, str] = {}
    n_skipped = 0
    for source in sources:
        for path, name in _files(source):
            if path.suffix.lower() not in {PDF, *IMAGE_SUFFIXES}:
                n_skipped += path.suffix.lower() in OTHER_IMAGE_SUFFIXES
                continue
            try:
                pages += _pages_of(path, name)
            except InputError as error:
                failures[str(path)] = str(error).removeprefix(f"{path}: ")
    if not pages and not failures:
        raise ConfigError(f"{' '.join(map(str, sources))}: contains no images and no PDF files")
    _check_names(pages)
    return PageList(pages=tuple(pages), failures=failures, n_skipped=n_skipped)


def _files(source: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Yield the files of a source, each with its path relative to it."""
    if source.is_dir():
        for path in sorted(files_in(source), key=_reading_order):
            yield path, PurePosixPath(path.relative_to(source).as_posix())
    elif not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    elif source.suffix.lower() not in {PDF, *IMAGE_SUFFIXES}:
        expected = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ConfigError(f"{source}: not a page; expected {expected}, {PDF} or a folder")
    else:
        yield source, PurePosixPath(source.name)


def _reading_order(path: Path) -> tuple[Path, list[str | int]]:
    """Return a key that keeps folders together and sorts page 2 before page 10."""
    parts = re.split(r"([0-9]+)", path.name)
    return path.parent, [int(part) if part.isdecimal() else part for part in parts]


def _pages_of(path: Path, name: PurePosixPath) -> list[PageFile]:
    """List the pages of a file; those of a file with several get numbers in their names."""
    if path.suffix.lower() == PDF:
        with _PDFIUM:
            document = _open_pdf(path)
            n = len(document)
            document.close()
        if not n:
            raise InputError("contains no pages", path=path)
        indices = list(range(n))
    else:
        is_tiff = path.suffix.lower() in {".tif", ".tiff"}
        indices = image_headers.pages(path) if is_tiff else [0]
        if indices == [0]:
            return [PageFile(name=name, path=path)]
    digits = len(str(len(indices)))
    return [
        PageFile(name=name.with_name(f"{name.stem}-{i + 1:0{digits}}.png"), path=path, index=index)
        for i, index in enumerate(indices)
    ]


def _check_names(pages: Iterable[PageFile]) -> None:
    """Check that names differ in more than suffix and letter case, as names of files must."""
    counts = Counter(_file_name(page) for page in pages)
    if duplicates := [name for name, n in counts.items() if n > 1]:
        name = duplicates[0]
        first, second = [page.path for page in pages if _file_name(page) == name][:2]
        raise ConfigError(
            f"{first} and {second}: output files of both would be called {name}; rename one of the "
            "pages, or read them with separate commands"
        )


def _file_name(page: PageFile) -> str:
    return str(page.name.with_suffix("")).casefold()


def read_image(page: PageFile, options: ImageOptions) -> Pixels:
    """Read a page on a white background, upright, as greyscale if it contains no colour.

    Args:
        page: Page to read.
        options: How images are decoded; the limit on pixels is checked before.

    Returns:
        Pixels, shape ``(height, width)`` or ``(height, width, 3)`` in BGR order.

    Raises:
        InputError: The page is missing, damaged, truncated, or too large.
    """
    if page.path.suffix.lower() == PDF:
        return _read_pdf(page, options)
    size = image_headers.size(page.path, page.index or 0)
    _check_pixels(page, size, options, "reduce its resolution")
    if page.index is None:
        return images.read(page.path)
    return images.read_frame(page.path, page.index)


def _check_pixels(
    page: PageFile, size: tuple[int, int], options: ImageOptions, remedy: str
) -> None:
    width, height = size
    if width * height > options.max_pixels:
        raise InputError(
            f"has {width} x {height} px, more than --max-pixels {options.max_pixels:,}; {remedy}, "
            "or raise the limit",
            path=page.path,
        )


def _open_pdf(path: Path) -> Any:  # noqa: ANN401
    """Open a PDF file, a ``PdfDocument`` of the untyped pypdfium2."""
    try:
        import pypdfium2
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: PDF files need pypdfium2, which is not installed; run pip install "
            "'omr-toolkit[pdf]'"
        ) from error
    try:
        document = pypdfium2.PdfDocument(path)
        document.init_forms()  # otherwise, the content of form fields would not be drawn
        return document
    except (pypdfium2.PdfiumError, OSError) as error:
        text = str(error)
        if "password" in text.lower():
            text = "needs a password; save it without one"
        elif isinstance(error, pypdfium2.PdfiumError):
            text = "is damaged or not a PDF file"
        raise InputError(text, path=path) from error


def _read_pdf(page: PageFile, options: ImageOptions) -> Pixels:
    """Draw a page of a PDF file."""
    assert page.index is not None
    with _PDFIUM:
        document = _open_pdf(page.path)
        from pypdfium2 import PdfiumError

        try:
            drawn = document[page.index]
            size = tuple(max(1, round(side * options.dpi / 72)) for side in drawn.get_size())
            _check_pixels(page, (size[0], size[1]), options, "use a lower --dpi")
            # Sides are rounded up: 1240.00001 px would blur a scan of 1240 px over 1241 px.
            scale = options.dpi / 72 * (1 - _ROUNDING)
            pixels = np.array(drawn.render(scale=scale).to_numpy()[..., :3])
            damage = image_damage(drawn)
        except PdfiumError as error:
            where = f"page {page.index + 1}"
            raise InputError("is damaged", path=page.path, where=where) from error
        finally:
            document.close()
    if damage:
        raise InputError(
            f"contains an image that is damaged or truncated: {damage}",
            path=page.path,
            where=f"page {page.index + 1}",
        )
    return images.without_colour(pixels)
