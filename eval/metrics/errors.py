"""Kinds of errors: TIDE's error types, and the confusion matrix of classes.

Both are computed by hotcoco, whatever the evaluator of the AP.

Sources: D. Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, 2020,
https://arxiv.org/abs/2008.08115; its package tidecv.

Shapes: C classes.
"""

from collections.abc import Sequence

import numpy as np
from hotcoco import COCOeval
from hotcoco.primitives import bbox_iou
from numpy.typing import NDArray

from converters.boxes import xyxy_to_xywh
from eval.metrics.backends import EvaluatorInput
from eval.reports.evaluation import Confusion, ErrorType

FOUND_IOU, BACKGROUND_IOU = 0.5, 0.1
"""Least IoU of a prediction at the right place, and of one that has to do with a symbol."""
BACKGROUND = "background"
"""Last row and column of a confusion matrix."""
_NAMES = {
    "Cls": "class",
    "Loc": "place",
    "Both": "both",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
}
"""Names of TIDE's types in an evaluation report."""


def error_types(evaluator: COCOeval, data: EvaluatorInput) -> tuple[ErrorType, ...]:
    """Count errors by type, and compute what each type costs.

    The cost is the gain in macro AP at IoU .5 if the type is repaired alone: predictions of a wrong
    class or place become right, unless the symbol is found by another one; other false predictions
    are removed; missed symbols are removed from the data, so that the mean excludes a class without
    any predicted symbol.

    Args:
        evaluator: hotcoco's evaluator at IoU .5, after ``evaluate``.
        data: Its input.
    """
    errors = evaluator.tide_errors(FOUND_IOU, BACKGROUND_IOU)
    gains = dict(errors["delta_ap"])
    gains["Miss"] += _gain_without_unseen(data, errors["ap_base"] + gains["Miss"])
    return tuple(
        ErrorType(name=name, count=errors["counts"][key], delta_ap=max(0.0, gains[key]))
        for key, name in _NAMES.items()
    )


def _gain_without_unseen(data: EvaluatorInput, mean: float) -> float:
    """Return the gain in a macro mean without the classes of which nothing was predicted.

    hotcoco counts them as 0 after the repair; tidecv, like TIDE, leaves them out.

    Args:
        data: Symbols to compare.
        mean: Mean that counts them as 0.
    """
    n_labelled = len(np.unique(data.truths.labels))
    n_unseen = len(_unseen_classes(data))
    if not n_unseen:
        return 0.0
    seen_mean = mean * n_labelled / (n_labelled - n_unseen) if n_unseen < n_labelled else 1.0
    return seen_mean - mean


def _unseen_classes(data: EvaluatorInput) -> list[int]:
    """List the classes with truths, but without predictions at the place of any or of their own."""
    truths, predictions = data.truths, data.predictions
    without = np.setdiff1d(truths.labels, predictions.labels)
    return [
        label
        for label in without.tolist()
        if not any(
            _any_overlap(
                predictions.boxes_xyxy[predictions.pages == page],
                truths.boxes_xyxy[(truths.pages == page) & (truths.labels == label)],
            )
            for page in np.unique(truths.pages[truths.labels == label])
        )
    ]


def _any_overlap(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    ious = bbox_iou(xyxy_to_xywh(boxes), xyxy_to_xywh(others), np.zeros(len(others), np.bool_))
    return bool((ious >= FOUND_IOU).any())


def confusion(
    evaluator: COCOeval, data: EvaluatorInput, names: Sequence[str], threshold: float
) -> Confusion:
    """Count predicted classes by true class.

    Predictions choose in the order of their scores, each one the symbol of any class with the
    highest IoU that no better prediction has chosen.

    Args:
        evaluator: hotcoco's evaluator.
        data: Its input.
        names: Class names, length C.
        threshold: Confidence from which predictions count.
    """
    result = evaluator.confusion_matrix(
        FOUND_IOU, max_det=max(1, len(data.predictions.labels)), min_score=threshold
    )
    counts = result["matrix"].astype(np.int64)  # (C + 1, C + 1)
    occurs = np.append((counts.sum(axis=0) + counts.sum(axis=1))[:-1] > 0, True)
    labels = np.flatnonzero(occurs)
    return Confusion(
        threshold=threshold,
        names=tuple([*names, BACKGROUND][i] for i in labels),
        counts=tuple(map(tuple, counts[np.ix_(labels, labels)].tolist())),
    )
