"""Kinds of errors: TIDE's error types, and the confusion matrix of classes.

The confusion matrix is counted by hotcoco, whatever the evaluator of the AP.

Sources: D. Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, 2020,
https://arxiv.org/abs/2008.08115; its package tidecv.

Shapes: C classes, N predictions, T truths.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from hotcoco import COCOeval
from hotcoco.primitives import bbox_iou
from numpy.typing import NDArray

from converters.boxes import xyxy_to_xywh
from eval.metrics.backends import EvaluatorInput
from eval.metrics.cells import shared_pages
from eval.metrics.hits import BatchHits, Hits, class_ap
from eval.metrics.symbol_table import SymbolTable
from eval.reports.evaluation import ClassErrors, Confusion, ErrorType

FOUND_IOU, BACKGROUND_IOU = 0.5, 0.1
"""IoU from which a prediction finds a symbol, and from which it overlaps one at all."""
BACKGROUND = "background"
"""Last row and column of a confusion matrix."""
CLASS, LOCALISATION, BOTH, DUPLICATE, ON_BACKGROUND = range(5)
"""TIDE's types of false predictions."""
TYPES = "class", "localisation", "both", "duplicate", "background", "missed"
"""Names of the types, and of missed symbols."""
NO_ERROR = -1
"""Type of a right prediction."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BatchErrors:
    """Errors of a batch."""

    kinds: NDArray[np.int8]
    """Type of each prediction, in the order of the table, shape ``(N,)``."""
    repaired: NDArray[np.int32]
    """Class of each prediction after the repair of its error; -1 if it is removed."""
    n_candidates: NDArray[np.int32]
    """Symbols of its class that each prediction could find, shape ``(N,)``."""
    n_missed: NDArray[np.int64]
    """Symbols of each class that no prediction finds, and that are not those for which a prediction
    with a wrong class or box was meant, shape ``(C,)``."""
    is_seen: NDArray[np.bool_]
    """Whether anything is predicted of a class, or on a symbol of it, shape ``(C,)``."""


def classified(data: EvaluatorInput, found: BatchHits) -> BatchErrors:
    """Find TIDE's type of each false prediction.

    Args:
        data: Symbols to compare.
        found: Their matches at ``FOUND_IOU``.
    """
    truths, predictions = data.truths, data.predictions
    kinds = np.full(len(predictions.labels), ON_BACKGROUND, np.int8)
    meant = np.full(len(kinds), -1)  # symbol for which a prediction was meant
    is_met = np.zeros(len(truths.labels), np.bool_)
    is_found = found.is_found(len(truths.labels))
    n_candidates = np.zeros(len(kinds), np.int32)
    for truth_rows, rows in shared_pages(truths, predictions):
        labels = truths.labels[truth_rows]
        ious = _ious(predictions.boxes_xyxy[rows], truths.boxes_xyxy[truth_rows])  # (N, T)
        is_same = predictions.labels[rows, None] == labels
        same, other = np.where(is_same, ious, 0.0), np.where(is_same, 0.0, ious)
        is_near = same >= FOUND_IOU
        n_candidates[rows] = is_near.sum(axis=1)
        is_taken = np.any(is_near & is_found[truth_rows], axis=1)
        kinds[rows] = _kinds(same.max(axis=1), other.max(axis=1), is_taken)
        nearest = np.where(kinds[rows] == CLASS, other.argmax(axis=1), same.argmax(axis=1))
        meant[rows] = truth_rows.start + nearest
        is_met[truth_rows] |= (ious >= FOUND_IOU).any(axis=0)
    kinds[found.is_hit[0]] = NO_ERROR
    meant[~np.isin(kinds, (CLASS, LOCALISATION))] = -1
    is_missed = ~is_found
    is_missed[meant[meant >= 0]] = False
    n_seen = np.bincount(predictions.labels, minlength=data.n_classes) + np.bincount(
        truths.labels[is_met], minlength=data.n_classes
    )
    return BatchErrors(
        kinds=kinds,
        repaired=_repaired(data, is_found, meant),
        n_candidates=n_candidates,
        n_missed=np.bincount(truths.labels[is_missed], minlength=data.n_classes),
        is_seen=n_seen > 0,
    )


def _kinds(
    best_same: NDArray[np.float64], best_other: NDArray[np.float64], is_taken: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Return the types of false predictions, by TIDE's order of precedence.

    Args:
        best_same: Highest IoU of each prediction with a symbol of its class.
        best_other: Highest IoU with a symbol of another class.
        is_taken: Whether another prediction has found a symbol of its class that it overlaps.
    """
    is_imprecise = (best_same >= BACKGROUND_IOU) & (best_same <= FOUND_IOU)
    return np.select(
        [is_imprecise, best_other >= FOUND_IOU, is_taken, best_other <= BACKGROUND_IOU],
        [LOCALISATION, CLASS, DUPLICATE, ON_BACKGROUND],
        BOTH,
    ).astype(np.int8)


def _repaired(
    data: EvaluatorInput, is_found: NDArray[np.bool_], meant: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Return the class of each prediction after the repair of its error.

    The best of the predictions that were meant for a symbol becomes right, unless the symbol is
    found already.

    Args:
        data: Symbols to compare.
        is_found: Whether a prediction finds each symbol.
        meant: Symbol for which each prediction was meant; -1 for none.
    """
    scores = data.predictions.scores
    order = np.argsort(np.zeros(len(meant)) if scores is None else -scores, kind="stable")
    symbols, first = np.unique(meant[order], return_index=True)
    is_free = symbols >= 0
    is_free[is_free] = ~is_found[symbols[is_free]]
    repaired = np.full(len(meant), -1, np.int32)
    repaired[order[first[is_free]]] = data.truths.labels[symbols[is_free]]
    return repaired


def error_types(errors: Sequence[BatchErrors], hits: Hits) -> tuple[ErrorType, ...]:
    """Count errors by type, and compute what each type costs.

    The cost is the gain in macro AP at IoU .5 if the type is repaired alone: predictions of a wrong
    class or with an imprecise box become right, unless the symbol is found by another one; other
    false predictions are removed; missed symbols are removed from the data, so that the mean
    excludes a class without any predicted symbol.

    Args:
        errors: Errors of each batch.
        hits: Matches of all batches.
    """
    kinds = np.concatenate([one.kinds for one in errors])[hits.order]
    repaired = np.concatenate([one.repaired for one in errors])[hits.order]
    n_missed = np.sum([one.n_missed for one in errors], axis=0)  # (C,)
    is_seen = np.any([one.is_seen for one in errors], axis=0)  # (C,)
    counts = [*(int((kinds == kind).sum()) for kind in range(len(TYPES) - 1)), int(n_missed.sum())]
    n_truths = hits.n_truths.sum(axis=0)  # (C,)
    base = _macro(class_ap(hits.labels, hits.is_hit[0], n_truths))
    after = [_macro(_ap_without(kind, hits, kinds, repaired)) for kind in range(len(TYPES) - 1)]
    n_left = n_truths - n_missed
    without_missed = class_ap(hits.labels, hits.is_hit[0], n_left)
    without_missed[(n_truths > 0) & (n_left == 0) & is_seen] = 0
    after.append(_macro(without_missed, if_none=1.0 if n_truths.any() else 0.0))
    return tuple(
        ErrorType(name=name, count=count, delta_ap=max(0.0, ap - base) if count else 0.0)
        for name, count, ap in zip(TYPES, counts, after, strict=True)
    )


def _ap_without(
    kind: int, hits: Hits, kinds: NDArray[np.int8], repaired: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the AP of each class after the repair of one type of error, shape ``(C,)``.

    Args:
        kind: Type of error.
        hits: Matches of all batches.
        kinds: Type of each prediction, in the order of the hits.
        repaired: Class of each prediction after the repair; -1 if it is removed.
    """
    is_kind = kinds == kind
    labels = np.where(is_kind, repaired, hits.labels)
    kept = np.flatnonzero(labels >= 0)
    if kind == CLASS:
        kept = kept[np.lexsort((-hits.scores[kept], labels[kept]))]
    return class_ap(labels[kept], (hits.is_hit[0] | is_kind)[kept], hits.n_truths.sum(axis=0))


def _macro(ap: NDArray[np.float64], if_none: float = 0.0) -> float:
    """Return the mean over the classes with an AP."""
    known = ap[~np.isnan(ap)]
    return float(known.mean()) if len(known) else if_none


def _ious(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the IoU of each box with each other one, ``(N, T)``."""
    is_crowd = np.zeros(len(others), np.bool_)
    ious: NDArray[np.float64] = bbox_iou(xyxy_to_xywh(boxes), xyxy_to_xywh(others), is_crowd)
    return ious


def class_errors(
    batches: Iterable[EvaluatorInput], thresholds: NDArray[np.float64], names: Sequence[str]
) -> tuple[ClassErrors, ...]:
    """Count the localisation and classification errors of each class at a threshold, as in TIDE.

    Args:
        batches: Symbols to compare.
        thresholds: Confidence from which predictions count, shape ``(C,)``.
        names: Class names, length C.

    Returns:
        Counts of each class, length C.
    """
    n_symbols, n_predictions = np.zeros((2, len(names)), np.int64)
    mistaken = np.zeros((len(names), len(names)), np.int64)  # by predicted and true class
    for data in batches:
        truths, kept = data.truths, data.predictions
        if kept.scores is not None:  # None without pages
            kept = kept.only(kept.scores >= thresholds[kept.labels])
        truth_ious, best_ious, other_labels = _best_overlaps(truths, kept)
        for counts, table, ious in (
            (n_symbols, truths, truth_ious),
            (n_predictions, kept, best_ious),
        ):
            is_imprecise = (ious >= BACKGROUND_IOU) & (ious < FOUND_IOU)
            counts += np.bincount(table.labels[is_imprecise], minlength=len(names))
        is_mistaken = (best_ious < BACKGROUND_IOU) & (other_labels >= 0)
        np.add.at(mistaken, (kept.labels[is_mistaken], other_labels[is_mistaken]), 1)
    rows = zip(n_symbols.tolist(), n_predictions.tolist(), mistaken.tolist(), strict=True)
    return tuple(
        ClassErrors(
            n_imprecise_symbols=imprecise_symbols,
            n_imprecise_predictions=imprecise_predictions,
            mistaken=tuple((name, n) for name, n in zip(names, row, strict=True) if n),
        )
        for imprecise_symbols, imprecise_predictions, row in rows
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
    for truth_rows, rows in shared_pages(truths, predictions):
        labels = truths.labels[truth_rows]
        ious = _ious(predictions.boxes_xyxy[rows], truths.boxes_xyxy[truth_rows])  # (N, T)
        best_labels[rows] = np.where(ious.max(axis=1) >= FOUND_IOU, labels[ious.argmax(axis=1)], -1)
        within = np.where(predictions.labels[rows, None] == labels, ious, 0.0)
        best_ious[rows] = within.max(axis=1)
        truth_ious[truth_rows] = np.maximum(truth_ious[truth_rows], within.max(axis=0))
    return truth_ious, best_ious, best_labels


def confusion_counts(
    evaluator: COCOeval, data: EvaluatorInput, threshold: float
) -> NDArray[np.int64]:
    """Count predicted classes by true class, shape ``(C + 1, C + 1)``; the last is background.

    Predictions choose in the order of their scores, each one the symbol of any class with the
    highest IoU that no better prediction has chosen.

    Args:
        evaluator: hotcoco's evaluator.
        data: Its input.
        threshold: Confidence from which predictions count.
    """
    result = evaluator.confusion_matrix(
        FOUND_IOU, max_det=max(1, len(data.predictions.labels)), min_score=threshold
    )
    counts: NDArray[np.int64] = result["matrix"].astype(np.int64)
    return counts


def confusion(counts: NDArray[np.int64], names: Sequence[str], threshold: float) -> Confusion:
    """Return the confusion of the classes that occur.

    Args:
        counts: Counts of all pages, as of :func:`confusion_counts`.
        names: Class names, length C.
        threshold: Confidence from which predictions count.
    """
    occurs = np.append((counts.sum(axis=0) + counts.sum(axis=1))[:-1] > 0, True)
    labels = np.flatnonzero(occurs)
    return Confusion(
        threshold=threshold,
        names=tuple([*names, BACKGROUND][i] for i in labels),
        counts=tuple(map(tuple, counts[np.ix_(labels, labels)].tolist())),
    )
