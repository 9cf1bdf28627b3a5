"""Pairs of boxes that are nearly the same, also on images with a million boxes.

Shapes: N boxes of an image or of several, R boxes that differ when rounded, P pairs.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.overlaps import n_candidates, overlapping_pairs
from eval.lint.pages import LintPage

MAX_CANDIDATES = 5_000_000
"""Maximum number of pairs to compare, about a second."""
LEAST_IOU = 0.7
"""IoU from which pairs of boxes are kept for several rules."""
IMAGES, MAX_BOXES = 256, 1000
"""Number of images whose boxes :func:`with_pairs` compares at once, and of boxes per image up to
which this is faster."""
PAIRS = "similar boxes"
"""Key of the pairs in :attr:`LintPage.measured`."""
GRIDS_PX = (1 / 64, 1 / 8, 1.0)
"""Grids that boxes are rounded to, one after the other, until there are few enough."""


def with_pairs(pages: Iterable[LintPage]) -> Iterator[LintPage]:
    """Yield images, and search the pairs of similar boxes of many small ones at once.

    Only for images that no check opens, because a number of them is in memory.
    """
    iterator = iter(pages)
    while block := list(islice(iterator, IMAGES)):
        _search([page for page in block if len(page.rows) <= MAX_BOXES])
        yield from block


def _search(pages: Sequence[LintPage]) -> None:
    """Search the pairs of images with few boxes, as :func:`_overlaps` does for one image."""
    rows = [np.flatnonzero(page.is_complete) for page in pages]
    image = np.repeat(np.arange(len(pages)), [len(part) for part in rows])  # (N,)
    boxes = np.concatenate(
        [np.empty((0, 4)), *(p.page.boxes_xyxy[part] for p, part in zip(pages, rows, strict=True))]
    )
    pairs = overlapping_pairs(boxes, LEAST_IOU, labels=image)
    ious = _ious(boxes, pairs)
    bounds = np.searchsorted(image[pairs[:, 0]], np.arange(len(pages) + 1)).tolist()
    row_of = np.concatenate([np.empty(0, np.int64), *rows])
    for i, page in enumerate(pages):
        part = slice(bounds[i], bounds[i + 1])
        page.measured[PAIRS] = row_of[pairs[part]], ious[part]


def page_pairs(page: LintPage, min_iou: float, *, same_class: bool) -> NDArray[np.int64]:
    """List pairs of boxes of an image with a minimum IoU, as :func:`similar_pairs` does.

    Boxes that the border of a tile may have cut are skipped. The pairs of the last image are kept,
    because several rules need them.

    Args:
        page: Image.
        min_iou: Minimum IoU.
        same_class: Whether to list only pairs of one class.
    """
    rows = np.flatnonzero(page.is_complete)
    labels = page.page.labels
    overlaps = _overlaps(page)
    if overlaps is None or min_iou < LEAST_IOU:
        of_class = labels[rows] if same_class else None
        return rows[similar_pairs(page.page.boxes_xyxy[rows], min_iou, of_class)]
    pairs, ious = overlaps
    chosen = ious >= min_iou
    if same_class:
        chosen &= labels[pairs[:, 0]] == labels[pairs[:, 1]]
    return pairs[chosen]


@lru_cache(maxsize=1)
def _overlaps(page: LintPage) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Return the pairs with an IoU of at least ``LEAST_IOU``, and their IoU; None if too many."""
    if PAIRS in page.measured:
        pairs, ious = page.measured[PAIRS]
        return pairs, ious
    rows = np.flatnonzero(page.is_complete)
    boxes = page.page.boxes_xyxy[rows]
    if n_candidates(boxes, LEAST_IOU) > MAX_CANDIDATES:
        return None
    pairs = overlapping_pairs(boxes, LEAST_IOU)
    return rows[pairs], _ious(boxes, pairs)


def _ious(boxes_xyxy: Boxes, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the IoU of the boxes of each pair, which overlap, shape ``(P,)``."""
    first, second = pairs.T
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    xy_min = np.maximum(boxes_xyxy[first, :2], boxes_xyxy[second, :2])
    xy_max = np.minimum(boxes_xyxy[first, 2:], boxes_xyxy[second, 2:])
    shared = np.prod(xy_max - xy_min, axis=1)
    return np.asarray(shared / (areas[first] + areas[second] - shared))


def similar_pairs(
    boxes_xyxy: Boxes, min_iou: float, labels: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """List pairs of boxes with a minimum IoU.

    If there are too many boxes to compare in pairs, those that are equal when rounded count as
    similar, and each is paired with the first of them.

    Args:
        boxes_xyxy: Boxes, shape ``(N, 4)``.
        min_iou: Minimum IoU.
        labels: Class of each box, shape ``(N,)``, to list only pairs of one class.

    Returns:
        Pairs of row indices, the lower one first, sorted, shape ``(P, 2)``.
    """
    rows = np.arange(len(boxes_xyxy))
    blocks: list[NDArray[np.int64]] = []
    for grid in GRIDS_PX:
        if n_candidates(boxes_xyxy[rows], min_iou) <= MAX_CANDIDATES:
            break
        rows, pairs = _merged(boxes_xyxy, rows, grid, labels)
        blocks.append(pairs)
    chosen = labels[rows] if labels is not None else None
    blocks.append(rows[overlapping_pairs(boxes_xyxy[rows], min_iou, labels=chosen)])
    pairs = np.concatenate(blocks)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _merged(
    boxes_xyxy: Boxes, rows: NDArray[np.int64], grid: float, labels: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that differ when rounded ``(R,)``, and a pair for every other ``(P, 2)``."""
    keys = np.rint(boxes_xyxy[rows] / grid)
    if labels is not None:
        keys = np.column_stack((labels[rows], keys))
    order = np.lexsort(keys.T)  # stable; np.unique with an axis takes several times as long
    is_first = np.ones(len(order), bool)
    is_first[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    firsts = order[is_first]  # (R,)
    pairs = np.stack((rows[firsts[np.cumsum(is_first) - 1]], rows[order]), axis=1)
    return np.sort(rows[firsts]), pairs[~is_first]
