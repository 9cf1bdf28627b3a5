"""Measures for classes so thin that an error of a pixel or two makes the IoU fail.

A stem that is 3 px wide and is found 2 px beside its place has an IoU of .2. Two measures separate
such small errors from misses: the share of the symbols that have a prediction at their centre, and
the AP after all boxes of the class have been extended.

Shapes: T truths, N predictions, C classes.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eval.metrics.backends import Backend, EvaluatorInput, curves
from eval.metrics.cells import shared_cells

THIN_PX = 4.0
"""Classes are thin if the median of their symbols' shorter sides is below this, in pixels of the
image that the boxes refer to."""
DILATION_PX = 2.0
"""Pixels by which each side of a thin class's boxes is moved outwards: a shift by 2 px of a symbol
that is 3 px wide then has an IoU above .5."""
CENTRE_PX = 3.0
"""Distance in x and in y, in pixels, up to which a prediction is always at a symbol's centre; for
larger symbols it is half their side."""


def thin_classes(batches: Iterable[EvaluatorInput], n_classes: int) -> NDArray[np.bool_]:
    """Return whether the symbols of each class are thin, shape ``(C,)``.

    The median of two symbols in the middle is their mean, for which one on each side of the limit
    is remembered.
    """
    n_below, n_symbols = np.zeros((2, n_classes), np.int64)
    widest_below, thinnest_above = np.zeros(n_classes), np.full(n_classes, np.inf)
    for data in batches:
        labels = data.truths.labels
        sides = data.truths.boxes_xyxy[:, 2:] - data.truths.boxes_xyxy[:, :2]
        shorter = sides.min(axis=1)
        is_below = shorter < THIN_PX
        n_symbols += np.bincount(labels, minlength=n_classes)
        n_below += np.bincount(labels[is_below], minlength=n_classes)
        np.maximum.at(widest_below, labels[is_below], shorter[is_below])
        np.minimum.at(thinnest_above, labels[~is_below], shorter[~is_below])
    is_even_split = 2 * n_below == n_symbols
    is_mean_below = (widest_below + thinnest_above) / 2 < THIN_PX
    is_thin = (2 * n_below > n_symbols) | (is_even_split & is_mean_below & (n_symbols > 0))
    return np.asarray(is_thin)


def dilated_ap50(
    batches: Iterable[EvaluatorInput], n_classes: int, backend: Backend = "hotcoco"
) -> tuple[float | None, ...]:
    """Compute the AP at IoU .5 of extended boxes.

    Args:
        batches: Symbols to compare.
        n_classes: Number of classes, C.
        backend: Evaluator.

    Returns:
        AP of each thin class, and None for each other class, shape ``(C,)``.
    """
    is_thin = thin_classes(batches, n_classes)
    if not is_thin.any():
        return (None,) * n_classes
    dilated = (
        replace(
            data,
            truths=data.truths.only(is_thin[data.truths.labels]).extended(DILATION_PX),
            predictions=data.predictions.only(is_thin[data.predictions.labels]).extended(
                DILATION_PX
            ),
        )
        for data in batches
    )
    ap = curves(dilated, backend, [0.5]).precision[0].mean(axis=0)  # (C,)
    return tuple(float(ap[i]) if is_thin[i] else None for i in range(n_classes))


def centre_recall(batches: Iterable[EvaluatorInput], n_classes: int) -> tuple[float | None, ...]:
    """Compute the share of symbols that have a prediction of their class at their centre.

    A prediction, of any confidence, counts for the symbol whose centre is nearest to its own.

    Returns:
        Share of each class, shape ``(C,)``; None without ground truth.
    """
    n_met, n_truths = np.zeros((2, n_classes), np.int64)
    for data in batches:
        labels = data.truths.labels
        n_truths += np.bincount(labels, minlength=n_classes)
        n_met += np.bincount(labels[_met(data)], minlength=n_classes)
    pairs = zip(n_met.tolist(), n_truths.tolist(), strict=True)
    return tuple(met / n if n else None for met, n in pairs)


def _met(data: EvaluatorInput) -> NDArray[np.bool_]:
    """Return whether each symbol has a prediction at its centre."""
    truths, predictions = data.truths, data.predictions
    is_met = np.zeros(len(truths.labels), np.bool_)
    for truth_rows, rows in shared_cells(truths, predictions):
        centres, sides = _centres(truths.boxes_xyxy[truth_rows])
        offsets = np.abs(_centres(predictions.boxes_xyxy[rows])[0][:, None] - centres)  # (N, T, 2)
        nearest = (offsets**2).sum(axis=2).argmin(axis=1)  # (N,)
        offset = offsets[np.arange(len(nearest)), nearest]  # (N, 2)
        is_near = (offset <= np.maximum(sides[nearest] / 2, CENTRE_PX)).all(axis=1)
        is_met[truth_rows.start + nearest[is_near]] = True
    return is_met


def _centres(
    boxes_xyxy: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centres and sides of boxes, both of shape ``(T, 2)``."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    return (low + high) / 2, high - low
