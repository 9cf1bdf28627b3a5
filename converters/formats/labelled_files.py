"""Labels of a data set for training: label files, read in parallel, or Parquet tables.

Shapes: N symbols of an image.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from converters.boxes import cxcywh_to_xyxy
from converters.formats.yolo_dataset import LabelledImage, YoloDataset
from converters.page import Page


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageLabels:
    """Size of one image and the rows of its label file."""

    height: int
    """Height in pixels."""
    width: int
    """Width in pixels."""
    rows: NDArray[np.float32]
    """Label, then centre, width and height as fractions of the image, without duplicates, shape
    ``(N, 5)``."""

    def page(self, name: PurePosixPath) -> Page:
        """Return the image as a page with boxes in pixels.

        Args:
            name: Name of the page.
        """
        rows = self.rows.astype(np.float64)
        return Page(
            image=name,
            width=self.width,
            height=self.height,
            boxes_xyxy=cxcywh_to_xyxy(rows[:, 1:] * ([self.width, self.height] * 2)),
            labels=rows[:, 0].astype(np.int64),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelledFile:
    """One image with its labels, and what is counted and hashed."""

    path: str
    """Absolute path of the image."""
    labels: ImageLabels
    n_duplicates: int
    """Rows that repeat an earlier row."""
    fingerprint: bytes
    """The image's name and size in bytes, and the content of its label file."""


def labelled_files(dataset: YoloDataset, split: str) -> Iterator[LabelledFile]:
    """Yield the images of a split with their labels, sorted by name or table by table.

    Raises:
        InputError: A label file is malformed, a symbol has a side of 0, or an image is damaged.
    """
    return dataset.map_images(_labelled_file, split)


def _labelled_file(image: LabelledImage) -> LabelledFile:
    _check_sides(image)
    rows = image.rows.astype(np.float32)[image.distinct()]
    return LabelledFile(
        path=str(image.path.absolute()),
        labels=ImageLabels(height=image.page.height, width=image.page.width, rows=rows),
        n_duplicates=len(image.rows) - len(rows),
        fingerprint=image.fingerprint(),
    )


def _check_sides(image: LabelledImage) -> None:
    boxes_xyxy = image.page.boxes_xyxy
    flat = (boxes_xyxy[:, 2:] <= boxes_xyxy[:, :2]).any(axis=1)
    if flat.any():
        n_flat = int(flat.sum())
        symbols = "1 symbol has" if n_flat == 1 else f"{n_flat:,} symbols have"
        raise InputError(
            f"{symbols} a side of 0, the first in line {flat.argmax() + 1} of its label file; "
            "convert the data set again",
            path=image.path,
        )
