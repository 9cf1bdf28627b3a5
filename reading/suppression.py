"""Non-maximum suppression with NumPy, equal to that of :mod:`training.predict.detections`.

Shapes: A anchor points, C classes, P candidates (a box with one of its classes), N symbols.
"""

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from reading.network import MOST_SYMBOLS, TileSymbols

NMS_IOU_THRESH = 0.7
"""Maximum IoU at which two boxes of a class are both kept, as in validation."""


def symbols_of(output: NDArray[np.float32], *, score_thresh: float) -> TileSymbols:
    """Find the symbols in the output of a network for one tile.

    Args:
        output: Centre, width and height in pixels and C scores of every anchor point, shape
            ``(4 + C, A)``.
        score_thresh: Lower limit of scores (exclusive), 0 to 1.
    """
    scores = output[4:].T  # (A, C)
    anchors, labels = np.nonzero(scores > score_thresh)
    candidates = scores[anchors, labels].astype(np.float64)
    order = np.argsort(-candidates, kind="stable")
    anchors, labels, candidates = anchors[order], labels[order], candidates[order]
    centre, sides = output[:2, anchors].T, np.abs(output[2:4, anchors].T)
    boxes_xyxy = np.concatenate([centre - sides / 2, centre + sides / 2], axis=1).astype(float)
    kept = suppress(boxes_xyxy, labels)[:MOST_SYMBOLS]
    return TileSymbols(boxes_xyxy=boxes_xyxy[kept], labels=labels[kept], scores=candidates[kept])


def suppress(boxes_xyxy: Boxes, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Remove each box that a better box of its class overlaps by more than ``NMS_IOU_THRESH``.

    Args:
        boxes_xyxy: Boxes, best first, shape ``(P, 4)``.
        labels: Class of each box, shape ``(P,)``.

    Returns:
        Indices of the boxes to keep, ascending.
    """
    is_kept = np.ones(len(labels), np.bool_)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        overlaps = np.triu(iou_matrix(boxes_xyxy[rows]) > NMS_IOU_THRESH, k=1)
        for i in np.flatnonzero(overlaps.any(axis=1)):
            if is_kept[rows[i]]:
                is_kept[rows[overlaps[i]]] = False
    return np.flatnonzero(is_kept)


def iou_matrix(boxes_xyxy: Boxes) -> NDArray[np.float64]:
    """Compute the IoU of each pair of boxes, shape ``(P, P)``."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)  # (P, P, 2)
    areas = shared.clip(min=0).prod(axis=2)
    own = (high - low).prod(axis=1)
    ious: NDArray[np.float64] = areas / np.maximum(own[:, None] + own - areas, 1e-9)
    return ious
