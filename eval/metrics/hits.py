"""Predictions that find a symbol, as matched by COCO's evaluator, and AP of weighted pages.

Shapes: N predictions, P pages, C classes, T IoU thresholds, W weightings of the pages,
S predictions of a class that find a symbol, R recall thresholds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eval.metrics.backends import Backend, EvaluatorInput, run

RECALLS = np.linspace(0, 1, 101)
"""COCO's recall thresholds, shape ``(R,)``."""
Weights: TypeAlias = NDArray[np.float64] | NDArray[np.uint16]
"""Number of times that each page counts, whole numbers of shape ``(P, W)``."""
_CHUNK = 1 << 22
"""Entries of the largest temporary array."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Hits:
    """Predictions of all pages, sorted by class, then by descending score."""

    scores: NDArray[np.float64]
    """Confidence, shape ``(N,)``; equal scores are in the order in which COCO ranks them."""
    labels: NDArray[np.signedinteger[Any]]
    """Class of each prediction, shape ``(N,)``."""
    pages: NDArray[np.signedinteger[Any]]
    """Index of each prediction's page, shape ``(N,)``."""
    is_hit: NDArray[np.bool_]
    """True for predictions that match a symbol not matched by a better one, shape ``(T, N)``."""
    n_truths: NDArray[np.int64]
    """Ground-truth symbols of each page and class, shape ``(P, C)``."""
    order: NDArray[np.int64]
    """Position of each prediction in the tables of all batches, shape ``(N,)``."""

    @property
    def n_classes(self) -> int:
        """Number of classes, C."""
        return int(self.n_truths.shape[1])

    def rows(self, label: int) -> slice:
        """Return the range of a class's predictions."""
        first, last = np.searchsorted(self.labels, [label, label + 1])
        return slice(int(first), int(last))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BatchHits:
    """Matches of a batch, in the order of its tables."""

    is_hit: NDArray[np.bool_]
    """True for predictions that match a symbol, shape ``(T, N)``."""
    matched: NDArray[np.int64]
    """Truth that each prediction matches at the first threshold, -1 for none, shape ``(N,)``."""

    def is_found(self, n_truths: int) -> NDArray[np.bool_]:
        """Return whether each truth is matched at the first threshold, shape ``(n_truths,)``."""
        is_found = np.zeros(n_truths, np.bool_)
        is_found[self.matched[self.matched >= 0]] = True
        return is_found


def find_hits(
    batches: Iterable[EvaluatorInput],
    backend: Backend = "hotcoco",
    iou_thresholds: Sequence[float] = (0.5,),
) -> Hits:
    """Match predictions with ground truth.

    Predictions choose in the order of their scores: each one the symbol of its class with the
    highest IoU that no better prediction has chosen. Those beyond ``max_det`` find nothing.

    Args:
        batches: Symbols to compare.
        backend: Evaluator that matches them.
        iou_thresholds: Least IoU of a prediction with the symbol that it finds, T values.
    """
    collected = HitCollector()
    for data in batches:
        evaluator = run(data, backend, iou_thresholds=iou_thresholds)
        collected.add(data, read_hits(evaluator, data))
    return collected.hits()


def read_hits(evaluator: Any, data: EvaluatorInput) -> BatchHits:  # noqa: ANN401
    """Read the matches of an evaluator.

    Args:
        evaluator: ``COCOeval`` after ``evaluate``, without size limits.
        data: Its input.
    """
    n_thresholds = len(evaluator.params.iouThrs)
    is_hit = np.zeros((n_thresholds, len(data.predictions.labels)), np.bool_)  # (T, N)
    matched = np.full(len(data.predictions.labels), -1)
    for cell in filter(None, evaluator.evalImgs):
        if len(cell["dtIds"]) and len(cell["gtIds"]):
            rows, truth_ids = np.asarray(cell["dtIds"]) - 1, np.asarray(cell["dtMatches"])
            is_hit[:, rows] = truth_ids > 0
            matched[rows] = truth_ids[0] - 1
    return BatchHits(is_hit=is_hit, matched=matched)


class HitCollector:
    """Collects the matches of all batches."""

    def __init__(self) -> None:
        """Start without batches."""
        self._columns: list[tuple[NDArray[Any], ...]] = []
        self._is_hit: list[NDArray[np.bool_]] = []
        self._n_truths: list[NDArray[np.int64]] = []

    def add(self, data: EvaluatorInput, found: BatchHits) -> None:
        """Add the next batch.

        Args:
            data: Symbols of the batch.
            found: Its matches.
        """
        table = data.predictions
        scores = np.zeros(len(table.labels)) if table.scores is None else table.scores
        pages = (table.pages + data.first_page).astype(np.int32)
        self._columns.append((scores, table.labels.astype(np.int32), pages))
        self._is_hit.append(found.is_hit)
        self._n_truths.append(data.truths.counts(data.n_classes))

    def hits(self) -> Hits:
        """Return the matches of all batches, of which there must be at least one."""
        scores, labels, pages = map(np.concatenate, zip(*self._columns, strict=True))
        order = np.lexsort((-scores, labels))  # stable: ties stay in the order of the tables
        return Hits(
            scores=scores[order],
            labels=labels[order],
            pages=pages[order],
            is_hit=np.concatenate(self._is_hit, axis=1)[:, order],
            n_truths=np.concatenate(self._n_truths),
            order=order,
        )


def weighted_sums(weights: Weights, n_truths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Count the truths of weighted pages.

    Args:
        weights: Whole numbers, shape ``(P, W)``.
        n_truths: Truths by page and class, shape ``(P, C)``.

    Returns:
        Counts, shape ``(W, C)``.
    """
    sums = np.zeros((weights.shape[1], n_truths.shape[1]))
    step = max(1, _CHUNK // max(1, weights.shape[1]))
    for first in range(0, len(weights), step):
        rows = slice(first, first + step)
        sums += weights[rows].T.astype(np.float64) @ n_truths[rows]
    return sums


def class_ap(
    labels: NDArray[np.signedinteger[Any]], is_hit: NDArray[np.bool_], n_truths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute COCO's AP of each class, shape ``(C,)``; NaN for a class without symbols.

    Args:
        labels: Class of each prediction, sorted by class, then by descending score.
        is_hit: True for predictions that match a symbol.
        n_truths: Symbols of each class, shape ``(C,)``.
    """
    bounds = np.searchsorted(labels, np.arange(len(n_truths) + 1)).tolist()
    return np.array(
        [
            _ranked_ap(is_hit[first:end], n) if n else np.nan
            for (first, end), n in zip(pairwise(bounds), n_truths.tolist(), strict=True)
        ]
    )


def _ranked_ap(is_hit: NDArray[np.bool_], n_truths: int) -> float:
    rows = np.flatnonzero(is_hit)
    if not len(rows):
        return 0.0
    needed = _needed(np.array([n_truths], np.float64))
    n_kept = (rows[:, None] + 1).astype(np.float64)
    return float(_interpolated(n_kept, np.ones((len(rows), 1)), needed)[0])


def weighted_ap(
    hits: Hits, weights: Weights, threshold_index: int | None = 0
) -> NDArray[np.float64]:
    """Compute the AP of each class with pages that count several times, or not at all.

    Equal to COCO's AP of a data set with as many copies of each page as its weight. Only
    predictions that find a symbol matter, and the number of false ones ranked above each: the
    interpolated precision has no other values.

    Args:
        hits: Matched predictions.
        weights: Whole numbers, shape ``(P, W)``.
        threshold_index: Index of the IoU threshold; None for the mean over all thresholds, in less
            time than one by one.

    Returns:
        AP, shape ``(W, C)``; NaN for a class without ground truth on the weighted pages.
    """
    n_truths = weighted_sums(weights, hits.n_truths)  # (W, C)
    result = np.where(n_truths > 0, 0.0, np.nan)
    thresholds = slice(None) if threshold_index is None else [threshold_index]
    for label in range(hits.n_classes):
        rows = hits.rows(label)
        is_hit = hits.is_hit[thresholds, rows]  # (T, N)
        hit_rows = np.flatnonzero(is_hit.any(axis=0))  # (S,)
        if not len(hit_rows) or not hits.n_truths[:, label].any():
            continue
        pages = hits.pages[rows][: hit_rows[-1] + 1]  # false ones below the last hit change nothing
        step = max(1, _CHUNK // len(pages))
        for first in range(0, weights.shape[1], step):
            columns = slice(first, first + step)
            result[columns, label] = _ap(
                weights[:, columns].astype(np.float64)[pages],
                hit_rows,
                is_hit[:, hit_rows],
                n_truths[columns, label],
            )
    return result


def _ap(
    weights: NDArray[np.float64],
    hit_rows: NDArray[np.intp],
    is_hit: NDArray[np.bool_],
    n_truths: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute the AP of one class, averaged over IoU thresholds.

    Args:
        weights: Weight of each prediction, shape ``(N, W)``.
        hit_rows: Positions of those that match a symbol at any threshold, shape ``(S,)``; the last
            is N - 1.
        is_hit: Whether each of these matches at each threshold, shape ``(T, S)``.
        n_truths: Weighted number of truths, shape ``(W,)``.

    Returns:
        AP, shape ``(W,)``; NaN without truths.
    """
    segments = np.concatenate(([0], hit_rows[:-1] + 1))
    n_kept = np.add.reduceat(weights, segments, axis=0).cumsum(axis=0)  # (S, W)
    hit_weights, needed = weights[hit_rows], _needed(n_truths)  # (S, W), (W, R)
    ap = np.zeros(len(n_truths))
    for rows in is_hit:
        if rows.all():
            ap += _interpolated(n_kept, hit_weights, needed)
        elif rows.any():
            ap += _interpolated(n_kept[rows], hit_weights[rows], needed)
    return np.where(n_truths > 0, ap / len(is_hit), np.nan)


def _interpolated(
    n_kept: NDArray[np.float64], weights: NDArray[np.float64], needed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average the interpolated precision over COCO's recalls.

    Args:
        n_kept: Weighted number of predictions down to each one that matches, shape ``(S, W)``.
        weights: Weights of those that match, shape ``(S, W)``.
        needed: Weighted number of matches that reach each recall, shape ``(W, R)``.

    Returns:
        AP, shape ``(W,)``.
    """
    n_found = weights.cumsum(axis=0)  # (S, W)
    precision = n_found / np.maximum(n_kept, 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # (S, W)
    positions = _first_reaching(n_found, needed)  # (W, R)
    padded = np.vstack((envelope, np.zeros(len(needed))))  # 0 for a recall that is not reached
    return np.asarray(np.take_along_axis(padded, positions.T, axis=0).mean(axis=0))


def _needed(n_truths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least number of hits whose recall reaches each threshold, shape ``(W, R)``.

    The recall is compared as a rounded quotient, as COCO's evaluator does.
    """
    n = np.maximum(n_truths, 1)[:, None]
    needed = np.ceil(RECALLS * n - 1e-6)
    return needed + (needed / n < RECALLS)


def _first_reaching(n_found: NDArray[np.float64], needed: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the first position at which each count is reached, else S.

    Args:
        n_found: Cumulated hits, shape ``(S, W)``.
        needed: Counts, shape ``(W, R)``.

    Returns:
        Positions, shape ``(W, R)``.
    """
    n_positions, n_weightings = n_found.shape
    beyond = max(float(n_found[-1].max()), float(needed.max())) + 1
    shift = np.arange(n_weightings)[:, None] * beyond  # one sorted array for all weightings
    every = (n_found.T + shift).ravel()
    first = np.searchsorted(every, (needed + shift).ravel()).reshape(needed.shape)
    positions: NDArray[np.intp] = first - np.arange(n_weightings)[:, None] * n_positions
    return positions
