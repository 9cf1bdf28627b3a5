"""Cleaning of labels: repairs or removes labels that would mislead training, and counts them.

Shapes: N symbols of a page.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError, InputError
from converters import tally
from converters.boxes import Boxes
from converters.overlaps import (
    SAME_BOX_IOU,
    n_candidates,
    overlapping_pairs,
    same_box_classes,
)
from converters.page import Page
from converters.tally import Tally

MAX_CANDIDATES = 50_000_000
"""Largest number of pairs of boxes to compare on a page; dense pages have a hundredth of it."""
VANISHING = 1e-6
"""Fraction of the page's side below which a side of a box would be 0 in a label with six digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CleaningOptions:
    """Settings of the cleaning of labels."""

    dedup_iou: float = 0.95
    """Minimum IoU at which two symbols of the same class are duplicates."""
    min_side: float = 2.0
    """Side in pixels given to boxes without width or height, such as those of plain lines."""
    clip: bool = False
    """Whether boxes are clipped to the page; otherwise a box beyond the page is an error."""

    def __post_init__(self) -> None:
        """Reject a non-finite side, which JSON cannot represent."""
        if not math.isfinite(self.min_side):
            raise ConfigError(
                "expected a finite number", option="--min-side", value=f"{self.min_side:g}"
            )


def clean(page: Page, names: Sequence[str], options: CleaningOptions, counts: Tally) -> Page:
    """Clip, widen and deduplicate the symbols of a page.

    Args:
        page: Page as read from the source.
        names: Names of the classes.
        options: Settings of the cleaning.
        counts: Receives the numbers of dropped and changed symbols, and of symbols with the same
            box, by class.

    Returns:
        The page with the remaining symbols, in the same order.

    Raises:
        InputError: So many symbols are in the same place that comparing them would take minutes.
    """
    if options.clip:
        page = _clip(page, names, counts)
    is_point = np.asarray(_is_flat(page).all(axis=1))
    page = _drop(page, is_point, tally.NO_SIZE, names, counts)
    page = _widen(page, names, options.min_side, counts)
    page = _drop(page, _exact_duplicates(page), tally.EXACT_DUPLICATE, names, counts)
    if n_candidates(page.boxes_xyxy, options.dedup_iou) > MAX_CANDIDATES:
        raise InputError(
            f"too many of its {len(page.labels):,} symbols are in the same place; correct its "
            "annotations",
            path=Path(page.image),
        )
    pairs = overlapping_pairs(page.boxes_xyxy, options.dedup_iou)
    same = page.labels[pairs[:, 0]] == page.labels[pairs[:, 1]]
    dropped = np.zeros(len(page.labels), bool)
    dropped[list(_later_duplicates(pairs[same]))] = True
    page = _drop(page, dropped, tally.NEAR_DUPLICATE, names, counts)
    if len(pairs) > same.sum() or options.dedup_iou > SAME_BOX_IOU:
        counts.two_classes.update(same_box_classes(page.boxes_xyxy, page.labels, names))
    return page


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
    change: str,
    names: Sequence[str],
    counts: Tally,
) -> Page:
    if not rows.any():
        return page
    changed = tally.count(page.labels[rows], names)
    counts.changed.update({(change, name): n for name, n in changed.items()})
    return replace(page, boxes_xyxy=boxes_xyxy)


def _clip(page: Page, names: Sequence[str], counts: Tally) -> Page:
    """Clip boxes to the page, and drop those that are entirely outside."""
    limit = np.array([page.width, page.height] * 2, np.float64)
    boxes_xyxy = np.clip(page.boxes_xyxy, 0, limit)
    moved = (boxes_xyxy != page.boxes_xyxy).any(1)
    outside: NDArray[np.bool_] = moved & (boxes_xyxy[:, 2:] <= boxes_xyxy[:, :2]).any(1)
    clipped: NDArray[np.bool_] = moved & ~outside
    page = _change(page, boxes_xyxy, clipped, tally.CLIPPED, names, counts)
    return _drop(page, outside, tally.OUTSIDE_PAGE, names, counts)


def _widen(page: Page, names: Sequence[str], min_side: float, counts: Tally) -> Page:
    """Widen sides of zero length to ``min_side`` around their centre, inside the page."""
    xy_min, xy_max = np.split(page.boxes_xyxy, 2, axis=1)
    size = np.array([page.width, page.height], np.float64)
    flat = _is_flat(page)
    side = np.minimum(min_side, size)
    start = np.clip((xy_min + xy_max) / 2 - side / 2, 0, size - side)
    boxes_xyxy = np.concatenate(
        (np.where(flat, start, xy_min), np.where(flat, start + side, xy_max)), axis=1
    )
    return _change(page, boxes_xyxy, flat[:, 0] | flat[:, 1], tally.WIDENED, names, counts)


def _is_flat(page: Page) -> NDArray[np.bool_]:
    """Mark boxes without width and those without height, shape ``(N, 2)``."""
    xy_min, xy_max = np.split(page.boxes_xyxy, 2, axis=1)
    return np.asarray(xy_max - xy_min <= VANISHING * np.array([page.width, page.height]))


def _exact_duplicates(page: Page) -> NDArray[np.bool_]:
    """Mark symbols with the class and box of an earlier symbol, shape ``(N,)``."""
    columns = (*page.boxes_xyxy.T, page.labels)
    order = np.lexsort(columns)  # stable: equal rows stay in the order of the page
    same = np.ones(max(0, len(order) - 1), bool)
    for column in columns:
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    later = np.zeros(len(order), bool)
    later[order[1:][same]] = True
    return later


def _later_duplicates(pairs: NDArray[np.int64]) -> set[int]:
    """Choose the later row of each pair, unless its earlier row has been chosen already."""
    dropped: set[int] = set()
    for i, j in pairs.tolist():  # sorted by i, so whether i stays is known before its pairs
        if i not in dropped:
            dropped.add(j)
    return dropped
