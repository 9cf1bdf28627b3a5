"""Pairs of boxes that are nearly the same, also on images with a million boxes.

Shapes: N boxes of an image, R boxes that differ when rounded, P pairs.
"""

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.overlaps import n_candidates, overlapping_pairs

MAX_CANDIDATES = 5_000_000
"""Maximum number of pairs to compare, about a second."""
GRIDS_PX = (1 / 64, 1 / 8, 1.0)
"""Grids that boxes are rounded to, one after the other, until there are few enough."""


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
