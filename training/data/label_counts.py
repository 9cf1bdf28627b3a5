"""What the labels of a data set hold, and every reason not to train on them.

Ultralytics leaves out an image with one bad row, and a row that stands there twice, with no more
than a log line. Here a bad row is an error and a doubled one is counted, and the trainer makes
sure that Ultralytics then loads as many symbols as were counted.
"""

from dataclasses import dataclass

import numpy as np

from class_maps import InputError
from converters.formats.yolo import YoloDataset


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelCounts:
    """What the label files of one split hold."""

    images: int
    symbols: int
    """Rows, doubled ones counted once."""
    duplicates: int
    """Rows that repeat an earlier row of the same file; they are trained once."""
    without_labels: int
    """Images that have no symbol."""
    most: int
    """Symbols of the fullest image."""


def count_labels(dataset: YoloDataset) -> dict[str, LabelCounts]:
    """Read every label file of a data set.

    Returns:
        The counts of ``train`` and ``val``.

    Raises:
        InputError: A split is missing or has no images, an image or a label file cannot be read, a
            symbol has a side of 0, or ``train`` has no symbol at all.
    """
    counts = {split: _count(dataset, split) for split in ("train", "val")}
    if not counts["train"].symbols:
        raise InputError(no_symbols(counts["train"].images), path=dataset.splits["train"])
    return counts


def no_symbols(n_images: int) -> str:
    """Say that a split of so many images has nothing to train on, and what to do."""
    return (
        f"no symbols for any of its {n_images} images; "
        "labels/ must lie beside images/; convert the data set again"
    )


def _count(dataset: YoloDataset, split: str) -> LabelCounts:
    symbols, duplicates = [], 0
    for page in dataset.pages(split):
        flat = (page.boxes_xyxy[:, 2:] <= page.boxes_xyxy[:, :2]).any(axis=1)
        if flat.any():
            raise InputError(
                f"{flat.sum()} symbols have a side of 0, the first in line "
                f"{flat.argmax() + 1} of its label file; convert the data set again",
                path=dataset.splits[split] / page.image,
            )
        rows = np.concatenate([page.labels[:, None], page.boxes_xyxy], axis=1)
        symbols.append(len(np.unique(rows, axis=0)))
        duplicates += len(rows) - symbols[-1]
    return LabelCounts(
        images=len(symbols),
        symbols=sum(symbols),
        duplicates=duplicates,
        without_labels=symbols.count(0),
        most=max(symbols, default=0),
    )
