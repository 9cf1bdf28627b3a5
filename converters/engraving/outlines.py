"""Ink as filled outlines: what is labelled, warped and rasterised.

Every stroke is turned into the outline of its ink when the drawing is read, so that a box is the
extent of points, a warp moves points, and a rasteriser only fills.

Shapes: N points, K contours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outline:
    """Closed contours that are filled together; ink is where the winding number is not zero.

    The contours of one outline may overlap, and holes turn against what they lie in.
    """

    points_xy: Points
    """Corners ``(x, y)`` of all contours, one after the other, shape ``(N, 2)``, pixels."""
    lengths: NDArray[np.int64]
    """Points of each contour, shape ``(K,)``; each at least 3, their sum N."""

    def box_xyxy(self) -> NDArray[np.float64]:
        """Extent ``(x0, y0, x1, y1)``, shape ``(4,)``, pixels."""
        return np.concatenate((self.points_xy.min(0), self.points_xy.max(0)))

    def contours(self) -> list[Points]:
        """Each closed contour, shape ``(n, 2)``."""
        return np.split(self.points_xy, np.cumsum(self.lengths)[:-1])

    def moved(self, move: Callable[[Points], Points]) -> "Outline":
        """The outline with every point put where ``move`` says, from ``(N, 2)`` to ``(N, 2)``."""
        return Outline(points_xy=move(self.points_xy), lengths=self.lengths)


def outline(contours: Sequence[Points]) -> Outline:
    """Make an outline of contours, each of shape ``(n, 2)``."""
    points_xy = contours[0] if len(contours) == 1 else np.concatenate(contours)
    return Outline(
        points_xy=points_xy.astype(np.float64, copy=False),
        lengths=np.array([len(contour) for contour in contours], np.int64),
    )


def boxes_xyxy(outlines: Sequence[Outline]) -> NDArray[np.float64]:
    """Extent of each outline, shape ``(outlines, 4)``, pixels."""
    if not outlines:
        return np.empty((0, 4))
    points = np.concatenate([o.points_xy for o in outlines])
    starts = np.cumsum([0, *(len(o.points_xy) for o in outlines[:-1])])
    low, high = (end.reduceat(points, starts, axis=0) for end in (np.minimum, np.maximum))
    return np.concatenate((low, high), axis=1)


def joined(outlines: Sequence[Outline]) -> Outline:
    """All contours in one outline."""
    return Outline(
        points_xy=np.concatenate([o.points_xy for o in outlines]),
        lengths=np.concatenate([o.lengths for o in outlines]),
    )
