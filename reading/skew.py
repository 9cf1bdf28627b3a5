"""Skew of a page: the angle of its staff lines, and the rotation that makes them horizontal.

A thin upright line is a thin box, but the box of the same line on a page that is turned by two
degrees is several times as wide. Pages are therefore turned back before they are read, if their
staff lines have a measurable angle.

Shapes: H and W the height and width of a page in pixels, M ink pixels, N boxes.
"""

import math
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes, corner_bounds, upright_corners
from converters.images import Pixels

MAX_DEGREES = 5.0
"""Largest angle that is looked for: beyond it, a page was not meant to be upright."""
MIN_DEGREES = 0.2
"""Smallest angle that is corrected."""
STEPS_DEGREES = (0.5, 0.1, 0.02)
"""Distances between the angles that are compared, each around the best one of the step before."""
MOST_POINTS = 50_000
"""Number of ink pixels, spread evenly, from which the angle is measured."""
MIN_GAIN = 1.1
"""Least ratio of the sharpness at the angle to that at 0 degrees."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rotation:
    """Rotation of a page that makes its staff lines horizontal."""

    degrees: float
    """Angle of the staff lines on the page, clockwise as the page is seen."""
    matrix: NDArray[np.float64]
    """Affine map from points of the page to points of the turned page, shape ``(2, 3)``."""
    width: int
    """Width of the turned page in pixels."""
    height: int
    """Height of the turned page in pixels."""

    @classmethod
    def of(cls, width: int, height: int, degrees: float) -> "Rotation":
        """Return the rotation of a page whose staff lines have an angle; no part is cut off.

        Args:
            width: Width of the page in pixels.
            height: Height of the page in pixels.
            degrees: Angle of the staff lines, clockwise as the page is seen.
        """
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
        turned_width = math.ceil(width * cosine + height * sine)
        turned_height = math.ceil(width * sine + height * cosine)
        matrix[0, 2] += (turned_width - width) / 2
        matrix[1, 2] += (turned_height - height) / 2
        return cls(
            degrees=degrees,
            matrix=np.asarray(matrix, np.float64),
            width=turned_width,
            height=turned_height,
        )

    def turned(self, page: Pixels) -> Pixels:
        """Turn a page, shape ``(H, W)`` or ``(H, W, 3)``; its border is continued outwards."""
        centred = self.matrix.copy()  # of pixel centres, not of their corners
        centred[:, 2] += self.matrix[:, :2] @ [0.5, 0.5] - 0.5
        turned = cv2.warpAffine(
            page,
            centred,
            (self.width, self.height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(turned, np.uint8)

    def back(self, boxes_xyxy: Boxes) -> Boxes:
        """Return the boxes on the page around boxes on the turned page, shape ``(N, 4)``."""
        inverse = cv2.invertAffineTransform(self.matrix)
        corners = upright_corners(boxes_xyxy) @ inverse[:, :2].T + inverse[:, 2]
        return corner_bounds(corners)


def measure_skew(ink: NDArray[np.bool_]) -> float | None:
    """Measure the angle of the staff lines of a page.

    At the right angle, the ink of each staff line falls into one row, and the number of ink pixels
    per row varies most.

    Args:
        ink: Pixels of the page that are ink, shape ``(H, W)``.

    Returns:
        Angle in degrees, clockwise as the page is seen, from ``MIN_DEGREES`` to ``MAX_DEGREES``
        either way; None if the page is upright, or no angle stands out.
    """
    ys, xs = np.nonzero(ink)
    if not len(ys):
        return None
    every = max(len(ys) // MOST_POINTS, 1)
    points = np.stack([xs[::every], ys[::every]], axis=1).astype(float)
    best, span = 0.0, MAX_DEGREES
    for step in STEPS_DEGREES:
        angles = best + np.arange(-round(span / step), round(span / step) + 1) * step
        best = float(max(angles.tolist(), key=partial(_sharpness, points)))
        span = step
    gain = _sharpness(points, best) / _sharpness(points, 0.0)
    return best if MIN_DEGREES <= abs(best) <= MAX_DEGREES and gain >= MIN_GAIN else None


def _sharpness(points_xy: NDArray[np.float64], degrees: float) -> float:
    """Return the sum of squares of the number of points per row after turning back.

    Args:
        points_xy: Ink pixels, shape ``(M, 2)``.
        degrees: Angle of the staff lines.
    """
    slope = math.tan(math.radians(degrees))
    rows = np.floor(points_xy[:, 1] - slope * points_xy[:, 0]).astype(np.int64)
    counts = np.bincount(rows - rows.min()).astype(np.float64)
    return float(counts @ counts)
