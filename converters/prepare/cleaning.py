"""Repairs and removes the labels that mislead a training; every change is counted.

Shapes: N symbols of a page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from converters import tally
from converters.boxes import Boxes
from converters.overlaps import overlapping_pairs
from converters.page import Page
from converters.tally import Tally

SAME_BOX_IOU = 0.95
"""Two symbols of different classes that overlap this much have one box, whatever the options."""
VANISHING = 1e-6
"""Share of the page's side: a shorter side would be 0 in a label of six digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CleaningOptions:
    """What is done to the labels of a page."""

    dedup_iou: float = 0.95
    """Two symbols of one class that overlap this much are one."""
    min_side: float = 2.0
    """Pixels given to a box without width or height: a plain line is not nothing."""
    clip: bool = False
    """Cut boxes at the border of the page; without it such boxes are an error."""


def clean(page: Page, names: Sequence[str], options: CleaningOptions, counts: Tally) -> Page:
    """Return the page with its labels put right.

    Args:
        page: As read.
        names: Names of the classes.
        options: What is done.
        counts: Receives what was dropped, changed and found, by class.
    """
    if options.clip:
        page = _clip(page, names, counts)
    page = _widen(page, names, options.min_side, counts)
    page = _drop(page, _exact_duplicates(page), tally.EXACT_DUPLICATE, names, counts)
    pairs = overlapping_pairs(page.boxes_xyxy, options.dedup_iou)
    same = page.labels[pairs[:, 0]] == page.labels[pairs[:, 1]]
    dropped = np.zeros(len(page.labels), bool)
    dropped[list(_later_ones(pairs[same]))] = True
    page = _drop(page, dropped, tally.NEAR_DUPLICATE, names, counts)
    if len(pairs) > same.sum() or options.dedup_iou > SAME_BOX_IOU:
        counts.two_classes.update(_two_classes(page, names))
    return page


def _two_classes(page: Page, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the class names of every pair of symbols with one box."""
    for i, j in overlapping_pairs(page.boxes_xyxy, SAME_BOX_IOU).tolist():
        a, b = sorted((names[page.labels[i]], names[page.labels[j]]))
        if a != b:
            yield a, b


def _drop(
    page: Page, rows: NDArray[np.bool_], reason: str, names: Sequence[str], counts: Tally
) -> Page:
    if not rows.any():
        return page
    counts.drop(reason, page.labels[rows], names)
    return page.only(~rows)


def _change(
    page: Page,
    boxes_xyxy: Boxes,
    rows: NDArray[np.bool_],
    what: str,
    names: Sequence[str],
    counts: Tally,
) -> Page:
    if not rows.any():
        return page
    changed = tally.count(page.labels[rows], names)
    counts.changed.update({(what, name): n for name, n in changed.items()})
    return replace(page, boxes_xyxy=boxes_xyxy)


def _clip(page: Page, names: Sequence[str], counts: Tally) -> Page:
    limit = np.array([page.width, page.height] * 2, np.float64)
    cut = np.clip(page.boxes_xyxy, 0, limit)
    moved = (cut != page.boxes_xyxy).any(1)
    gone: NDArray[np.bool_] = moved & (cut[:, 2:] <= cut[:, :2]).any(1)
    clipped: NDArray[np.bool_] = moved & ~gone
    page = _change(page, cut, clipped, tally.CLIPPED, names, counts)
    return _drop(page, gone, tally.OUTSIDE_PAGE, names, counts)


def _widen(page: Page, names: Sequence[str], min_side: float, counts: Tally) -> Page:
    """Give ``min_side`` to sides of no length, about their middle, inside the page."""
    xy_min, xy_max = np.split(page.boxes_xyxy, 2, axis=1)
    size = np.array([page.width, page.height], np.float64)
    flat: NDArray[np.bool_] = xy_max - xy_min <= VANISHING * size  # (N, 2)
    side = np.minimum(min_side, size)
    start = np.clip((xy_min + xy_max) / 2 - side / 2, 0, size - side)
    boxes_xyxy = np.concatenate(
        (np.where(flat, start, xy_min), np.where(flat, start + side, xy_max)), axis=1
    )
    return _change(page, boxes_xyxy, flat[:, 0] | flat[:, 1], tally.WIDENED, names, counts)


def _exact_duplicates(page: Page) -> NDArray[np.bool_]:
    """Mark symbols whose class and box an earlier one has, shape ``(N,)``."""
    columns = (*page.boxes_xyxy.T, page.labels)
    order = np.lexsort(columns)  # stable: equal rows stay in the order of the page
    same = np.ones(max(0, len(order) - 1), bool)
    for column in columns:
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    later = np.zeros(len(order), bool)
    later[order[1:][same]] = True
    return later


def _later_ones(pairs: NDArray[np.int64]) -> set[int]:
    """Of each pair the later row goes, unless the earlier one is gone already."""
    gone: set[int] = set()
    for i, j in pairs.tolist():  # sorted by i: whether i stays is known before its pairs come
        if i not in gone:
            gone.add(j)
    return gone
