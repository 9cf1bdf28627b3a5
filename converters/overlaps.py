"""Search for pairs of overlapping boxes, without comparing every box with every other.

Shapes: N boxes, P candidate pairs.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes

SAME_BOX_IOU = 0.95
"""Minimum IoU at which symbols of different classes are reported as having the same box."""
BLOCK_PAIRS = 1 << 21
"""Candidate pairs compared at once, which limits memory to about 200 MB."""


def overlapping_pairs(
    boxes_xyxy: Boxes,
    min_overlap: float = 0.0,
    of: Literal["union", "smaller"] = "union",
    *,
    labels: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """List the pairs of boxes whose intersection is a minimum fraction of their union.

    For boxes sorted by their left edge, an IoU of t requires the second box to begin within (1 - t)
    of the width of the first, so few pairs have to be compared. Boxes without area overlap nothing.

    Args:
        boxes_xyxy: Boxes, shape ``(N, 4)``.
        min_overlap: Minimum fraction, at most 1; 0 for all pairs that share an area.
        of: Whether ``min_overlap`` is a fraction of the union (IoU) or of the smaller box.
        labels: Class or image of each box, shape ``(N,)``, to list only pairs of one of them.

    Returns:
        Sorted pairs of row indices, the lower one first, shape ``(n_pairs, 2)``.
    """
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)  # (N,)
    order = np.flatnonzero(areas > 0)
    order = order[np.argsort(boxes_xyxy[order, 0], kind="stable")]
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
        labels = labels[order]
    boxes, areas = boxes_xyxy[order], areas[order]
    blocks = [np.empty((0, 2), np.int64)]
    for first, second in _candidates(boxes, min_overlap if of == "union" else 0.0, labels):
        xy_min = np.maximum(boxes[first, :2], boxes[second, :2])
        xy_max = np.minimum(boxes[first, 2:], boxes[second, 2:])
        shared = np.prod(np.clip(xy_max - xy_min, 0, None), axis=1)  # (P,)
        if of == "union":
            whole = areas[first] + areas[second] - shared
        else:
            whole = np.minimum(areas[first], areas[second])
        hit = (shared > 0) & (shared / whole >= min_overlap)
        blocks.append(np.stack((order[first[hit]], order[second[hit]]), axis=1))
    pairs = np.sort(np.concatenate(blocks), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def same_box_classes(
    boxes_xyxy: Boxes,
    labels: NDArray[np.int64],
    names: Sequence[str],
    images: NDArray[np.int64] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield the class names of each pair of symbols with the same box and different classes.

    Args:
        boxes_xyxy: Boxes, shape ``(N, 4)``.
        labels: Label of each box, shape ``(N,)``.
        names: Class names; the index is the label.
        images: Image of each box, shape ``(N,)``; None if they are all of one image.
    """
    for i, j in overlapping_pairs(boxes_xyxy, SAME_BOX_IOU, labels=images).tolist():
        a, b = sorted((names[labels[i]], names[labels[j]]))
        if a != b:
            yield a, b


def n_candidates(boxes_xyxy: Boxes, min_iou: float) -> int:
    """Count the pairs of boxes that :func:`overlapping_pairs` compares.

    Args:
        boxes_xyxy: Boxes, shape ``(N, 4)``.
        min_iou: Minimum IoU, above 0 and at most 1.
    """
    return int(_following(boxes_xyxy[np.argsort(boxes_xyxy[:, 0])], min_iou).sum())


def _following(
    boxes_xyxy: Boxes, min_iou: float, labels: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Count the boxes after each one, sorted by class and left edge, that begin early enough.

    Args:
        boxes_xyxy: Boxes, shape ``(N, 4)``.
        min_iou: Minimum IoU.
        labels: Class of each box, shape ``(N,)``, to count only boxes of its class.
    """
    left, width = boxes_xyxy[:, 0], boxes_xyxy[:, 2] - boxes_xyxy[:, 0]
    slack = 1e-9 * (1 + np.abs(left))  # rounding may add a candidate, but must not lose one
    limit = left + (1 - min_iou) * width + slack
    if labels is not None:  # integers that compare like pairs of a label and an x
        levels, ranks = np.unique(np.concatenate((left, limit)), return_inverse=True)
        left, limit = ranks.reshape(2, -1) + labels * len(levels)
    last = np.searchsorted(left, limit, side="right")
    return np.asarray(last - np.arange(len(left)) - 1)


def _candidates(
    boxes_xyxy: Boxes, min_iou: float, labels: NDArray[np.int64] | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield blocks of pairs of boxes, sorted as in ``_following``, that could reach ``min_iou``."""
    n = len(boxes_xyxy)
    counts = _following(boxes_xyxy, min_iou, labels)
    ends = np.cumsum(counts)
    start = 0
    while start < n:
        n_done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, n_done + BLOCK_PAIRS, side="right")))
        block = counts[start:stop]
        first = np.repeat(np.arange(start, stop), block)
        within = np.arange(len(first)) - np.repeat(np.cumsum(block) - block, block)
        yield first, first + 1 + within
        start = stop
