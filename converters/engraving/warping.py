"""Geometry of a scanned or photographed page as a map of points.

Paper is never quite flat, and curves away from the glass near a spine. The page is then slightly
rotated, sheared and stretched, and a camera is slightly tilted. Outlines are moved by the map and
boxes are computed from the moved outlines, so labels stay exact.

Shapes: N points, K contours, W waves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from converters.engraving.captures import Degradation
from converters.engraving.outlines import Outline, Points, joined, outline

Matrix = NDArray[np.float64]

N_WAVES = 3
REACH = (0.15, 0.35)
"""Smallest and largest distance from the spine at which its pull falls to 1/e, in page widths."""
BORDER = 0.001
"""Margin around the content, in page widths."""
SAMPLES = 64
"""Number of points per side of the content for which the warp is evaluated to fit it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bend:
    """Displacements of the points of a page that is not flat."""

    spine: Literal[0, 1]
    """Side of the spine: 0 for left, 1 for right."""
    reach: float
    """Distance from the spine at which its pull falls to 1/e, in page widths."""
    pull: float
    """Displacement of a point at the spine away from it, in page widths."""
    pinch: float
    """Displacement of the ends of the spine towards its middle, in page widths."""
    bow: float
    """Height of the arch that horizontal lines form, in page widths."""
    waves: NDArray[np.float64]
    """Periods across and down the page, phase in radians, and amplitudes in x and y in page
    widths; shape ``(W, 5)``."""

    def displacements(self, across: Points, down: Points) -> Points:
        """Compute the displacements of points, shape ``(N, 2)``, in page widths.

        Args:
            across: Horizontal positions from 0 (left) to 1 (right), shape ``(N,)``.
            down: Vertical positions from 0 (top) to 1 (bottom), shape ``(N,)``.
        """
        from_spine = 1 - across if self.spine else across
        near = np.exp(-from_spine.clip(-0.5, 1.5) / self.reach)  # ink may be off the page
        sideways = self.pull * near * (1 - 2 * self.spine)
        upright = self.pinch * near * (1 - 2 * down.clip(-0.5, 1.5))
        upright -= 4 * self.bow * across * (1 - across)
        periods_across, periods_down, phases, *amplitudes = self.waves.T
        turns = np.outer(across, periods_across) + np.outer(down, periods_down)  # (N, W)
        wavy = np.sin(2 * math.pi * turns + phases) @ np.stack(amplitudes, axis=1)
        displacements: Points = np.stack((sideways, upright), axis=1) + wavy
        return displacements


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Warp:
    """Map from the points of a page to the points of its picture."""

    width: int
    """Width of the page and of the picture in pixels."""
    height: int
    """Height of the page and of the picture in pixels."""
    matrix: Matrix | None
    """Projective map of ``(x, y, 1)`` in pixels, applied after the bend, shape ``(3, 3)``."""
    bend: Bend | None

    def __call__(self, points_xy: Points) -> Points:
        """Map points from ``(N, 2)`` to ``(N, 2)``."""
        if self.bend is not None:
            unit = points_xy / (self.width, self.height)
            points_xy = points_xy + self.width * self.bend.displacements(*unit.T)
        if self.matrix is not None:
            moved = points_xy @ self.matrix[:, :2].T + self.matrix[:, 2]  # (N, 3)
            points_xy = moved[:, :2] / moved[:, 2:]
        return points_xy


def draw_warp(
    degradation: Degradation,
    rng: Random,
    *,
    width: int,
    height: int,
    content_xyxy: Sequence[float] | NDArray[np.float64],
) -> Warp:
    """Draw the geometry of one picture.

    Args:
        degradation: Parameters of the picture; those of a clean page move nothing.
        rng: Random number generator.
        width: Width of the page in pixels.
        height: Height of the page in pixels.
        content_xyxy: Extent that must stay on the page, in pixels; the page is shrunk to fit it.
    """
    warp = Warp(width=width, height=height, matrix=None, bend=None)
    if degradation.capture == "none":
        return warp
    matrix = _matrix(width, height, degradation)
    warp = replace(warp, matrix=matrix, bend=_draw_bend(degradation, rng))
    return replace(warp, matrix=_fit(warp, content_xyxy) @ matrix)


def draw_paper(
    warp: Warp, edges: float, rng: Random, *, content_xyxy: Sequence[float] | NDArray[np.float64]
) -> Points | None:
    """Draw the outline of the paper in a picture that also shows its surroundings.

    Args:
        warp: Geometry of the picture.
        edges: Largest fraction of a margin that is cut off; 0 if only paper is visible.
        rng: Random number generator.
        content_xyxy: Extent of the ink on the page before it is warped, in pixels.

    Returns:
        Vertices around the paper in pixels of the picture, shape ``(N, 2)``; None if only paper is
        visible.
    """
    if not edges:
        return None
    x0, y0, x1, y1 = content_xyxy
    margins = x0, y0, warp.width - x1, warp.height - y1
    sides = rng.sample(range(4), rng.randint(2, 4))
    insets = [
        rng.uniform(0, edges) * max(margin, 0) if side in sides else -0.2 * warp.width
        for side, margin in enumerate(margins)
    ]
    left, top, right, bottom = insets[0], insets[1], warp.width - insets[2], warp.height - insets[3]
    paper = outline([np.array([[left, top], [right, top], [right, bottom], [left, bottom]])])
    [moved] = warped([paper], warp)
    return moved.points_xy


def warped(outlines: Sequence[Outline], warp: Warp) -> list[Outline]:
    """Move outlines; straight edges follow a bend to within 0.05 pixels."""
    if not outlines:
        return []
    whole = joined(outlines)
    if warp.bend is not None:
        whole = densified(whole, 0.6 * math.sqrt(warp.width))  # curvature falls with the width
    whole = whole.moved(warp)
    contours = np.cumsum([len(part.lengths) for part in outlines])[:-1]
    points = np.cumsum(whole.lengths)[contours - 1]
    parts = zip(np.split(whole.points_xy, points), np.split(whole.lengths, contours), strict=True)
    return [Outline(points_xy=points_xy, lengths=lengths) for points_xy, lengths in parts]


def densified(drawn: Outline, max_px: float) -> Outline:
    """Insert points so that no edge is longer than ``max_px``; existing points are kept."""
    ends = np.cumsum(drawn.lengths)
    following = np.arange(1, len(drawn.points_xy) + 1)
    following[ends - 1] = ends - drawn.lengths
    steps = drawn.points_xy[following] - drawn.points_xy  # (N, 2)
    pieces = np.ceil(np.hypot(*steps.T) / max_px).clip(1).astype(np.int64)
    edge = np.repeat(np.arange(len(pieces)), pieces)
    first = np.cumsum(pieces) - pieces
    fraction = (np.arange(len(edge)) - first[edge]) / pieces[edge]
    return Outline(
        points_xy=drawn.points_xy[edge] + steps[edge] * fraction[:, None],
        lengths=np.add.reduceat(pieces, ends - drawn.lengths),
    )


def _draw_bend(degradation: Degradation, rng: Random) -> Bend:
    """Draw the side of the spine, and long waves, which move points mostly vertically."""
    spine: Literal[0, 1] = rng.choice((0, 1))
    reach = rng.uniform(*REACH)
    waves = [
        (
            rng.uniform(-1.5, 1.5),
            rng.uniform(-1.5, 1.5),
            rng.uniform(0, 2 * math.pi),
            rng.uniform(-degradation.waves, degradation.waves) / 2,
            rng.uniform(-degradation.waves, degradation.waves),
        )
        for _ in range(N_WAVES)
    ]
    return Bend(
        spine=spine,
        reach=reach,
        pull=degradation.pull,
        pinch=degradation.pinch,
        bow=degradation.bow,
        waves=np.array(waves),
    )


def _matrix(width: int, height: int, degradation: Degradation) -> Matrix:
    """Shear, stretch, rotate and tilt about the centre; tilting shrinks the far side."""
    centre = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]])
    turn, stretch = math.radians(degradation.rotation), degradation.stretch
    cos, sin = math.cos(turn), math.sin(turn)
    turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    sheared = np.array([[1 + stretch, degradation.shear, 0], [0, 1 - stretch, 0], [0, 0, 1]])
    tilt = degradation.tilt_x / width, degradation.tilt_y / height
    tilted = np.array([[1, 0, 0], [0, 1, 0], [*tilt, 1]])
    matrix: Matrix = centre @ tilted @ turned @ sheared @ np.linalg.inv(centre)
    return matrix


def _fit(warp: Warp, content_xyxy: Sequence[float] | NDArray[np.float64]) -> Matrix:
    """Compute the least scaling and shift that keeps the warped content on the page."""
    x0, y0, x1, y1 = content_xyxy
    frame = outline([np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])])
    frame = densified(frame, max(x1 - x0, y1 - y0, 1) / SAMPLES).moved(warp)
    low, high = frame.box_xyxy().reshape(2, 2)
    size = np.array([warp.width, warp.height])
    border = BORDER * warp.width
    scale = min(1, ((size - 2 * border) / (high - low).clip(1e-6)).min())
    low, high = (size / 2 + scale * (corner - size / 2) for corner in (low, high))
    shift = (border - low).clip(0) + (size - border - high).clip(None, 0)
    fit = np.diag([scale, scale, 1])
    fit[:2, 2] = (1 - scale) * size / 2 + shift
    return fit
