"""Kinds of errors: TIDE's error types, and the confusion matrix of classes.

Both are computed by hotcoco, whatever the evaluator of the AP.

Sources: D. Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, 2020,
https://arxiv.org/abs/2008.08115; its package tidecv.

Shapes: C classes, N predictions, T truths.
"""

from collections.abc import Sequence

import numpy as np
from hotcoco import COCOeval
from hotcoco.primitives import bbox_iou
from numpy.typing import NDArray

from converters.boxes import xyxy_to_xywh
from eval.metrics.backends import EvaluatorInput
from eval.metrics.symbol_table import SymbolTable
from eval.reports.evaluation import ClassErrors, Confusion, ErrorType

FOUND_IOU, BACKGROUND_IOU = 0.5, 0.1
"""IoU from which a prediction finds a symbol, and from which it overlaps one at all."""
BACKGROUND = "background"
"""Last row and column of a confusion matrix."""
_NAMES = {
    "Cls": "class",
    "Loc": "localisation",
    "Both": "both",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
}
"""Names of TIDE's types in an evaluation report."""


def error_types(evaluator: COCOeval, data: EvaluatorInput) -> tuple[ErrorType, ...]:
    """Count errors by type, and compute what each type costs.

    The cost is the gain in macro AP at IoU .5 if the type is repaired alone: predictions of a wrong
    class or with an imprecise box become right, unless the symbol is found by another one; other
    false predictions are removed; missed symbols are removed from the data, so that the mean
    excludes a class without any predicted symbol.

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
    """List the classes without predictions of their own, or of others on one of their truths."""
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
    return bool((_ious(boxes, others) >= FOUND_IOU).any())


def _ious(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the IoU of each box with each other one, ``(N, T)``."""
    is_crowd = np.zeros(len(others), np.bool_)
    ious: NDArray[np.float64] = bbox_iou(xyxy_to_xywh(boxes), xyxy_to_xywh(others), is_crowd)
    return ious


def class_errors(
    data: EvaluatorInput, thresholds: NDArray[np.float64], names: Sequence[str]
) -> tuple[ClassErrors, ...]:
    """Count the localisation and classification errors of each class at a threshold, as in TIDE.

    Args:
        data: Symbols to compare.
        thresholds: Confidence from which predictions count, shape ``(C,)``.
        names: Class names, length C.

    Returns:
        Counts of each class, length C.
    """
    truths, kept = data.truths, data.predictions
    if kept.scores is not None:  # None without pages
        kept = kept.only(kept.scores >= thresholds[kept.labels])
    truth_ious, best_ious, other_labels = _best_overlaps(truths, kept)
    imprecise_symbols, imprecise_predictions = (
        np.bincount(
            table.labels[(ious >= BACKGROUND_IOU) & (ious < FOUND_IOU)], minlength=len(names)
        )
        for table, ious in ((truths, truth_ious), (kept, best_ious))
    )
    is_mistaken = (best_ious < BACKGROUND_IOU) & (other_labels >= 0)
    mistaken = np.zeros((len(names), len(names)), np.int64)  # by predicted and true class
    np.add.at(mistaken, (kept.labels[is_mistaken], other_labels[is_mistaken]), 1)
    counts = (imprecise_symbols.tolist(), imprecise_predictions.tolist(), mistaken.tolist())
    return tuple(
        ClassErrors(
            n_imprecise_symbols=n_symbols,
            n_imprecise_predictions=n_predictions,
            mistaken=tuple((name, n) for name, n in zip(names, row, strict=True) if n),
        )
        for n_symbols, n_predictions, row in zip(*counts, strict=True)
    )


def _best_overlaps(
    truths: SymbolTable, predictions: SymbolTable
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the highest IoU of each truth, and of each prediction, within its class.

    Returns:
        IoUs of the truths and of the predictions, and for each prediction the label of the truth
        of any class with the highest IoU, if that is at least ``FOUND_IOU``, otherwise -1.
    """
    truth_ious, best_ious = np.zeros(len(truths.labels)), np.zeros(len(predictions.labels))
    best_labels = np.full(len(best_ious), -1)
    for page in np.intersect1d(truths.pages, predictions.pages):
        truth_rows, rows = truths.page_rows(page), predictions.page_rows(page)
        labels = truths.labels[truth_rows]
        ious = _ious(predictions.boxes_xyxy[rows], truths.boxes_xyxy[truth_rows])  # (N, T)
        best_labels[rows] = np.where(ious.max(axis=1) >= FOUND_IOU, labels[ious.argmax(axis=1)], -1)
        within = np.where(predictions.labels[rows, None] == labels, ious, 0.0)
        truth_ious[truth_rows], best_ious[rows] = within.max(axis=0), within.max(axis=1)
    return truth_ious, best_ious, best_labels


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
