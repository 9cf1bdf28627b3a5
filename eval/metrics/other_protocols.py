"""AP at IoU .5 by protocols other than COCO's: VOC 2007, VOC 2010 and Ultralytics.

They differ in two ways. VOC compares a prediction only with the symbol of its class with the
highest IoU: if a better prediction has found that one already, the prediction is a false alarm,
while COCO and Ultralytics let it find another. And each reads the precision curve in its own way:

* VOC 2007: mean of the interpolated precision at recalls 0, .1 ... 1.
* VOC 2010: area under the interpolated precision, which is a staircase.
* Ultralytics: area under straight lines between the precisions at recalls 0, .01 ... 1, on a curve
  that starts at precision 1 and ends at 0; a perfect result therefore has an AP of .995.
* COCO: mean of the interpolated precision at recalls 0, .01 ... 1.

Sizes are those of half-open boxes; the VOC development kit adds a pixel to each side.

Shapes: N predictions of a class or of all pages, C classes.

Sources: M. Everingham et al., The PASCAL Visual Object Classes challenge, 2010, section 4.2, and
its 2012 development kit; Ultralytics 8.4.190 (AGPL-3.0), ``ultralytics.utils.metrics.compute_ap``.
"""

from collections.abc import Callable, Iterable

import numpy as np
from hotcoco.primitives import bbox_iou
from numpy.typing import NDArray

from converters.boxes import xyxy_to_xywh
from eval.metrics.backends import EvaluatorInput
from eval.metrics.cells import shared_cells
from eval.metrics.hits import RECALLS, Hits
from eval.reports.evaluation import OtherProtocols

MIN_IOU = 0.5
"""Least IoU of a prediction with the symbol that it finds."""


def other_protocols(batches: Iterable[EvaluatorInput], hits: Hits) -> tuple[OtherProtocols, ...]:
    """Compute the AP of each class by other protocols, shape ``(C,)``.

    Args:
        batches: Symbols to compare.
        hits: COCO's matches at IoU ``MIN_IOU``, which are those of Ultralytics' validator as well,
            unless IoUs are equal.

    Returns:
        AP of each class; None for a class without ground truth.
    """
    n_truths = hits.n_truths.sum(axis=0)
    is_voc_hit = np.concatenate([voc_hits(data) for data in batches])[hits.order]
    return tuple(
        OtherProtocols(
            voc2007=voc2007_ap(is_voc_hit[hits.rows(label)], n),
            voc2010=voc2010_ap(is_voc_hit[hits.rows(label)], n),
            ultralytics=ultralytics_ap(hits.is_hit[0, hits.rows(label)], n),
        )
        if n
        else OtherProtocols(voc2007=None, voc2010=None, ultralytics=None)
        for label, n in enumerate(n_truths.tolist())
    )


def macro(classes: tuple[OtherProtocols, ...]) -> OtherProtocols:
    """Average over the classes with ground truth, with equal weight."""

    def mean(value: Callable[[OtherProtocols], float | None]) -> float | None:
        known = [ap for ap in map(value, classes) if ap is not None]
        return sum(known) / len(known) if known else None

    return OtherProtocols(
        voc2007=mean(lambda row: row.voc2007),
        voc2010=mean(lambda row: row.voc2010),
        ultralytics=mean(lambda row: row.ultralytics),
    )


def voc_hits(data: EvaluatorInput) -> NDArray[np.bool_]:
    """Match predictions with symbols by VOC's rule: True for those that find one, shape ``(N,)``.

    Predictions are in the order of their table.
    """
    truths, predictions = data.truths, data.predictions
    nearest = np.full(len(predictions.labels), -1)  # symbol of the highest IoU, if it is enough
    for truth_rows, rows in shared_cells(truths, predictions):
        ious = bbox_iou(
            xyxy_to_xywh(predictions.boxes_xyxy[rows]),
            xyxy_to_xywh(truths.boxes_xyxy[truth_rows]),
            np.zeros(truth_rows.stop - truth_rows.start, np.bool_),
        )  # (predictions, truths)
        best = ious.argmax(axis=1)
        is_enough = ious[np.arange(len(best)), best] >= MIN_IOU
        nearest[rows] = np.where(is_enough, truth_rows.start + best, -1)
    scores = np.zeros(len(predictions.labels)) if predictions.scores is None else predictions.scores
    order = np.argsort(-scores, kind="stable")
    is_hit = np.zeros(len(nearest), np.bool_)
    symbols, first = np.unique(nearest[order], return_index=True)
    is_hit[order[first[symbols >= 0]]] = True  # later ones are false alarms
    return is_hit


def voc2007_ap(is_hit: NDArray[np.bool_], n_truths: int) -> float:
    """Return the mean interpolated precision at 11 recalls.

    Args:
        is_hit: True for predictions that match a symbol, highest score first, shape ``(N,)``.
        n_truths: Number of symbols, at least 1.
    """
    recall, precision = _curve(is_hit, n_truths)
    envelope = _envelope(np.append(precision, 0.0))
    positions = np.searchsorted(recall, np.arange(11) / 10 - 1e-9)
    return float(envelope[positions].mean())


def voc2010_ap(is_hit: NDArray[np.bool_], n_truths: int) -> float:
    """Return the area under the interpolated precision; arguments as in :func:`voc2007_ap`."""
    recall, precision = _curve(is_hit, n_truths)
    return float((np.diff(recall, prepend=0.0) * _envelope(precision)).sum())


def ultralytics_ap(is_hit: NDArray[np.bool_], n_truths: int) -> float:
    """Return the area under Ultralytics' curve; arguments as in :func:`voc2007_ap`."""
    recall, precision = _curve(is_hit, n_truths)
    if not len(recall):
        return 0.0
    recall = np.concatenate(([0.0], recall, [recall[-1], 1.0]))
    envelope = _envelope(np.concatenate(([1.0], precision, [0.0, 0.0])))
    return float(np.trapezoid(np.interp(RECALLS, recall, envelope), RECALLS))


def _curve(
    is_hit: NDArray[np.bool_], n_truths: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return recall and precision of the first 1, 2 ... N predictions, shapes ``(N,)``."""
    n_found = is_hit.cumsum()
    return n_found / n_truths, n_found / np.arange(1, len(is_hit) + 1)


def _envelope(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the highest precision at each position or later."""
    return np.maximum.accumulate(precision[::-1])[::-1]
