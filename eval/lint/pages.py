"""Labelled images of a data set as the checks see them, read one at a time.

Shapes: N boxes of an image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import images
from converters.boxes import Boxes
from converters.files.hashes import SHORT_BYTES, short_hash
from converters.formats.yolo_dataset import YoloDataset
from converters.images import Pixels
from converters.manifest import Manifest, TiledPage, read_manifest
from converters.names import TILE
from converters.page import Page
from converters.prepare.preparation import PageProperties
from converters.prepare.staff_lines import measure_staff_space
from eval.lint.ink import Ink, find_ink, is_negative
from eval.lint.label_scores import LabelScores, Predictions, label_scores
from eval.lint.unlabelled import Unlabelled, find_unlabelled

EDGE_PX = 1.0
"""Distance to the border of an image at which a box touches it."""
_PIXELS = frozenset({"pixels", "dark_ink", "ink", "unlabelled"})
"""Properties of the size of the image."""
_FOLDERS = frozenset({"images", "train", "val", "valid", "test"})
"""Names of folders that do not describe a source."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LintPage:
    """One labelled image, a page or a tile; duplicate boxes are kept."""

    split: str
    source: str
    """Source of the page according to the manifest, or its folder; empty if there is only one."""
    path: Path
    page: Page
    rows: NDArray[np.float64]
    """Label, then centre, width and height as fractions of the image, shape ``(N, 5)``."""
    is_tile: bool
    recorded_space: float | None
    """Staff space in pixels according to the manifest; None if it is not recorded."""
    recorded_hash: str
    """Hash of the page that the image shows, according to the manifest; empty if unknown."""
    recorded_work: str = ""
    """Work of the page according to the manifest; empty if it is unknown or in the page's name."""
    may_be_read: bool = True
    """Whether checks may open the image."""
    has_other_splits: bool = True
    """Whether other splits could contain a copy of the image."""
    predict: "Callable[[LintPage], Predictions | None] | None" = None
    """Function that finds the symbols of the image with a trained network, if there is one."""
    measured: dict[str, Any] = field(default_factory=dict, init=False)
    """Results of the checks that have read the pixels, by name of their class."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the content to send to another process: no pixels."""
        return {name: value for name, value in vars(self).items() if name not in _PIXELS}

    @cached_property
    def pixels(self) -> Pixels:
        """The image, decoded once for all checks."""
        return images.read(self.path)

    @cached_property
    def is_negative(self) -> bool:
        """Whether the image shows light ink on dark paper."""
        return is_negative(self.pixels)

    @cached_property
    def dark_ink(self) -> Pixels:
        """The image, inverted if it is a negative."""
        return ~self.pixels if self.is_negative else self.pixels

    @cached_property
    def staff_space(self) -> float | None:
        """Staff space in pixels, recorded or measured in the image; None without staves."""
        if self.recorded_space is not None or not self.may_be_read:
            return self.recorded_space
        spaces = measure_staff_space(self.dark_ink)
        return spaces.most if spaces else None

    @cached_property
    def ink(self) -> Ink | None:
        """Ink of the image; None without staves."""
        space = self.staff_space
        return None if space is None else find_ink(self.dark_ink, space)

    @cached_property
    def unlabelled(self) -> Unlabelled | None:
        """Ink of the image that is in no box; None without staves."""
        ink, space = self.ink, self.staff_space
        if ink is None or space is None:
            return None
        return find_unlabelled(ink, self.page.boxes_xyxy, space)

    @cached_property
    def predictions(self) -> Predictions | None:
        """Symbols that a trained network finds; None without a network, or without staves."""
        return self.predict(self) if self.predict else None

    @cached_property
    def label_scores(self) -> LabelScores | None:
        """Scores of the labels by the predictions; None without predictions."""
        return None if self.predictions is None else label_scores(self.page, self.predictions)

    @cached_property
    def distinct(self) -> NDArray[np.intp]:
        """Indices of the first of equal rows, in the order of the rows."""
        columns = self.rows.astype(np.float32).T  # (5, N)
        order = np.lexsort(columns)  # stable; np.unique with an axis takes several times as long
        is_first = np.ones(len(order), bool)
        is_first[1:] = (columns[:, order[1:]] != columns[:, order[:-1]]).any(axis=0)
        return np.sort(order[is_first])

    @cached_property
    def sides(self) -> NDArray[np.float64]:
        """Width and height of the boxes in pixels, shape ``(N, 2)``."""
        boxes = self.page.boxes_xyxy
        return np.asarray(boxes[:, 2:] - boxes[:, :2])

    @cached_property
    def on_edge(self) -> NDArray[np.bool_]:
        """True for boxes that touch the border of the image, shape ``(N,)``."""
        return self.touch_edge(self.page.boxes_xyxy)

    def touch_edge(self, boxes_xyxy: Boxes) -> NDArray[np.bool_]:
        """Return whether each of K boxes touches the border of the image, shape ``(K,)``."""
        limits = [self.page.width - EDGE_PX, self.page.height - EDGE_PX]
        low, high = boxes_xyxy[:, :2] <= EDGE_PX, boxes_xyxy[:, 2:] >= limits
        return np.asarray((low | high).any(axis=1))

    @cached_property
    def is_complete(self) -> NDArray[np.bool_]:
        """True for boxes that no border of a tile can have cut, shape ``(N,)``."""
        return ~self.on_edge if self.is_tile else np.ones(len(self.rows), bool)

    def page_hash(self) -> int:
        """Return the short hash of the page that the image shows, or of the image itself."""
        recorded = self.recorded_hash
        return int(recorded[: 2 * SHORT_BYTES], 16) if recorded else short_hash(self.path)


def lint_pages(dataset: YoloDataset) -> Iterator[LintPage]:
    """Yield the images of all splits with their boxes.

    Raises:
        InputError: A label file or ``manifest.json`` is malformed, or an image is damaged.
    """
    manifest = read_manifest(dataset.root)
    splits = dataset.own_splits()
    for split in splits:
        recorded = RecordedPages(manifest, dataset.folder_name(split))
        for image in dataset.labelled_images(split):
            page = recorded.lint_page(image.path, image.page, image.rows, split)
            yield replace(page, has_other_splits=len(splits) > 1)


class RecordedPages:
    """Facts about the images of one split that the manifest records.

    Args:
        manifest: Manifest of the data set.
        folder: Name of the image folder of the split.
    """

    def __init__(self, manifest: Manifest, folder: str) -> None:
        self._properties = manifest.properties.get(folder, {})
        pages = manifest.tiles.get(folder, {})
        self._page_of: dict[str, tuple[str, TiledPage]] = {
            tile: (name, page) for name, page in pages.items() for tile in page.tiles
        }
        options = manifest.options
        self._are_tiles = bool(options and options.tiles)

    def lint_page(
        self,
        path: Path,
        image: Page,
        rows: NDArray[np.float64],
        split: str,
        *,
        may_be_read: bool = True,
    ) -> LintPage:
        """Combine a labelled image with the facts about its page.

        Args:
            path: Image file.
            image: Its boxes, with duplicates.
            rows: The same boxes as in the label file, shape ``(N, 5)``.
            split: Split of the image.
            may_be_read: Whether checks may open the image.
        """
        name = image.image
        original, tiled = self._page_of.get(name.as_posix(), (name.as_posix(), None))
        properties = self._properties.get(original, PageProperties())
        space, scale = properties.staff_space, tiled.scale_x if tiled else 1.0
        return LintPage(
            split=split,
            source=properties.source or _folder_source(name),
            path=path,
            page=image,
            rows=rows,
            is_tile=self._are_tiles or TILE.search(name.stem) is not None,
            recorded_space=None if space is None else space * scale,
            recorded_hash=tiled.sha256 if tiled else "",
            recorded_work=properties.work,
            may_be_read=may_be_read,
        )


def _folder_source(image: PurePosixPath) -> str:
    return "/".join(part for part in image.parent.parts if part not in _FOLDERS)
