"""What is done to one page: clean, scale, tile; and the images that come of it.

A worker process does this; everything it needs and makes can be pickled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from class_maps import InputError
from converters import images, tally
from converters.formats.yolo import write_labels
from converters.page import Page, Placement
from converters.prepare.cleaning import CleaningOptions, clean
from converters.prepare.tiles import TileOptions, cut
from converters.tally import Tally


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparationOptions:
    """How pages become images with labels."""

    cleaning: CleaningOptions = field(default_factory=CleaningOptions)
    staff_space: float | None = None
    """Scale every page so that its staff lines are this many pixels apart."""
    tiles: TileOptions | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Job:
    """One page to prepare."""

    page: Page
    split: str
    image_folder: Path | None
    """Where the page's image lies; None where only labels are wanted."""
    image_out: Path | None
    """Where images go; None where only labels are wanted."""
    label_out: Path | None
    """Where label files go, if the YOLO format is wanted."""
    hand_back: bool
    """Whether the symbols are wanted back, for formats that gather all pages in one file."""
    names: Sequence[str]
    """Names of the classes."""
    options: PreparationOptions


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prepared:
    """What became of one page, every symbol counted."""

    split: str
    page: PurePosixPath
    """Its image."""
    n_annotations: int | None
    """Of the page as it was read, where the reader has counted them."""
    images: list[Page]
    """The page, or its tiles; without symbols where nobody wants them back."""
    n_empty: int
    """Images without symbols."""
    counts: Tally


def prepare(job: Job) -> Prepared:
    """Clean, scale and tile one page, and write its images.

    Raises:
        InputError: Its image is damaged, or it must be scaled by a staff that it does not have.
        OSError: An image cannot be written.
    """
    counts, options = Tally(), job.options
    page = clean(job.page, job.names, options.cleaning, counts)
    if options.staff_space:
        page = _scaled(page, options.staff_space, job.image_folder or Path())
    made = _tiles(page, options.tiles, job.names, counts)
    _count(made, job.names, counts)
    _make_folders(job)
    if job.label_out:
        for image in made:
            write_labels(image, job.label_out)
    if job.image_folder and job.image_out:
        _write_images(job.image_folder / job.page.image, page, made, job.image_out)
    n_empty = sum(not len(image.labels) for image in made)
    if not job.hand_back:
        made = [image.only(slice(0)) for image in made]
    return Prepared(
        split=job.split,
        page=job.page.image,
        n_annotations=job.page.n_annotations,
        images=made,
        n_empty=n_empty,
        counts=counts,
    )


def _make_folders(job: Job) -> None:
    """Make the folders of a nested name; those of a split are there, or the run has ended."""
    nested = job.page.image.parent
    if nested.name:
        for folder in filter(None, (job.image_out, job.label_out)):
            (folder / nested).mkdir(parents=True, exist_ok=True)


def _count(made: list[Page], names: Sequence[str], counts: Tally) -> None:
    for image in made:
        counts.labels.update(tally.count(image.labels, names))
        if image.cut is not None:
            counts.cut.update(tally.count(image.labels[image.cut], names))


def _scaled(page: Page, staff_space: float, folder: Path) -> Page:
    """Scale the labels; the image is scaled to whole pixels, so each axis has its own factor."""
    if page.staff_space is None:
        raise InputError(
            "no staff is labelled on this page, so its staff space is not known; convert such "
            "pages on their own with --scale native",
            path=folder / page.image,
        )
    factor = staff_space / page.staff_space
    width, height = max(1, round(page.width * factor)), max(1, round(page.height * factor))
    scale = np.array([width / page.width, height / page.height])
    return replace(
        page,
        image=page.image.with_suffix(".png"),
        width=width,
        height=height,
        boxes_xyxy=page.boxes_xyxy * np.tile(scale, 2),
        corners=None if page.corners is None else page.corners * scale,
        staff_space=staff_space,
        placement=Placement(
            page=page.image, x=0, y=0, scale_x=float(scale[0]), scale_y=float(scale[1])
        ),
    )


def _tiles(
    page: Page, options: TileOptions | None, names: Sequence[str], counts: Tally
) -> list[Page]:
    if options is None:
        counts.written.update(tally.count(page.labels, names))
        found = page.image.suffix.lower() in images.IMAGE_SUFFIXES  # by readers of YOLO folders
        return [page if found else replace(page, image=page.image.with_suffix(".png"))]
    tiles = list(cut(page, options))
    shown = np.zeros(len(page.labels), bool)
    for tile in tiles:
        shown[tile.rows] = True
    counts.written.update(tally.count(page.labels[shown], names))
    counts.drop(tally.HIDDEN_BY_TILES, page.labels[~shown], names)
    return [tile.page for tile in tiles]


def _write_images(source: Path, page: Page, made: list[Page], folder: Path) -> None:
    if made[0].placement is None:
        images.copy(source, folder / made[0].image)
        return
    pixels = images.read(source)
    if pixels.shape[:2] != (page.height, page.width):
        pixels = images.scaled(pixels, page.width, page.height)
    for image in made:
        x, y = (image.placement.x, image.placement.y) if image.placement else (0, 0)
        images.write(pixels[y : y + image.height, x : x + image.width], folder / image.image)
