"""Clipping of boxes, upright and oriented, to a tile.

A slanted line, such as a beam or a staff of a photographed page, fills only the diagonal of its
upright box. Where a tile cuts it, the box of the visible part is smaller than the visible part of
the box.

Shapes: N symbols; 12 points, of which those that are not needed are NaN.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes, corner_bounds

MIN_SIDE_PX = 1e-6
"""Oriented boxes with a shorter side have no direction."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VisibleParts:
    """Parts of boxes inside a tile."""

    boxes_xyxy: Boxes
    """Upright boxes around the visible parts in pixels of the tile, shape ``(N, 4)``."""
    sides: NDArray[np.float64]
    """Lengths of the first and the second side of the boxes in pixels, shape ``(N, 2)``."""
    extents: NDArray[np.float64]
    """Lengths of the visible parts along these sides in pixels, shape ``(N, 2)``."""


def clip(boxes_xyxy: Boxes, corners: Boxes | None, width: int, height: int) -> VisibleParts:
    """Clip boxes to a tile: the oriented ones where these are known, otherwise the upright ones.

    Args:
        boxes_xyxy: Upright boxes in pixels of the tile, shape ``(N, 4)``.
        corners: Corners of the oriented boxes, shape ``(N, 4, 2)``, in any scale and position
            because they are fitted to the upright boxes; None if they are unknown.
        width: Width of the tile in pixels.
        height: Height of the tile in pixels.
    """
    inside = np.clip(boxes_xyxy, 0, [width, height, width, height])
    sides, extents = _sides(boxes_xyxy), _sides(inside)
    is_cut = (inside != boxes_xyxy).any(axis=1)
    rows = np.flatnonzero(is_cut & (extents > 0).all(axis=1))
    if corners is not None and len(rows):
        parts = visible_parts(fitted(corners[rows], boxes_xyxy[rows]), width, height)
        exact = _shared(parts.boxes_xyxy, inside[rows])
        is_known = (_sides(exact) > 0).all(axis=1)
        rows = rows[is_known]
        inside[rows] = exact[is_known]
        sides[rows], extents[rows] = parts.sides[is_known], parts.extents[is_known]
    return VisibleParts(boxes_xyxy=inside, sides=sides, extents=extents)


def fitted(corners: Boxes, boxes_xyxy: Boxes) -> Boxes:
    """Stretch oriented boxes to touch all sides of the upright ones.

    In DeepScoresV2, corners are the centres of pixels, and upright boxes their borders.

    Args:
        corners: Corners in pixels, shape ``(N, 4, 2)``.
        boxes_xyxy: Upright boxes in pixels, shape ``(N, 4)``.
    """
    bounds = corner_bounds(corners)
    sides = bounds[:, 2:] - bounds[:, :2]
    factors = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / np.maximum(sides, MIN_SIDE_PX)
    factors[sides < MIN_SIDE_PX] = 1
    moved: Boxes = (corners - bounds[:, None, :2]) * factors[:, None] + boxes_xyxy[:, None, :2]
    return moved


def visible_parts(corners: Boxes, width: int, height: int) -> VisibleParts:
    """Clip oriented boxes to a tile.

    Args:
        corners: Corners in pixels of the tile, in order around the box, shape ``(N, 4, 2)``.
        width: Width of the tile in pixels.
        height: Height of the tile in pixels.

    Returns:
        Visible parts; NaN if nothing is visible or the oriented box has no area.
    """
    edges = np.roll(corners, -1, axis=1) - corners  # (N, 4, 2)
    sides = np.linalg.norm(edges[:, :2], axis=2)  # (N, 2)
    limits = np.array([width, height], float)
    points = np.concatenate(
        [_clipped_edges(corners, edges, limits), _tile_corners_inside(corners, edges, limits)],
        axis=1,
    )
    points[(sides < MIN_SIDE_PX).any(axis=1)] = np.nan
    directions = edges[:, :2] / np.maximum(sides, MIN_SIDE_PX)[..., None]  # (N, 2, 2)
    along = points @ directions.transpose(0, 2, 1)  # (N, 12, 2)
    (low, high), (start, end) = _range(points), _range(along)
    boxes = np.clip(np.concatenate([low, high], axis=1), 0, np.tile(limits, 2))
    return VisibleParts(boxes_xyxy=boxes, sides=sides, extents=end - start)


def _clipped_edges(corners: Boxes, edges: Boxes, limits: NDArray[np.float64]) -> Boxes:
    """Return the ends of the visible part of each edge, ``(N, 8, 2)``; NaN if none is visible.

    Each edge is ``corner + t * edge`` with t from 0 to 1; the four borders limit t.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        at_borders = np.stack([-corners / edges, (limits - corners) / edges])  # (2, N, 4, 2)
    is_level = edges == 0
    is_between = (corners >= 0) & (corners <= limits)
    enter = np.where(is_level, np.where(is_between, 0, np.inf), at_borders.min(axis=0))
    leave = np.where(is_level, 1, at_borders.max(axis=0))
    first = enter.max(axis=2).clip(min=0)  # (N, 4)
    last = leave.min(axis=2).clip(max=1)
    is_visible = first <= last
    ends = [np.where(is_visible, t, np.nan)[..., None] * edges + corners for t in (first, last)]
    return np.concatenate(ends, axis=1)


def _tile_corners_inside(corners: Boxes, edges: Boxes, limits: NDArray[np.float64]) -> Boxes:
    """Return the corners of the tile, ``(N, 4, 2)``, NaN where outside of the oriented box."""
    of_tile = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * limits
    to_corner = of_tile[None, :, None] - corners[:, None]  # (N, 4 of the tile, 4, 2)
    crossed = edges[:, None, :, 0] * to_corner[..., 1] - edges[:, None, :, 1] * to_corner[..., 0]
    is_inside: NDArray[np.bool_] = np.all(crossed >= 0, axis=2) | np.all(crossed <= 0, axis=2)
    return np.where(is_inside[..., None], of_tile, np.nan)


def _sides(boxes_xyxy: Boxes) -> NDArray[np.float64]:
    """Return the widths and heights of boxes, shape ``(N, 2)``."""
    return boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]


def _shared(a_xyxy: Boxes, b_xyxy: Boxes) -> Boxes:
    """Intersect pairs of boxes, ``(N, 4)``; a negative side means that they do not overlap."""
    low = np.maximum(a_xyxy[:, :2], b_xyxy[:, :2])
    return np.concatenate([low, np.minimum(a_xyxy[:, 2:], b_xyxy[:, 2:])], axis=1)


def _range(points: Boxes) -> tuple[Boxes, Boxes]:
    """Return the smallest and the largest coordinates of points, ``(N, 2)`` each."""
    return np.fmin.reduce(points, axis=1), np.fmax.reduce(points, axis=1)
