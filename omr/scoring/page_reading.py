"""Reading of the pages of a split as ``omr predict`` does, and their comparison with the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from class_maps import ConfigError
from converters import image_headers
from converters.formats.datasets import open_dataset
from converters.page import Page
from eval.metrics.coco import evaluate
from eval.metrics.f1 import Matches, match
from eval.reports.detection import DetectionReport
from omr.prediction import PredictOptions, reading_options
from omr.scoring.evaluation_set import EvaluationSet, read_evaluation_set
from reading.network import Network
from reading.options import PAGES_AHEAD
from reading.page_reader import PreparedPage, ReadingOptions, prepare, read_page
from reading.read_ahead import read_ahead


def read_pages(
    evaluation: EvaluationSet, network: Network, options: ReadingOptions, *, batch: int = 16
) -> Iterator[Page]:
    """Read the pages of a split.

    Args:
        evaluation: Ground truth of pages.
        network: Trained network.
        options: Everything that determines the symbols, besides the network.
        batch: Maximum number of tiles in a call of the network; with torch, affects last digits.

    Yields:
        Predictions in the order of the ground truth, highest score first.

    Raises:
        InputError: An image cannot be read, or was replaced since its labels were read.
    """

    def prepared(truth: Page) -> PreparedPage:
        image, path = evaluation.pixels(truth.image), evaluation.folder / truth.image
        image_headers.check_unchanged(path, image.shape[1::-1], (truth.width, truth.height))
        return prepare(truth.image, image, network.imgsz, options)

    for chunk in read_ahead(evaluation.truths, prepared, PAGES_AHEAD):
        for page in chunk:
            yield read_page(page, network, options, batch=batch)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SetResult:
    """Predictions on the pages of a data set, compared with the ground truth."""

    name: str
    n_pages: int
    matches: Matches
    report: DetectionReport


def read_set(
    folder: Path, network: Network, options: PredictOptions, without: Sequence[str] = ()
) -> SetResult:
    """Read the pages of all splits of a data set, and compare them with their labels.

    Args:
        folder: Data set in YOLO format.
        network: Trained network.
        options: Options of the prediction.
        without: Classes that do not count, because the set does not label them.

    Raises:
        ConfigError: The data set has other classes than the weights.
        InputError: A page cannot be read.
    """
    dataset, reading = open_dataset(folder), reading_options(network, options)
    if tuple(dataset.names) != network.names:
        raise ConfigError(f"{folder}: has other classes than the weights")
    kept = [label for label, name in enumerate(network.names) if name not in without]
    truths, predictions = [], []
    for split in {path: split for split, path in dataset.splits.items()}.values():
        evaluation = read_evaluation_set(folder, split, "page")
        truths += [_only(page, kept) for page in evaluation.truths]
        predictions += [_only(page, kept) for page in read_pages(evaluation, network, reading)]
    return SetResult(
        name=folder.name,
        n_pages=len(truths),
        matches=match(truths, predictions, len(network.names)),
        report=evaluate(truths, predictions, network.names),
    )


def _only(page: Page, labels: Sequence[int]) -> Page:
    return page.only(np.isin(page.labels, labels))
