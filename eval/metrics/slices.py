"""Scores of some of the pages, of symbols of some sizes, and of the classes of each head.

Shapes: P pages, C classes, W slices, T truths, N predictions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eval.metrics.backends import Backend, EvaluatorInput, run
from eval.metrics.bootstrap import mean_ap
from eval.metrics.hits import BatchHits, Hits, class_ap, weighted_ap
from eval.metrics.symbol_table import SymbolTable
from eval.reports.evaluation import Slice

SIZE_LIMITS = (0.0, 0.5, 1.0, 2.0, 4.0, float("inf"))
"""Bounds of the slices by size, in staff spaces. The size of a symbol is its longer side: about 1.2
for a notehead, .4 for an augmentation dot, 3.5 for a stem."""
_RANGES = [(low, float(np.nextafter(high, low))) for low, high in pairwise(SIZE_LIMITS)]
"""Smallest and largest size of each slice."""
N_DENSITIES = 10
"""Slices by number of symbols per page, of equally many pages."""
_FEWEST_PAGES = 2
"""Least number of pages per slice by density."""


def page_slices(hits: Hits, groups: Sequence[Mapping[str, str]]) -> tuple[Slice, ...]:
    """Score the pages of each value of each dimension, at IoU .5.

    Args:
        hits: Matched predictions.
        groups: Value of each page in each dimension, such as ``{"font": "Bravura"}``, length P.

    Returns:
        Slices in the order in which the dimensions occur, and sorted by value; a page without a
        value in a dimension is in none of its slices.
    """
    dimensions = dict.fromkeys(dimension for group in groups for dimension in group)
    keys = [
        (dimension, value)
        for dimension in dimensions
        for value in _sorted({group[dimension] for group in groups if dimension in group})
    ]
    columns = [[group.get(name) == value for group in groups] for name, value in keys]
    weights = np.array(columns, np.float64).reshape(len(keys), len(groups)).T  # (P, W)
    ap = weighted_ap(hits, weights)  # (W, C)
    means = mean_ap(ap, hits.n_truths, weights)
    n_truths = weights.T @ hits.n_truths.sum(axis=1)
    return tuple(
        Slice(
            dimension=dimension,
            value=value,
            n_pages=int(weights[:, i].sum()),
            n_truths=int(n_truths[i]),
            macro_ap50=_known(means["macro"][i]),
            instance_weighted_ap50=_known(means["instance_weighted"][i]),
        )
        for i, (dimension, value) in enumerate(keys)
    )


def _sorted(values: set[str]) -> list[str]:
    """Sort values; those that start with a number by it."""

    def key(value: str) -> tuple[float, str]:
        digits = value.split("-")[0].split(" ")[0]
        return (float(digits), "") if digits.isdecimal() else (np.inf, value)

    return sorted(values, key=key)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def density_groups(counts: NDArray[np.int64]) -> list[str]:
    """Name the decile of each page by its number of symbols, such as ``300-412 symbols``.

    Pages with equally many symbols are in the same group, so that there may be fewer groups.

    Args:
        counts: Symbols of each page, shape ``(P,)``.

    Returns:
        Names, length P.
    """
    n_groups = max(1, min(N_DENSITIES, len(counts) // _FEWEST_PAGES))
    if not len(counts):
        return []
    limits = np.quantile(counts, np.arange(1, n_groups) / n_groups)
    group = np.searchsorted(limits, counts, side="right")
    names = {}
    for i in np.unique(group):
        low, high = counts[group == i].min(), counts[group == i].max()
        names[i] = f"{low} symbols" if low == high else f"{low}-{high} symbols"
    return [names[i] for i in group]


def head_slices(
    ap50: Sequence[float | None], n_truths: NDArray[np.int64], heads: Mapping[str, Sequence[int]]
) -> tuple[Slice, ...]:
    """Average the AP of the classes of each head.

    Args:
        ap50: AP of each class at IoU .5, length C; None without ground truth.
        n_truths: Truths by page and class, shape ``(P, C)``.
        heads: Labels of each head's classes.
    """
    result = []
    for name, labels in heads.items():
        is_member = np.isin(np.arange(len(ap50)), labels)
        head_truths = np.where(is_member, n_truths, 0)  # (P, C)
        known = [ap if of_head else None for ap, of_head in zip(ap50, is_member, strict=True)]
        n_pages = int(head_truths.any(axis=1).sum())
        result.append(_mean_slice("head", name, known, head_truths.sum(axis=0), n_pages))
    return tuple(result)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SizeMatches:
    """Matches of a batch for the symbols of one size; M predictions that are not ignored."""

    scores: NDArray[np.float64]
    """Confidence, shape ``(M,)``."""
    labels: NDArray[np.int32]
    """Class of each prediction, shape ``(M,)``."""
    is_hit: NDArray[np.bool_]
    """True for predictions that match a symbol of the size, shape ``(M,)``."""
    n_truths: NDArray[np.int64]
    """Symbols of the size by class, shape ``(C,)``."""
    n_pages: int
    """Pages with such symbols."""


def size_matches(
    data: EvaluatorInput,
    found: BatchHits,
    n_candidates: NDArray[np.int32],
    staff_spaces: Sequence[float | None],
    backend: Backend = "hotcoco",
) -> tuple[SizeMatches, ...]:
    """Match the symbols of each size at IoU .5.

    Symbols of other sizes are ignored, with the predictions that find them, and so are predictions
    of other sizes that find none, as with COCO's areas. Which symbol a prediction finds depends on
    the size only where it could find several; only these are matched again.

    Args:
        data: Symbols to compare.
        found: Their matches without regard to sizes.
        n_candidates: Number of symbols of its class that each prediction could find.
        staff_spaces: Distance of the staff lines of all pages in pixels, length P; None if it is
            unknown: the symbols of such a page have no size.
        backend: Evaluator.

    Returns:
        Matches of each size, as in ``SIZE_LIMITS``.
    """
    spaces = np.array([space or np.nan for space in staff_spaces], np.float64)
    spaces = spaces[data.first_page : data.first_page + data.truths.n_pages]
    truths, predictions = data.truths, data.predictions
    sizes, predicted_sizes = _sizes(truths, spaces), _sizes(predictions, spaces)
    is_match = found.matched >= 0
    decisive = predicted_sizes.copy()  # size of the symbol that is found, or of the prediction
    decisive[is_match] = sizes[found.matched[is_match]]
    counts = np.array([(decisive >= low) & (decisive <= high) for low, high in _RANGES])
    is_hit, is_ignored = counts & is_match, ~counts  # (sizes, N)
    _match_again(data, n_candidates, (sizes, predicted_sizes), backend, is_hit, is_ignored)
    scores = np.zeros(len(predictions.labels)) if predictions.scores is None else predictions.scores
    result = []
    for (low, high), hit, rows in zip(_RANGES, is_hit, ~is_ignored, strict=True):
        sized = truths.only((sizes >= low) & (sizes <= high))
        result.append(
            SizeMatches(
                scores=scores[rows],
                labels=predictions.labels[rows].astype(np.int32),
                is_hit=hit[rows],
                n_truths=np.bincount(sized.labels, minlength=data.n_classes),
                n_pages=len(np.unique(sized.pages)),
            )
        )
    return tuple(result)


def _match_again(
    data: EvaluatorInput,
    n_candidates: NDArray[np.int32],
    sizes: tuple[NDArray[np.float64], NDArray[np.float64]],
    backend: Backend,
    is_hit: NDArray[np.bool_],
    is_ignored: NDArray[np.bool_],
) -> None:
    """Match the symbols of each class and page where a prediction could find several.

    Args:
        data: Symbols to compare.
        n_candidates: Number of symbols that each prediction could find.
        sizes: Sizes of the truths and of the predictions.
        backend: Evaluator.
        is_hit: Result, shape ``(sizes, N)``.
        is_ignored: Result, shape ``(sizes, N)``.
    """
    cells, predicted_cells = (
        table.pages * data.n_classes + table.labels for table in (data.truths, data.predictions)
    )
    ambiguous = np.unique(predicted_cells[n_candidates > 1])
    if not len(ambiguous):
        return
    of_truths, of_predictions = (np.isin(c, ambiguous) for c in (cells, predicted_cells))
    rows = np.flatnonzero(of_predictions)
    ambiguous_data = replace(
        data,
        truths=data.truths.only(of_truths),
        predictions=data.predictions.only(of_predictions),
        areas=(sizes[0][of_truths], sizes[1][rows]),
    )
    evaluator = run(ambiguous_data, backend, iou_thresholds=[0.5], area_ranges=_RANGES)
    position = {low: i for i, (low, _) in enumerate(_RANGES)}
    for cell in filter(None, evaluator.evalImgs):
        i, cell_rows = position[cell["aRng"][0]], rows[np.asarray(cell["dtIds"], np.int64) - 1]
        is_ignored[i, cell_rows] = np.asarray(cell["dtIgnore"], np.bool_)[0]
        is_hit[i, cell_rows] = np.asarray(cell["dtMatches"])[0] > 0


def size_slices(matches: Sequence[tuple[SizeMatches, ...]]) -> tuple[Slice, ...]:
    """Score symbols by size.

    Args:
        matches: Matches of each batch.

    Returns:
        One slice per size that occurs.
    """
    return tuple(
        _size_slice(_size_name(low, high), of_size)
        for (low, high), of_size in zip(
            pairwise(SIZE_LIMITS), zip(*matches, strict=True), strict=True
        )
        if any(found.n_truths.any() for found in of_size)
    )


def _size_slice(name: str, matches: Sequence[SizeMatches]) -> Slice:
    """Score the symbols of one size in all batches."""
    scores, labels, is_hit = (
        np.concatenate([getattr(found, column) for found in matches])
        for column in ("scores", "labels", "is_hit")
    )
    n_truths = np.sum([found.n_truths for found in matches], axis=0)  # (C,)
    order = np.lexsort((-scores, labels))
    ap50 = [_known(ap) for ap in class_ap(labels[order], is_hit[order], n_truths).tolist()]
    n_pages = sum(found.n_pages for found in matches)
    return _mean_slice("size", name, ap50, n_truths, n_pages)


def _sizes(table: SymbolTable, staff_spaces: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the longer side of each symbol in staff spaces; -1 if it is unknown."""
    sides = (table.boxes_xyxy[:, 2:] - table.boxes_xyxy[:, :2]).max(axis=1, initial=0)
    sizes: NDArray[np.float64] = np.nan_to_num(sides / staff_spaces[table.pages], nan=-1.0)
    return sizes


def _size_name(low: float, high: float) -> str:
    if np.isinf(high):
        return f"{low:g} staff spaces or more"
    return f"{low:g}-{high:g} staff spaces"


def _mean_slice(
    dimension: str,
    value: str,
    ap50: Sequence[float | None],
    n_truths: NDArray[np.int64],
    n_pages: int,
) -> Slice:
    """Average the AP of classes.

    Args:
        dimension: Dimension of the slice.
        value: Value of the slice.
        ap50: AP of each class, length C; None for a class that does not count.
        n_truths: Truths by class, shape ``(C,)``.
        n_pages: Pages with such truths.
    """
    is_known = np.array([ap is not None for ap in ap50], np.bool_)
    values = np.array([ap or 0.0 for ap in ap50])[is_known]
    counts = n_truths[is_known]
    return Slice(
        dimension=dimension,
        value=value,
        n_pages=n_pages,
        n_truths=int(counts.sum()),
        macro_ap50=float(values.mean()) if len(values) else None,
        instance_weighted_ap50=float(np.average(values, weights=counts)) if len(values) else None,
    )
