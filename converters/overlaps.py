"""Finds pairs of boxes that lie on each other, without comparing every box with every other.

Shapes: N boxes, P candidate pairs.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes

BLOCK_PAIRS = 1 << 21
"""Candidate pairs looked at together: bounds the memory, some 200 MB."""


def overlapping_pairs(
    boxes_xyxy: Boxes, min_share: float, of: Literal["union", "smaller"] = "union"
) -> NDArray[np.int64]:
    """List the pairs of boxes that share at least ``min_share`` of their union, or of the smaller.

    With boxes sorted by their left edge, an IoU of t needs the next box to begin within (1 - t)
    of the width, so that few pairs are looked at. Boxes without area overlap nothing.

    Args:
        boxes_xyxy: Shape ``(N, 4)``.
        min_share: Above 0, up to 1: the IoU, or the share of the smaller box.
        of: What it is a share of.

    Returns:
        Pairs of row numbers, the lower first, sorted, shape ``(., 2)``.
    """
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)  # (N,)
    order = np.flatnonzero(areas > 0)
    order = order[np.argsort(boxes_xyxy[order, 0], kind="stable")]
    boxes, areas = boxes_xyxy[order], areas[order]
    found = [np.empty((0, 2), np.int64)]
    for first, second in _candidates(boxes, min_share if of == "union" else 0.0):
        xy_min = np.maximum(boxes[first, :2], boxes[second, :2])
        xy_max = np.minimum(boxes[first, 2:], boxes[second, 2:])
        shared = np.prod(np.clip(xy_max - xy_min, 0, None), axis=1)  # (P,)
        if of == "union":
            whole = areas[first] + areas[second] - shared
        else:
            whole = np.minimum(areas[first], areas[second])
        hit = shared / whole >= min_share
        found.append(np.stack((order[first[hit]], order[second[hit]]), axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _candidates(
    boxes_xyxy: Boxes, min_iou: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield blocks of pairs of boxes, sorted by left edge, that could reach ``min_iou``."""
    n = len(boxes_xyxy)
    left, width = boxes_xyxy[:, 0], boxes_xyxy[:, 2] - boxes_xyxy[:, 0]
    slack = 1e-9 * (1 + np.abs(left))  # a candidate too many costs nothing, one too few is lost
    last = np.searchsorted(left, left + (1 - min_iou) * width + slack, side="right")
    counts = last - np.arange(n) - 1  # (N,) boxes behind each that begin soon enough
    ends = np.cumsum(counts)
    start = 0
    while start < n:
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + BLOCK_PAIRS, side="right")))
        block = counts[start:stop]
        first = np.repeat(np.arange(start, stop), block)
        within = np.arange(len(first)) - np.repeat(np.cumsum(block) - block, block)
        yield first, first + 1 + within
        start = stop
