"""Preparation of one page in a worker process: clean, scale and tile; write images and YOLO labels.

Jobs and results can be pickled and contain everything that the worker and the main process need.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from converters import image_headers, images, tally
from converters.files.placing import link
from converters.formats.yolo import write_labels
from converters.image_tars import find_in_tar, page_tar, write_tar
from converters.names import ImageMode
from converters.page import Page
from converters.prepare.candidates import CandidateLimits, find_candidates
from converters.prepare.cleaning import CleaningOptions, clean
from converters.prepare.scaling import scale
from converters.prepare.staff_lines import ON_SIDE, doubts, lies_on_side, measure_staff_space
from converters.prepare.tiles import TileOptions, cut
from converters.tally import Tally


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparationOptions:
    """Settings that determine how pages become images with labels."""

    cleaning: CleaningOptions = field(default_factory=CleaningOptions)
    staff_space: float | None = None
    """Staff space in pixels that every page is scaled to; None to keep the original size."""
    tiles: TileOptions | None = None
    """How to cut pages into tiles; None to keep whole pages."""

    @property
    def keep_images(self) -> bool:
        """Whether images are neither scaled nor cut."""
        return self.staff_space is None and self.tiles is None


@dataclass(frozen=True, kw_only=True, slots=True)
class PageProperties:
    """Properties of a page by which an evaluation breaks scores down."""

    staff_space: float | None = None
    """Staff space of the source's page in pixels; None if it is unknown."""
    source: str = ""
    """Data set or folder that the page comes from; empty if all pages of a split come from one."""
    capture: str = ""
    """How an engraved page was degraded, such as ``scan``; empty if this is unknown."""
    work: str = ""
    """Work of the page, if the name of its image does not contain it; empty if it is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Job:
    """One page to prepare, with its settings and output folders."""

    page: Page
    """The page, under its name in the output."""
    image: PurePosixPath
    """Image file of the page in ``image_folder``."""
    split: str
    source: str
    """Data set or folder that the page comes from; empty if all pages of a split come from one."""
    image_folder: Path | None
    """Folder of the page's image; None to prepare labels only."""
    image_out: Path | None
    """Output folder of images; None to write none."""
    image_mode: ImageMode
    """How the image of a whole page gets there."""
    label_out: Path | None
    """Output folder of label files; None unless the YOLO format is written."""
    return_symbols: bool
    """Whether to return the symbols, for formats that write the pages of a split to one file."""
    names: Sequence[str]
    """Names of the classes."""
    options: PreparationOptions
    candidates: CandidateLimits | None = None
    """Numbers of candidates for contact sheets; None to find none."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PreparedPage:
    """Outputs of one page, whole or in tiles, and the counts of its symbols."""

    split: str
    page: PurePosixPath
    """Image file of the page."""
    n_annotations: int | None
    """Number of annotations of the page in the source; None if unknown."""
    outputs: list[Page]
    """The page itself, or its tiles as pages; without symbols unless the job requests them."""
    n_empty: int
    """Number of outputs without symbols."""
    counts: Tally
    properties: PageProperties
    sha256: str = ""
    """Hash of the page's image file if the page was cut or scaled; empty if it was copied."""
    is_kept: bool = False
    """Whether the page was neither cut nor scaled; its placement, if any, is that of the source."""
    is_reencoded: bool = False
    """Whether the image had to be re-encoded instead of linked."""
    is_measured: bool = False
    """Whether the page was scaled by a staff space that was measured in its image."""
    doubts: tuple[str, ...] = ()
    """Reasons to doubt the measured staff space."""
    candidates: NDArray[np.void] | None = None
    """Candidates for contact sheets, see :func:`~converters.prepare.candidates.find_candidates`;
    None unless the job requests them."""


class _SourceImage:
    """Image file of a page, read and decoded at most once, when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def content(self) -> bytes:
        """Bytes of the file."""
        return images.file_bytes(self.path)

    @cached_property
    def pixels(self) -> images.Pixels:
        """Pixels, see :func:`converters.images.read`."""
        return images.from_bytes(self.content, self.path)


def prepare(job: Job) -> PreparedPage:
    """Clean, scale and tile one page, and write its images and label files.

    Raises:
        InputError: The image is damaged, or the page cannot be scaled.
        OSError: An image or label file cannot be written.
    """
    counts, options = Tally(), job.options
    doubts_of_page: tuple[str, ...] = ()
    page = clean(job.page, job.names, options.cleaning, counts)
    if not options.keep_images:
        page = replace(page, placement=None)  # tiles of a tile refer to the tile
    source = _SourceImage(job.image_folder / job.image) if job.image_folder else None
    if options.staff_space:
        page, doubts_of_page = _with_staff_space(page, source)
        page = scale(page, options.staff_space, (job.image_folder or Path()) / job.image)
    outputs = _tiles(page, job, counts)
    _count_labels(outputs, job.names, counts)
    _make_folders(job)
    if job.label_out:
        for output in outputs:
            write_labels(output, job.label_out)
    page_hash, is_reencoded = "", False
    if source and job.image_mode in {"link", "reference"}:
        is_reencoded = _link_image(source, job, outputs)
    elif source and job.image_out:
        page_hash = _write_images(source, job, page, outputs, job.image_out)
    n_empty = sum(not len(output.labels) for output in outputs)
    candidates = find_candidates(outputs, job.candidates) if job.candidates else None
    if not job.return_symbols:
        outputs = [output.only(slice(0)) for output in outputs]
    return PreparedPage(
        split=job.split,
        page=job.page.image,
        n_annotations=job.page.n_annotations,
        outputs=outputs,
        n_empty=n_empty,
        counts=counts,
        properties=PageProperties(
            staff_space=job.page.staff_space,
            source=job.source,
            capture=job.page.capture,
            work=job.page.work,
        ),
        sha256=page_hash,
        is_kept=options.keep_images,
        is_reencoded=is_reencoded,
        is_measured=options.staff_space is not None and job.page.staff_space is None,
        doubts=doubts_of_page,
        candidates=candidates,
    )


def _with_staff_space(page: Page, source: _SourceImage | None) -> tuple[Page, tuple[str, ...]]:
    """Measure the staff space in the image if the annotations do not give it.

    Returns:
        The page with its staff space, and reasons to doubt it.
    """
    if page.staff_space is not None or source is None:
        return page, ()
    spaces = measure_staff_space(source.pixels)
    if spaces is None:
        return page, ()
    on_side = lies_on_side(source.pixels)
    reasons = (ON_SIDE,) if on_side else tuple(doubts(spaces, source.pixels.shape[1]))
    return replace(page, staff_space=spaces.most), reasons


def _make_folders(job: Job) -> None:
    """Create the subfolders that an image name contains.

    The folders of the split exist already; if they do not, the conversion has been aborted.
    """
    nested = job.page.image.parent
    if nested.name:
        for folder in filter(None, (job.image_out, job.label_out)):
            (folder / nested).mkdir(parents=True, exist_ok=True)


def _count_labels(outputs: list[Page], names: Sequence[str], counts: Tally) -> None:
    for output in outputs:
        counts.labels.update(tally.count(output.labels, names))
        if output.cut is not None:
            counts.cut.update(tally.count(output.labels[output.cut], names))


def _tiles(page: Page, job: Job, counts: Tally) -> list[Page]:
    """Return the page or, if pages are cut, its tiles."""
    options, names = job.options.tiles, job.names
    if options is None:
        counts.written.update(tally.count(page.labels, names))
        if page.image.suffix.lower() in image_headers.IMAGE_SUFFIXES:
            return [page]
        return [replace(page, image=page.image.with_suffix(".png"))]
    tiles = list(cut(page, options))
    is_visible = np.zeros(len(page.labels), bool)
    for tile in tiles:
        is_visible[tile.rows] = True
    counts.written.update(tally.count(page.labels[is_visible], names))
    counts.drop(tally.HIDDEN_BY_TILES, page.labels[~is_visible], names)
    is_kept = [
        job.split != "train" or len(tile.rows) > 0 or options.keeps_blank(tile.page.image)
        for tile in tiles
    ]
    return [tile.page for tile, kept in zip(tiles, is_kept, strict=True) if kept]


def _write_images(
    source: _SourceImage, job: Job, page: Page, outputs: list[Page], folder: Path
) -> str:
    """Write the images of a page, and check the size of the one that was read.

    Args:
        source: Image file, which may have been replaced since all sizes were checked.
        job: The page as read, and its options.
        page: The scaled page.
        outputs: The page or its tiles; empty if all tiles are blank and dropped.
        folder: Output folder; a tar file per page if images go to shards.

    Returns:
        Hash of the image file if the page was cut or scaled; empty if it was copied.

    Raises:
        InputError: The image is damaged, or has another size than its labels assume.
    """
    is_copied = job.options.keep_images
    contents = _copied(source, job, outputs[0]) if is_copied else _cut(source, job, page, outputs)
    if job.image_mode == "tar":
        write_tar(folder / page_tar(job.page.image), contents)
    else:
        for name, content in contents:
            (folder / name).write_bytes(content)
    return "" if is_copied else hashlib.sha256(source.content).hexdigest()


def _copied(source: _SourceImage, job: Job, output: Page) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the name and the bytes of the image of a whole page."""
    content = images.copied(source.path, output.image.suffix)
    _check_size(image_headers.size(source.path, content=content), job.page, source.path)
    yield output.image, content


def _cut(
    source: _SourceImage, job: Job, page: Page, outputs: Sequence[Page]
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the name and the bytes of each image of a page that is scaled or cut."""
    pixels = source.pixels
    _check_size(pixels.shape[1::-1], job.page, source.path)
    if pixels.shape[:2] != (page.height, page.width):
        pixels = images.scaled(pixels, page.width, page.height)
    for output in outputs:
        x, y = (output.placement.x, output.placement.y) if output.placement else (0, 0)
        tile = pixels[y : y + output.height, x : x + output.width]
        yield output.image, images.png(tile)


def _link_image(source: _SourceImage, job: Job, outputs: Sequence[Page]) -> bool:
    """Link the image of a whole page, or check that it can be referred to.

    Returns:
        Whether the image was re-encoded, because not all readers would read the same pixels.

    Raises:
        InputError: The image is damaged, has another size than its labels assume, or would have to
            be re-encoded but is referred to.
    """
    [output] = outputs
    if find_in_tar(source.path):
        reason = "is in a tar file, which cannot be linked; use --images copy or --images tar"
        raise InputError(reason, path=source.path)
    is_ambiguous = image_headers.is_ambiguous(source.path)
    is_plain = not is_ambiguous and source.path.suffix == output.image.suffix
    _check_size(images.check_complete(source.path), job.page, source.path)
    if job.image_out and is_plain:
        link(source.path, job.image_out / output.image)
    elif job.image_out:
        images.copy(source.path, job.image_out / output.image)
    elif not is_plain:
        raise InputError(
            "is rotated, transparent or of 16 bits, so that not all readers would read the same "
            "pixels; use --images copy",
            path=source.path,
        )
    return not is_plain


def _check_size(size: tuple[int, ...], page: Page, path: Path) -> None:
    if size != (page.width, page.height):
        raise InputError(
            f"is {size[0]} x {size[1]} px, but its labels are for {page.width} x {page.height} px; "
            "it may have changed during the conversion",
            path=path,
        )
