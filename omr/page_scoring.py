"""Comparison of the pages that a network reads with their ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from class_maps import ConfigError, InputError
from converters.formats.yolo_dataset import open_dataset
from converters.page import Page
from eval.metrics.coco import evaluate
from eval.metrics.f1 import Matches, match
from eval.reports.detection import DetectionReport
from omr.prediction import PredictOptions, reading_options
from reading.network import Network
from reading.page_images import PageFile
from reading.page_stream import read_pages


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SetResult:
    """Predictions on one set of pages, compared with the ground truth."""

    name: str
    n_pages: int
    matches: Matches
    report: DetectionReport


def read_set(
    folder: Path, network: Network, options: PredictOptions, without: Sequence[str] = ()
) -> SetResult:
    """Read the pages of all splits of a data set, and compare them with their labels.

    Args:
        folder: Data set of whole pages in YOLO format.
        network: Trained network.
        options: Options of the prediction.
        without: Classes that do not count, because the set does not label them.

    Raises:
        ConfigError: The data set has other classes than the weights.
        InputError: A page cannot be read.
    """
    dataset = open_dataset(folder)
    if tuple(dataset.names) != network.names:
        raise ConfigError(f"{folder}: has other classes than the weights")
    kept = [label for label, name in enumerate(network.names) if name not in without]
    truths, predictions = [], []
    for images, split in {path: name for name, path in dataset.splits.items()}.items():
        of_split = [_only(page, kept) for page in dataset.pages(split)]
        files = [
            PageFile(name=PurePosixPath(page.image), path=images / page.image) for page in of_split
        ]
        for reading in read_pages(files, network, reading_options(network, options)):
            if reading.page is None:
                raise InputError(f"{reading.error}", path=reading.file.path)
            predictions.append(_only(reading.page, kept))
        truths += of_split
    return SetResult(
        name=folder.name,
        n_pages=len(truths),
        matches=match(truths, predictions, len(network.names)),
        report=evaluate(truths, predictions, network.names),
    )


def _only(page: Page, labels: Sequence[int]) -> Page:
    return page.only(np.isin(page.labels, labels))
