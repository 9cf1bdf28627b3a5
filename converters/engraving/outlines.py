"""Ink as filled outlines, the common form for labelling, warping and rasterising.

Strokes are converted to the outlines of their ink when a drawing is read. A box is then the extent
of the points, a warp moves points, and a rasteriser only has to fill contours.

Shapes: N points, K contours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outline:
    """Closed contours filled together: ink is where the winding number is not zero.

    The contours of one outline may overlap; holes have the opposite orientation of the contour
    around them.
    """

    points_xy: Points
    """Vertices ``(x, y)`` of all contours, concatenated, shape ``(N, 2)``, pixels."""
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


def joined(outlines: Sequence[Outline]) -> Outline:
    """Combine all contours into one outline."""
    return Outline(
        points_xy=np.concatenate([o.points_xy for o in outlines]),
        lengths=np.concatenate([o.lengths for o in outlines]),
    )
