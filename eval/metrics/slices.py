"""Scores of some of the pages, of symbols of some sizes, and of the classes of each head.

Shapes: P pages, C classes, W slices, T truths, N predictions.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eval.metrics.backends import Backend, EvaluatorInput, run
from eval.metrics.bootstrap import mean_ap
from eval.metrics.hits import Hits, weighted_ap
from eval.metrics.symbol_table import SymbolTable
from eval.reports.evaluation import Slice

SIZE_LIMITS = (0.0, 0.5, 1.0, 2.0, 4.0, float("inf"))
"""Bounds of the slices by size, in staff spaces. The size of a symbol is its longer side: about 1.2
for a notehead, .4 for an augmentation dot, 3.5 for a stem."""
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


def density_groups(truths: SymbolTable) -> list[str]:
    """Name the decile of each page by its number of symbols, such as ``300-412 symbols``.

    Pages with equally many symbols are in the same group, so that there may be fewer groups.

    Returns:
        Names, length P.
    """
    counts = np.bincount(truths.pages, minlength=truths.n_pages)
    n_groups = max(1, min(N_DENSITIES, truths.n_pages // _FEWEST_PAGES))
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
    return tuple(
        _mean_slice("head", name, np.isin(np.arange(len(ap50)), labels), ap50, n_truths)
        for name, labels in heads.items()
    )


def size_slices(
    data: EvaluatorInput,
    staff_spaces: Sequence[float | None],
    backend: Backend = "hotcoco",
) -> tuple[Slice, ...]:
    """Score symbols by size, at IoU .5.

    Symbols of other sizes are ignored, with the predictions that find them, and so are predictions
    of other sizes that find none, as with COCO's areas.

    Args:
        data: Symbols to compare.
        staff_spaces: Distance of the staff lines of each page in pixels, length P; None if it is
            unknown: the symbols of such a page are in no slice.
        backend: Evaluator.

    Returns:
        One slice per size that occurs; none if no distance is known.
    """
    spaces = np.array([space or np.nan for space in staff_spaces], np.float64)
    sizes = _sizes(data.truths, spaces)  # (T,)
    ranges = [(low, float(np.nextafter(high, low))) for low, high in pairwise(SIZE_LIMITS)]
    areas = sizes, _sizes(data.predictions, spaces)
    evaluator = run(data, backend, iou_thresholds=[0.5], areas=areas, area_ranges=ranges)
    ap = evaluator.eval["precision"][0, :, :, :, 0].mean(axis=0)  # (C, sizes)
    result = []
    for i, (low, high) in enumerate(pairwise(SIZE_LIMITS)):
        has_size = (sizes >= low) & (sizes < high)
        if has_size.any():
            n_truths = data.truths.only(has_size).counts(data.n_classes)
            ap50 = [float(value) if value >= 0 else None for value in ap[:, i]]
            every = np.ones(data.n_classes, np.bool_)
            result.append(_mean_slice("size", _size_name(low, high), every, ap50, n_truths))
    return tuple(result)


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
    is_member: NDArray[np.bool_],
    ap50: Sequence[float | None],
    n_truths: NDArray[np.int64],
) -> Slice:
    """Average the AP of some classes.

    Args:
        dimension: Dimension of the slice.
        value: Value of the slice.
        is_member: Classes of the slice, shape ``(C,)``.
        ap50: AP of each class, length C; None without ground truth.
        n_truths: Truths by page and class, shape ``(P, C)``.
    """
    known = np.array([ap is not None for ap in ap50], np.bool_) & is_member
    values = np.array([ap or 0.0 for ap in ap50])[known]
    counts = n_truths.sum(axis=0)[known]
    return Slice(
        dimension=dimension,
        value=value,
        n_pages=int(n_truths[:, known].any(axis=1).sum()),
        n_truths=int(counts.sum()),
        macro_ap50=float(values.mean()) if known.any() else None,
        instance_weighted_ap50=float(np.average(values, weights=counts)) if known.any() else None,
    )
