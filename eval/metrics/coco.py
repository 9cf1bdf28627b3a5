"""Average precision of predicted symbols by COCO's protocol.

Several averages over classes are common. On music they differ by up to 0.3, because most symbols
belong to a few classes (noteheads, stems). This module computes and names three of them:

* macro: all classes with ground truth have equal weight, as printed by COCO and Ultralytics.
* frequent macro: same mean, but only over classes with many ground-truth symbols, because the AP of
  rare classes varies by chance.
* instance weighted: classes are weighted by their number of ground-truth symbols.

Shapes: T IoU thresholds, R recall thresholds, C classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from converters.page import Page
from eval.metrics.backends import Backend, EvaluatorInput, run
from eval.metrics.matching import pair_pages
from eval.metrics.symbol_table import SymbolTable
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
    return report(evaluator_input(pairs, len(names), max_det), names, backend)


def evaluator_input(
    pairs: Sequence[tuple[Page, Page]], n_classes: int, max_det: int | None = None
) -> EvaluatorInput:
    """Return the evaluator's input, with page indices in the order of the pairs.

    Args:
        pairs: Ground truth and predictions of each page.
        n_classes: Number of classes.
        max_det: Number of best predictions to keep per page and class; None to keep all.

    Raises:
        ValueError: ``max_det`` is below 1.
    """
    if max_det is None:
        max_det = max((len(page.labels) for page in chain.from_iterable(pairs)), default=0) or 1
    if max_det < 1:
        raise ValueError(f"max_det must be at least 1, got {max_det}")
    return EvaluatorInput(
        truths=SymbolTable.of([truth for truth, _ in pairs]),
        predictions=SymbolTable.of([prediction for _, prediction in pairs]),
        n_classes=n_classes,
        max_det=max_det,
    )


def report(data: EvaluatorInput, names: Sequence[str], backend: Backend) -> DetectionReport:
    """Compute the metrics of predictions, as :func:`evaluate` does.

    Raises:
        RuntimeError: The evaluator lost a ground-truth symbol.
    """
    n_truths = np.bincount(data.truths.labels, minlength=len(names))  # (C,)
    n_predictions = np.bincount(data.predictions.labels, minlength=len(names))  # (C,)
    _check_count(data, n_truths, backend)
    curves = run(data, backend).eval
    precision, recall = curves["precision"][..., 0, 0], curves["recall"][..., 0, 0]
    classes = _class_metrics(names, n_truths, n_predictions, precision, recall)
    sides = data.truths.boxes_xyxy[:, 2:] - data.truths.boxes_xyxy[:, :2]
    return DetectionReport(
        n_images=data.truths.n_pages,
        n_truths=int(n_truths.sum()),
        n_predictions=int(n_predictions.sum()),
        n_zero_area_truths=int((sides == 0).any(axis=1).sum()),
        max_det_per_class=data.max_det,
        classes=classes,
        macro=_mean(classes, np.minimum(n_truths, 1)),
        frequent_macro=_mean(classes, (n_truths >= FREQUENT).astype(np.int64)),
        instance_weighted=_mean(classes, n_truths),
    )


def _check_count(data: EvaluatorInput, n_truths: NDArray[np.int64], backend: Backend) -> None:
    """Check that the evaluator counts every ground-truth symbol.

    With a single right prediction per class, the recall of a class is 1 divided by the evaluator's
    number of truths. Boxes are extended by a pixel, so that each can be found.

    Args:
        data: Symbols to compare.
        n_truths: Number of truths of each class, shape ``(C,)``.
        backend: Evaluator.

    Raises:
        RuntimeError: The evaluator lost a ground-truth symbol.
    """
    extended = data.truths.extended(1)
    is_first = np.zeros(len(extended.labels), np.bool_)
    is_first[np.unique(extended.labels, return_index=True)[1]] = True
    single = replace(extended.only(is_first), scores=np.ones(is_first.sum()))
    areas = data.truths.areas, data.truths.only(is_first).areas
    right = replace(data, truths=extended, predictions=single)
    recall = run(right, backend, iou_thresholds=[0.5], areas=areas).eval["recall"][0, :, 0, 0]
    expected = np.where(n_truths > 0, 1 / np.maximum(n_truths, 1), -1.0)
    if not np.allclose(recall, expected, rtol=1e-9, atol=0):
        raise RuntimeError(
            f"the evaluator did not count all of the {n_truths.sum()} truths; "
            "the metrics are not valid"
        )


def _class_metrics(
    names: Sequence[str],
    n_truths: NDArray[np.int64],
    n_predictions: NDArray[np.int64],
    precision: NDArray[np.float64],
    recall: NDArray[np.float64],
) -> tuple[ClassMetrics, ...]:
    columns = {
        "ap50": precision[_AT_50].mean(axis=0),  # (C,)
        "ap75": precision[_AT_75].mean(axis=0),  # (C,)
        "ap": precision.mean(axis=(0, 1)),  # (C,)
        "recall50": recall[_AT_50],  # (C,)
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
