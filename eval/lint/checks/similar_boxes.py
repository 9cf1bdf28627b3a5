"""Pairs of boxes that are nearly the same, also on images with a million boxes.

Shapes: N boxes of an image, R boxes that differ when rounded, P pairs.
"""

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.overlaps import n_candidates, overlapping_pairs

MAX_CANDIDATES = 5_000_000
"""Maximum number of pairs to compare, about a second."""
COARSEST_PX = 16.0
"""Largest grid that boxes are rounded to."""


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
    grid, rows = 0.0, np.arange(len(boxes_xyxy))
    blocks: list[NDArray[np.int64]] = []
    while len(rows) and n_candidates(boxes_xyxy[rows], min_iou) > MAX_CANDIDATES:
        grid = 2 * grid or 0.5
        if grid > COARSEST_PX:
            return _sorted_pairs(blocks)
        rows, pairs = _merged(boxes_xyxy, rows, grid, labels)
        blocks.append(pairs)
    chosen = labels[rows] if labels is not None else None
    blocks.append(rows[overlapping_pairs(boxes_xyxy[rows], min_iou, labels=chosen)])
    return _sorted_pairs(blocks)


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


def _sorted_pairs(blocks: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    pairs = np.concatenate(blocks) if blocks else np.empty((0, 2), np.int64)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
