"""Label files of a training run: read once, checked, counted and hashed.

Ultralytics drops every image with an invalid row and every duplicate row, and only logs a message.
Here an invalid row is an error, and duplicates are removed and counted. Training uses the rows that
were read here; Ultralytics opens no label files itself.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from class_maps import InputError
from converters.formats.labelled_files import ImageLabels, labelled_files
from converters.formats.yolo_dataset import YoloDataset
from eval.html.number_format import counted


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelCounts:
    """Counts of the images and symbols of one split."""

    images: int
    symbols: int
    """Rows of the label files, without duplicates."""
    duplicates: int
    """Rows that repeat an earlier row of the same file and are therefore removed."""
    without_labels: int
    """Images without symbols."""
    most: int
    """Symbols of the fullest image."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SplitLabels:
    """Labels of one split of a data set."""

    counts: LabelCounts
    digest: str
    """SHA-256 of the names and sizes of the images and the contents of their label files."""
    images: Mapping[str, ImageLabels]
    """Labels of each image, by its absolute path."""


def read_labels(dataset: YoloDataset) -> dict[str, SplitLabels]:
    """Read each label file of a data set once.

    Returns:
        Labels of ``train`` and ``val``.

    Raises:
        InputError: A split is missing or has no images, an image or a label file cannot be read, a
            label is not a whole number, a symbol has a side of 0, or ``train`` has no symbols.
    """
    splits = {"train": _read_split(dataset, "train")}
    is_same = dataset.share_images("train", "val")
    splits["val"] = splits["train"] if is_same else _read_split(dataset, "val")
    if not splits["train"].counts.symbols:
        raise InputError(no_symbols([dataset], "train"), path=dataset.splits["train"])
    return splits


def no_symbols(datasets: Iterable[YoloDataset], split: str) -> str:
    """Return the message about a split without symbols.

    Args:
        datasets: Data sets whose images all have no symbols.
        split: Split of these data sets.
    """
    datasets = [*datasets]
    n_images = sum(len(dataset.image_paths(split)) for dataset in datasets)
    reasons = dict.fromkeys(dataset.why_no_symbols(split) for dataset in datasets)
    return f"no symbols in any of {counted(n_images, 'image', 'images')}: {'; '.join(reasons)}"


def total(counts: Iterable[LabelCounts]) -> LabelCounts:
    """Add up the counts of several data sets."""
    parts = [*counts]
    return LabelCounts(
        images=sum(part.images for part in parts),
        symbols=sum(part.symbols for part in parts),
        duplicates=sum(part.duplicates for part in parts),
        without_labels=sum(part.without_labels for part in parts),
        most=max(part.most for part in parts),
    )


def _read_split(dataset: YoloDataset, split: str) -> SplitLabels:
    digest = hashlib.sha256()
    images: dict[str, ImageLabels] = {}
    duplicates = 0
    for file in labelled_files(dataset, split):
        digest.update(file.fingerprint)
        duplicates += file.n_duplicates
        images[file.path] = file.labels
    if not dataset.is_read_sorted:
        paths = dataset.image_paths(split)
        images = {file: images[file] for file in (str(path.absolute()) for path in paths)}
    n_symbols = [len(labels.rows) for labels in images.values()]
    counts = LabelCounts(
        images=len(n_symbols),
        symbols=sum(n_symbols),
        duplicates=duplicates,
        without_labels=n_symbols.count(0),
        most=max(n_symbols, default=0),
    )
    return SplitLabels(counts=counts, digest=digest.hexdigest(), images=images)
