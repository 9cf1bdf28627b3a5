"""Conversion between box formats; coordinates are absolute, in pixels."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Boxes: TypeAlias = NDArray[np.float64]

NOISE = 1e-6
"""Fraction of the page's side by which arithmetic may move a box beyond the page."""
_EPS_PX = 0.1
"""Width of ink in pixels that is ignored when a box is rounded."""


def xywh_to_xyxy(boxes_xywh: Boxes) -> Boxes:
    """Convert ``(x_min, y_min, width, height)`` into ``(x_min, y_min, x_max, y_max)``.

    Args:
        boxes_xywh: Boxes, shape ``(..., 4)``.

    Returns:
        New array of the same shape.
    """
    xy_min, wh = np.split(boxes_xywh, 2, axis=-1)
    return np.concatenate((xy_min, xy_min + wh), axis=-1)


def xyxy_to_xywh(boxes_xyxy: Boxes) -> Boxes:
    """Convert ``(x_min, y_min, x_max, y_max)`` into ``(x_min, y_min, width, height)``."""
    xy_min, xy_max = np.split(boxes_xyxy, 2, axis=-1)
    return np.concatenate((xy_min, xy_max - xy_min), axis=-1)


def xyxy_to_cxcywh(boxes_xyxy: Boxes) -> Boxes:
    """Convert ``(x_min, y_min, x_max, y_max)`` into ``(x_centre, y_centre, width, height)``."""
    xy_min, xy_max = np.split(boxes_xyxy, 2, axis=-1)
    return np.concatenate(((xy_min + xy_max) / 2, xy_max - xy_min), axis=-1)


def cxcywh_to_xyxy(boxes_cxcywh: Boxes) -> Boxes:
    """Convert ``(x_centre, y_centre, width, height)`` into ``(x_min, y_min, x_max, y_max)``."""
    centre, wh = np.split(boxes_cxcywh, 2, axis=-1)
    return np.concatenate((centre - wh / 2, centre + wh / 2), axis=-1)


def corner_bounds(corners: Boxes) -> Boxes:
    """Compute the boxes around corners of shape ``(N, 4, 2)``, as xyxy of shape ``(N, 4)``."""
    x, y = corners.transpose(2, 1, 0)  # (4, N) each: a reduction along N is many times faster
    return np.stack((x.min(0), y.min(0), x.max(0), y.max(0)), axis=1)


def upright_corners(boxes_xyxy: Boxes) -> Boxes:
    """List the corners of boxes, bottom right first, then counter-clockwise: ``(N, 4, 2)``."""
    return boxes_xyxy[:, [2, 3, 2, 1, 0, 1, 0, 3]].reshape(-1, 4, 2)


def rotated_corners(boxes_xyxy: Boxes, degrees: NDArray[np.float64]) -> Boxes:
    """Turn boxes around their centres.

    Args:
        boxes_xyxy: Boxes before the rotation, shape ``(N, 4)``.
        degrees: Angle of each box, clockwise as the page is seen, shape ``(N,)``.

    Returns:
        Corners, shape ``(N, 4, 2)``.
    """
    centres = (boxes_xyxy[:, None, :2] + boxes_xyxy[:, None, 2:]) / 2
    x, y = np.moveaxis(upright_corners(boxes_xyxy) - centres, 2, 0)  # (N, 4) each
    sine, cosine = np.sin(np.radians(degrees))[:, None], np.cos(np.radians(degrees))[:, None]
    turned = np.stack((x * cosine - y * sine, x * sine + y * cosine), axis=2)
    return np.asarray(centres + turned)


def onto_border(boxes_xyxy: Boxes, sizes: NDArray[np.float64], tolerance: float = NOISE) -> Boxes:
    """Move sides that rounding moved beyond the page onto its border.

    Args:
        boxes_xyxy: Boxes, shape ``(N, 4)``.
        sizes: Width and height of the page in pixels, shape ``(2,)``, or ``(N, 2)`` for each box.
        tolerance: Fraction of the page's side by which a side may be beyond the page.

    Returns:
        New array; sides further beyond the page are unchanged.
    """
    limits = np.concatenate((sizes, sizes), axis=-1)
    inside = np.clip(boxes_xyxy, 0, limits)
    return np.where(np.abs(boxes_xyxy - inside) <= tolerance * limits, inside, boxes_xyxy)


def whole_pixels(boxes_xyxy: Boxes) -> NDArray[np.int64]:
    """Round boxes outwards to whole pixels, ignoring up to a tenth of a pixel on each side."""
    low, high = np.floor(boxes_xyxy[:, :2] + _EPS_PX), np.ceil(boxes_xyxy[:, 2:] - _EPS_PX)
    return np.concatenate((low, high), axis=1).astype(np.int64)
