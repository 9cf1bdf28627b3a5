"""Ink as filled outlines, the common form for labelling, warping and rasterising.

Strokes are converted to the outlines of their ink when a drawing is read. A box is then the extent
of the points, a warp moves points, and a rasteriser only has to fill contours.

Shapes: N points, K contours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

MITRE = 1.5
"""Largest distance by which :func:`grown` moves a corner, as a multiple of that of the edges."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outline:
    """Closed contours filled together: ink is where the winding number is not zero.

    The contours of one outline may overlap; holes have the opposite orientation of the contour
    around them.
    """

    points_xy: Points
    """Vertices ``(x, y)`` of all contours in pixels, concatenated, shape ``(N, 2)``."""
    lengths: NDArray[np.int64]
    """Number of points of each contour, at least 3, shape ``(K,)``; they sum to N."""

    def box_xyxy(self) -> NDArray[np.float64]:
        """Compute the extent ``(x0, y0, x1, y1)`` in pixels, shape ``(4,)``."""
        return np.concatenate((self.points_xy.min(0), self.points_xy.max(0)))

    def contours(self) -> list[Points]:
        """List the contours, each of shape ``(n, 2)``."""
        return np.split(self.points_xy, np.cumsum(self.lengths)[:-1])

    def moved(self, move: Callable[[Points], Points]) -> "Outline":
        """Return the outline with all points mapped by ``move``, from ``(N, 2)`` to ``(N, 2)``."""
        return Outline(points_xy=move(self.points_xy), lengths=self.lengths)


def outline(contours: Sequence[Points]) -> Outline:
    """Make an outline from contours, each of shape ``(n, 2)``."""
    points_xy = contours[0] if len(contours) == 1 else np.concatenate(contours)
    return Outline(
        points_xy=points_xy.astype(np.float64, copy=False),
        lengths=np.array([len(contour) for contour in contours], np.int64),
    )


def boxes_xyxy(outlines: Sequence[Outline]) -> NDArray[np.float64]:
    """Compute the extent of each outline in pixels, shape ``(len(outlines), 4)``."""
    if not outlines:
        return np.empty((0, 4))
    points = np.concatenate([o.points_xy for o in outlines])
    starts = np.cumsum([0, *(len(o.points_xy) for o in outlines[:-1])])
    low, high = (end.reduceat(points, starts, axis=0) for end in (np.minimum, np.maximum))
    return np.concatenate((low, high), axis=1)


def grown(outline: Outline, px: float) -> Outline:
    """Move every edge outwards, away from the ink, by ``px`` pixels.

    Corners are mitred to at most :data:`MITRE` times this distance.

    Args:
        outline: Ink whose contours have a positive area, and holes a negative one.
        px: Distance in pixels, small compared to the edges; 0 changes nothing.
    """
    if not px:
        return outline
    points_xy, ends = outline.points_xy, np.cumsum(outline.lengths)
    following = np.arange(1, len(points_xy) + 1)
    following[ends - 1] = ends - outline.lengths
    edges = points_xy[following] - points_xy  # (N, 2), from each point to the next
    lengths = np.hypot(*edges.T)[:, None]
    normals = edges[:, ::-1] * (1, -1) / np.where(lengths, lengths, 1)
    before = np.empty_like(normals)
    before[following] = normals
    cosines = (normals * before).sum(axis=1, keepdims=True)
    mitres = (normals + before) / (1 + cosines).clip(0.1)
    mitres *= np.minimum(1, MITRE / np.hypot(*mitres.T).clip(1e-9))[:, None]
    return replace(outline, points_xy=points_xy + px * mitres)


def joined(outlines: Sequence[Outline]) -> Outline:
    """Combine all contours into one outline."""
    return Outline(
        points_xy=np.concatenate([o.points_xy for o in outlines]),
        lengths=np.concatenate([o.lengths for o in outlines]),
    )
