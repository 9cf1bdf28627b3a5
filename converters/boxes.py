"""Conversion between box formats; coordinates are absolute, in pixels."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Boxes: TypeAlias = NDArray[np.float64]


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
