"""Ground truth of a split, per page or per tile, with the images that belong to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from class_maps import ConfigError, InputError
from converters import images
from converters.files.atomic_folder import MANIFEST
from converters.formats.datasets import open_dataset
from converters.formats.yolo_dataset import YoloDataset
from converters.images import Pixels
from converters.manifest import Manifest, Preparation, preparation, read_manifest
from converters.page import Page
from converters.stored_pages import StoredPages
from omr.scoring.page_groups import page_groups, page_properties
from omr.scoring.unlabelled import unlabelled_labels
from reading.page_tiles import PageTiles, merge_tiles, page_tiles

Unit: TypeAlias = Literal["page", "tile"]
"""Image whose predictions are compared with its ground truth."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvaluationSet:
    """Ground truth of one split."""

    dataset: YoloDataset
    split: str
    unit: Unit
    truths: StoredPages
    """Ground truth of every page or tile."""
    unlabelled: Mapping[PurePosixPath, frozenset[int]]
    """Labels of the classes that the data set of each page or tile never annotates, by its name."""
    image_files: tuple[PurePosixPath, ...]
    """Names of the image files of the split, relative to its image folder."""
    tiled_pages: tuple[PageTiles, ...]
    """Pages whose tiles the images are; empty if images are pages, or positions are unknown."""
    is_tiled: bool
    """Whether the images are tiles."""
    preparation: Preparation | None
    """How the images were prepared; None if this is unknown."""
    groups: Mapping[str, Mapping[str, str]]
    """Value of each page or tile in each dimension in which scores are broken down."""
    n_duplicates: int
    """Duplicate rows of the label files, which were skipped."""
    remarks: tuple[str, ...]
    """Notes for the user about the ground truth."""

    def with_staff_spaces(self, pages: Sequence[Page]) -> "EvaluationSet":
        """Take the staff spaces that are unknown from predictions, in which they were measured.

        Args:
            pages: Predictions, in the order of ``truths``.
        """
        spaces = [
            truth.staff_space or page.staff_space
            for truth, page in zip(self.truths, pages, strict=True)
        ]
        return replace(self, truths=self.truths.with_staff_spaces(spaces))

    @property
    def folder(self) -> Path:
        """Image folder of the split."""
        return self.dataset.splits[self.split]

    @property
    def is_assembled(self) -> bool:
        """Whether pages are put together from their tiles."""
        return self.unit == "page" and self.is_tiled

    @property
    def n_pages(self) -> int | None:
        """Number of pages; None if the images are tiles of unknown pages."""
        return len(self.tiled_pages) or (None if self.is_tiled else len(self.truths))

    @property
    def most_symbols(self) -> int:
        """Number of symbols of the fullest page or tile."""
        return max(len(truth.labels) for truth in self.truths)

    def pixels(self, image: PurePosixPath) -> Pixels:
        """Read or compose the image of a page or tile.

        Args:
            image: ``image`` of one of the ``truths``.

        Raises:
            InputError: An image file is damaged, or was replaced since its labels were read.
        """
        if self.is_assembled:
            tiles_of = {tiles.page: tiles for tiles in self.tiled_pages}
            return tiles_of[image].pixels(self.folder)
        return images.read(self.folder / image)


def read_evaluation_set(data: Path, split: str, unit: Unit | None) -> EvaluationSet:
    """Read the ground truth of a split.

    Args:
        data: YOLO folder as :func:`converters.conversion.convert` writes it.
        split: Split to score.
        unit: Score pages or tiles; None for pages, unless tiles cannot be put together.

    Raises:
        ConfigError: The images are not tiles, or cannot be put together, as ``unit`` requires.
        InputError: The data set has no such split, or labels cannot be read.
    """
    dataset = open_dataset(data)
    pages, sizes, n_duplicates = StoredPages(), {}, 0
    for image in dataset.labelled_images(split):
        page = image.without_duplicates()
        pages.append(page)
        sizes[page.image] = page.width, page.height
        n_duplicates += len(image.rows) - len(page.labels)
    manifest, prepared, tiled = _preparation(dataset, split, sizes)
    chosen, remarks = _chosen_unit(unit, data, tiled)
    tiled_pages = tuple(tiled) if isinstance(tiled, list) else ()
    truths = pages
    if chosen == "page" and tiled_pages:
        truths = StoredPages(merge_tiles(tiled_pages, pages))
        remarks += _count_remarks(tiled_pages, truths, manifest)
    properties = page_properties(manifest, dataset.folder_name(split), truths.images)
    scaled_to = prepared.staff_space if prepared else None  # the same on all pages
    return EvaluationSet(
        dataset=dataset,
        split=split,
        unit=chosen,
        truths=truths.with_staff_spaces([scaled_to or one.staff_space for one in properties]),
        unlabelled=unlabelled_labels(manifest, truths, dataset.names),
        image_files=tuple(pages.images),
        tiled_pages=tiled_pages,
        is_tiled=tiled is not None,
        preparation=prepared,
        groups=page_groups(truths.images, properties),
        n_duplicates=n_duplicates,
        remarks=tuple(remarks),
    )


def _preparation(
    dataset: YoloDataset, split: str, sizes: Mapping[PurePosixPath, tuple[int, int]]
) -> tuple[Manifest, Preparation | None, list[PageTiles] | str | None]:
    """Read from the manifest how images were prepared, and the pages of which they are tiles.

    Returns:
        The manifest, the preparation, and the result of :func:`page_tiles`.
    """
    try:
        manifest = read_manifest(dataset.root)
        tiled = page_tiles(manifest, dataset.folder_name(split), sizes)
        return manifest, preparation(manifest), tiled
    except InputError:  # a file of another program
        return Manifest(path=dataset.root / MANIFEST), None, None


def _chosen_unit(
    unit: Unit | None, data: Path, tiled: list[PageTiles] | str | None
) -> tuple[Unit, list[str]]:
    """Check the requested unit, or choose one.

    Args:
        unit: Requested unit; None to choose one.
        data: Data set.
        tiled: Result of :func:`page_tiles`.

    Returns:
        The unit, and remarks on its choice.

    Raises:
        ConfigError: The images are not tiles, or cannot be put together, as ``unit`` requires.
    """
    if tiled is None and unit == "tile":
        reason = f"the images of {data} are whole pages; use --unit page"
        raise ConfigError(reason, option="--unit", value=unit)
    if not isinstance(tiled, str):
        return unit or "page", []
    if unit == "page":
        raise ConfigError(f"{tiled}; use --unit tile", option="--unit", value=unit)
    return "tile", [] if unit else [f"scored per tile: {tiled}"]


def _count_remarks(
    tiled_pages: Sequence[PageTiles], truths: Sequence[Page], manifest: Manifest
) -> list[str]:
    """Compare the merged symbols with the manifest, and report dropped tiles."""
    remarks = []
    n_expected = sum(page.n_symbols for page in tiled_pages)
    n_merged = sum(len(truth.labels) for truth in truths)
    if n_merged != n_expected:
        remarks.append(
            f"{n_merged:,} symbols after merging the tiles, but {manifest.path.name} counts "
            f"{n_expected:,} on the pages"
        )
    if n_blank := sum(page.n_blank for page in tiled_pages):
        remarks.append(
            f"blank tiles that the data set does not contain: {n_blank:,}; pages are white there"
        )
    return remarks
