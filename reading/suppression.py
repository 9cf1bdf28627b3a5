"""Non-maximum suppression with NumPy, equal to that of :mod:`training.predict.detections`.

Shapes: A anchor points, C classes, P candidates (a box with one of its classes), N symbols.
"""

import numpy as np
from numpy.typing import NDArray

from class_maps import OmrError
from converters.boxes import Boxes
from converters.overlaps import overlapping_pairs
from reading.network import MOST_SYMBOLS, TileSymbols

NON_FINITE = "the output of the network is NaN or Inf; use the weights of another epoch"
"""Error about a network whose values overflow, although its weights are finite."""
NMS_IOU_THRESH = 0.7
"""Maximum IoU at which two boxes of a class are both kept, as in validation."""


def symbols_of(output: NDArray[np.float32], *, score_thresh: float) -> TileSymbols:
    """Find the symbols in the output of a network for one tile.

    Args:
        output: Centre, width and height in pixels and C scores of every anchor point, shape
            ``(4 + C, A)``.
        score_thresh: Lower limit of scores (exclusive), 0 to 1.

    Raises:
        OmrError: The output is not finite.
    """
    if not np.isfinite(output).all():
        raise OmrError(NON_FINITE)
    scores = output[4:].T  # (A, C)
    anchors, labels = np.nonzero(scores > score_thresh)
    candidates = scores[anchors, labels].astype(np.float64)
    order = np.argsort(-candidates, kind="stable")
    anchors, labels, candidates = anchors[order], labels[order], candidates[order]
    centre, sides = output[:2, anchors].T, np.abs(output[2:4, anchors].T)
    boxes_xyxy = np.concatenate([centre - sides / 2, centre + sides / 2], axis=1).astype(float)
    kept = suppress(boxes_xyxy, labels)[:MOST_SYMBOLS]
    return TileSymbols(boxes_xyxy=boxes_xyxy[kept], labels=labels[kept], scores=candidates[kept])


def suppress(
    boxes_xyxy: Boxes, labels: NDArray[np.int64], iou_thresh: float = NMS_IOU_THRESH
) -> NDArray[np.int64]:
    """Remove each box that a better box of its class overlaps too much.

    Args:
        boxes_xyxy: Boxes, best first, shape ``(P, 4)``.
        labels: Class of each box, shape ``(P,)``.
        iou_thresh: Maximum IoU at which both boxes are kept.

    Returns:
        Indices of the boxes to keep, ascending.
    """
    first, second = overlapping_pairs(boxes_xyxy, iou_thresh, labels=labels).T
    is_repeat = ious(boxes_xyxy[first], boxes_xyxy[second]) > iou_thresh
    is_kept = np.ones(len(labels), np.bool_)
    for better, worse in zip(first[is_repeat].tolist(), second[is_repeat].tolist(), strict=True):
        if is_kept[better]:
            is_kept[worse] = False
    return np.flatnonzero(is_kept)


def ious(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float64]:
    """Compute the IoU of pairs of boxes, shape ``(N,)``."""
    sides = np.minimum(a_xyxy[:, 2:], b_xyxy[:, 2:]) - np.maximum(a_xyxy[:, :2], b_xyxy[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    areas = [(box[:, 2:] - box[:, :2]).prod(axis=1) for box in (a_xyxy, b_xyxy)]
    result: NDArray[np.float64] = shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)
    return result
