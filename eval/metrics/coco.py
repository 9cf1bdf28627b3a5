"""Average precision of predicted symbols by COCO's protocol.

Several averages over classes are common. On music they differ by up to 0.3, because most symbols
belong to a few classes (noteheads, stems). This module computes and names three of them:

* macro: all classes with ground truth have equal weight, as printed by COCO and Ultralytics.
* frequent macro: same mean, but only over classes with many ground-truth symbols, because the AP of
  rare classes varies by chance.
* instance weighted: classes are weighted by their number of ground-truth symbols.

Shapes: T IoU thresholds, R recall thresholds, C classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from converters.page import Page
from eval.metrics.backends import Backend, Curves, EvaluatorInput, curves
from eval.metrics.batches import Batches, batches_of
from eval.metrics.matching import pair_pages
from eval.reports.detection import FREQUENT, ClassMetrics, DetectionReport, MeanMetrics

MAX_CONF = 0.001
"""Highest confidence threshold that does not affect an AP.

A threshold of 0.25 cuts off the low-precision end of the curve: recall drops, and evaluators that
connect the end of the curve to (recall 1, precision 0) even report a higher AP.
"""

_AT_50, _AT_75 = 0, 5  # indices of IoU .5 and .75 in COCO's .5:.05:.95


def evaluate(
    truths: Iterable[Page],
    predictions: Iterable[Page],
    names: Sequence[str],
    *,
    max_det: int | None = None,
    backend: Backend = "hotcoco",
) -> DetectionReport:
    """Compute the metrics of predictions against ground truth.

    The result does not depend on the order of pages, ground-truth symbols and predictions, even for
    equal scores.

    Args:
        truths: Pages with ground truth, one per image.
        predictions: Pages with scores, one per image of ``truths``, possibly without symbols; pages
            are matched by ``image``.
        names: Class names, indexed by label.
        max_det: Number of best predictions to keep per image and class (not per image as in
            Ultralytics); None to keep all.
        backend: Evaluator; ``pycocotools`` is slower, and its result is equal to the last digit.

    Returns:
        Metrics per class and their means.

    Raises:
        ConfigError: Ground truth and predictions are not for the same images, contain an image more
            than once, or disagree about the size of an image.
        ValueError: A label is out of range, a prediction page has no scores, a coordinate or score
            is not finite, a box has a negative side, or ``max_det`` is below 1.

    Source: COCO detection metrics, https://cocodataset.org/#detection-eval.
    """
    pairs = pair_pages(truths, predictions, len(names))
    return report(batches_of(pairs, len(names), max_det), names, backend)[0]


def report(
    batches: Batches, names: Sequence[str], backend: Backend
) -> tuple[DetectionReport, Curves]:
    """Compute the metrics of predictions, as :func:`evaluate` does.

    Returns:
        The metrics, and the curves from which they come.

    Raises:
        RuntimeError: The evaluator lost a ground-truth symbol.
    """
    n_truths, n_predictions = (np.zeros(len(names), np.int64) for _ in range(2))  # (C,)
    n_zero_area = 0
    for data in batches:
        n_truths += np.bincount(data.truths.labels, minlength=len(names))
        n_predictions += np.bincount(data.predictions.labels, minlength=len(names))
        sides = data.truths.boxes_xyxy[:, 2:] - data.truths.boxes_xyxy[:, :2]
        n_zero_area += int((sides == 0).any(axis=1).sum())
    _check_count(batches, n_truths, backend)
    found = curves(batches, backend)
    classes = _class_metrics(names, n_truths, n_predictions, found)
    metrics = DetectionReport(
        n_images=len(batches.pairs),
        n_truths=int(n_truths.sum()),
        n_predictions=int(n_predictions.sum()),
        n_zero_area_truths=n_zero_area,
        max_det_per_class=batches.max_det,
        classes=classes,
        macro=_mean(classes, np.minimum(n_truths, 1)),
        frequent_macro=_mean(classes, (n_truths >= FREQUENT).astype(np.int64)),
        instance_weighted=_mean(classes, n_truths),
    )
    return metrics, found


def _check_count(
    batches: Iterable[EvaluatorInput], n_truths: NDArray[np.int64], backend: Backend
) -> None:
    """Check that the evaluator counts every ground-truth symbol.

    With a single right prediction per class, the recall of a class is 1 divided by the evaluator's
    number of truths. Boxes are extended by a pixel, so that each can be found.

    Args:
        batches: Symbols to compare.
        n_truths: Number of truths of each class, shape ``(C,)``.
        backend: Evaluator.

    Raises:
        RuntimeError: The evaluator lost a ground-truth symbol.
    """
    recall = curves(_with_one_prediction(batches), backend, [0.5]).recall[0]  # (C,)
    expected = np.where(n_truths > 0, 1 / np.maximum(n_truths, 1), -1.0)
    if not np.allclose(recall, expected, rtol=1e-9, atol=0):
        raise RuntimeError(
            f"the evaluator did not count all of the {n_truths.sum()} truths; "
            "the metrics are not valid"
        )


def _with_one_prediction(batches: Iterable[EvaluatorInput]) -> Iterator[EvaluatorInput]:
    """Yield the truths of each batch, and as the only predictions the first truth of each class."""
    seen = np.empty(0, np.int64)
    for data in batches:
        extended = data.truths.extended(1)
        labels, first = np.unique(extended.labels, return_index=True)
        is_first = np.zeros(len(extended.labels), np.bool_)
        is_first[first[~np.isin(labels, seen)]] = True
        seen = np.union1d(seen, labels)
        yield replace(
            data,
            truths=extended,
            predictions=replace(extended.only(is_first), scores=np.ones(is_first.sum())),
            areas=(data.truths.areas, data.truths.only(is_first).areas),
        )


def _class_metrics(
    names: Sequence[str],
    n_truths: NDArray[np.int64],
    n_predictions: NDArray[np.int64],
    found: Curves,
) -> tuple[ClassMetrics, ...]:
    columns = {
        "ap50": found.precision[_AT_50].mean(axis=0),  # (C,)
        "ap75": found.precision[_AT_75].mean(axis=0),  # (C,)
        "ap": found.precision.mean(axis=(0, 1)),  # (C,)
        "recall50": found.recall[_AT_50],  # (C,)
    }
    return tuple(
        ClassMetrics(
            name=name,
            n_truths=int(n_truths[i]),
            n_predictions=int(n_predictions[i]),
            **{key: float(column[i]) if n_truths[i] else None for key, column in columns.items()},
        )
        for i, name in enumerate(names)
    )


def _mean(classes: Sequence[ClassMetrics], weights: NDArray[np.int64]) -> MeanMetrics:
    """Average the class metrics by weight, shape ``(C,)``; 0 for classes without ground truth."""

    def mean(metric: str) -> float | None:
        if not weights.any():
            return None
        values = [getattr(row, metric) or 0.0 for row in classes]  # None only for weight 0
        return float(np.average(values, weights=weights))

    return MeanMetrics(
        ap50=mean("ap50"), ap75=mean("ap75"), ap=mean("ap"), recall50=mean("recall50")
    )
