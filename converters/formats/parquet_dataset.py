"""Data sets in Parquet tables, opened for training, evaluation and checks like YOLO folders.

Labels are rounded to the six decimals of YOLO's label files, and images without tables are named as
in a YOLO folder, so that both formats of a data set give the same training.

Shapes: N symbols of a batch of images.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from class_maps import ClassMap, InputError
from converters.boxes import Boxes, cxcywh_to_xyxy, onto_border
from converters.formats.parquet import SIDES
from converters.formats.parquet_rows import ImageRow
from converters.formats.parquet_source import ParquetFile, open_files
from converters.formats.sources import identity_map
from converters.formats.symbol_lists import mapped_labels
from converters.formats.yolo import line_bytes, lines_of
from converters.formats.yolo_dataset import LabelledImage, YoloDataset
from converters.formats.yolo_labels import in_millionths
from converters.names import PARQUET_FOLDER
from converters.page import Page
from converters.tally import Tally

T = TypeVar("T")

FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "val", "test"),
    "val": ("val", "test", "train"),
    "test": ("test",),
}
"""Tables that are read for each split, the first ones that exist, as ``data.yaml`` names them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetDataset(YoloDataset):
    """An opened data set in Parquet tables."""

    is_read_sorted: ClassVar[bool] = False
    """Images are yielded table by table, sorted by name in each."""

    tables: Mapping[str, Sequence[ParquetFile]]
    """Tables of images of each split, with their symbols."""
    class_map: ClassMap
    """Classes of the same names as those in the tables."""

    def image_paths(self, split: str) -> list[Path]:
        """List the images of a split, sorted by name.

        Raises:
            InputError: The split does not exist, or its tables list no image.
        """
        self.check_split(split)
        folder = self.splits[split]
        paths = [folder / row.image for table in self.tables[split] for row in table.rows]
        if not paths:
            raise InputError("lists no images", path=self.tables[split][0].path)
        return sorted(paths)

    def share_images(self, first: str, second: str) -> bool:
        """Check whether two splits are the same tables, as in small data sets."""
        known = first in self.tables and second in self.tables
        return known and self.tables[first] is self.tables[second]

    def labelled_images(self, split: str) -> Iterator[LabelledImage]:
        """Yield the images of a split with their labels, table by table, sorted by name in each.

        Raises:
            InputError: A table is damaged, or contains an invalid value.
        """
        self.check_split(split)
        return self._labelled_images(split)

    def map_images(self, function: Callable[[LabelledImage], T], split: str) -> Iterator[T]:
        """Yield the result of a function for each of the :meth:`labelled_images` of a split.

        Raises:
            InputError: A table is damaged, or contains an invalid value.
        """
        return map(function, self.labelled_images(split))

    def skipped_files(self, *_splits: str) -> list[str]:
        """Return the remarks on the tables, which have no label files."""
        return [*self.warnings]

    def why_no_symbols(self, _split: str) -> str:
        """Explain why none of the images of a split has symbols."""
        return "the tables of symbols are empty; add pages with symbols"

    def _labelled_images(self, split: str) -> Iterator[LabelledImage]:
        [mapping] = self.class_map.sources.values()
        for file in self.tables[split]:
            for images, table, bounds in file.tables():
                names = table["name"].to_list() if len(table) else []
                boxes_xyxy = table.select(SIDES).to_numpy() if len(table) else np.empty((0, 4))
                sizes = np.array([image.size for image in images], np.int64)
                sides = np.tile(sizes, 2).repeat(np.diff(bounds), axis=0)  # (N, 4)
                boxes_xyxy = onto_border(boxes_xyxy, sides[:, :2].astype(np.float64))
                if ((boxes_xyxy < 0) | (boxes_xyxy > sides)).any():
                    for _ in file.pages(mapping, self.class_map.labels, Tally()):
                        pass  # raises an error that names the image
                labels = mapped_labels(names, mapping, self.class_map.labels, Tally())
                yield from _of_batch(images, boxes_xyxy, sides, labels, bounds, self.splits[split])

    def fingerprint(self, split: str) -> str:
        """Hash the names and sizes of a split's images, and their labels.

        Raises:
            InputError: The split does not exist, or an image is missing.
        """
        digest = hashlib.sha256()
        for image in self.labelled_images(split):
            digest.update(image.fingerprint())
        return digest.hexdigest()

    def folder_name(self, split: str) -> str:
        """Return the split of the tables that are read; empty if the split does not exist."""
        return self.tables[split][0].split if split in self.tables else ""


def _of_batch(
    images: Sequence[ImageRow],
    boxes_xyxy: Boxes,
    sides: NDArray[np.int64],
    labels: NDArray[np.int64],
    bounds: Sequence[int],
    folder: Path,
) -> Iterator[LabelledImage]:
    """Yield images with their labels, exactly as they would be read from label files.

    Numbers are converted for all images at once: for each of many small tiles, the overhead of
    NumPy would take most of the time.

    Args:
        images: Images of a batch.
        boxes_xyxy: Boxes in pixels, in the order of the images, shape ``(N, 4)``.
        sides: Width, height, width and height of each box's image, shape ``(N, 4)``.
        labels: Label of each box, shape ``(N,)``.
        bounds: First box of each image, followed by N.
        folder: Folder of the images.
    """
    rounded = in_millionths(boxes_xyxy, sides)
    coordinates = rounded / 1_000_000
    boxes_xyxy = cxcywh_to_xyxy(coordinates * sides)
    rows = np.column_stack([labels, coordinates])
    text = lines_of(labels, rounded).encode("ascii")
    lines = np.concatenate(([0], np.cumsum(line_bytes(labels)))).tolist()
    for image, (first, stop) in zip(images, pairwise(bounds), strict=True):
        width, height = image.size
        yield LabelledImage(
            path=folder / image.image,
            page=Page(
                image=image.image,
                width=width,
                height=height,
                boxes_xyxy=boxes_xyxy[first:stop],
                labels=labels[first:stop],
            ),
            rows=rows[first:stop],
            is_polygon=np.zeros(stop - first, bool),
            content=text[lines[first] : lines[stop]],
        )


def open_tables(folder: Path) -> ParquetDataset:
    """Open a data set in Parquet tables.

    Args:
        folder: Folder of the data set, or its folder of tables.

    Raises:
        InputError: A table is missing, damaged or inconsistent.
        MissingExtraError: polars is not installed.
    """
    files: dict[str, list[ParquetFile]] = {}
    for file in open_files(folder):
        rows = sorted(file.rows, key=lambda row: row.image)
        files.setdefault(file.split, []).append(replace(file, rows=rows))
    chosen = {
        split: next((name for name in names if name in files), None)
        for split, names in FALLBACKS.items()
    }
    tables = {split: files[name] for split, name in chosen.items() if name}
    every = [file for of_split in files.values() for file in of_split]
    class_map = identity_map("parquet", every)
    is_folder = folder.absolute().name != PARQUET_FOLDER
    return ParquetDataset(
        root=folder if is_folder else folder.parent,
        file=folder / PARQUET_FOLDER if is_folder else folder,
        state=None,
        names=class_map.names,
        splits={split: of_split[0].image_folder for split, of_split in tables.items()},
        warnings=tuple(remark for file in every for remark in file.warnings),
        tables=tables,
        class_map=class_map,
    )
