"""Slopes of the staff lines and of the upright lines of a page.

The ink of straight staff lines falls into few rows once the page is upright, and that of stems and
barlines into few columns. The slopes are those with which the number of ink pixels per row, or per
column, varies most; they are improved one after the other in ever finer steps.

Shapes: H and W the height and width of a page in pixels, M ink pixels, K slopes, L upright lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from reading.dewarping import Slopes

MAX_SLOPE = 0.0875
"""Largest slope, that of 5 degrees, and largest change: beyond it, a page was not meant to be
upright."""
MAX_CHANGE_PX = 30.0
"""Largest displacement of staff lines at the edges of the page by a change of their slope."""
MIN_PX = 2.0
"""Smallest displacement between the centre and an edge that is corrected."""
MIN_GAIN = 1.02
"""Least ratio of the sharpness with one more slope or change of a slope to that without."""
MOST_POINTS = 12_000
"""Number of ink pixels, spread evenly, from which slopes are measured."""
WIDE = (6.0, 6.0)
"""Height of a row, and distance between the displacements that are compared over their whole range,
both in pixels."""
FINE = ((3.0, 2.0, 6), (1.0, 0.5, 6), (1.0, 0.5, 3))
"""The same for displacements near the best ones, and their number either way, for each pass."""
ROW_STEP = 3
"""Distance between the rows of pixels in which upright lines are looked for; lines lean too little
to break up."""
STROKE, LINE = 1.25, 2.0
"""Least length of strokes and of lines that are upright, in staff spaces."""
LINE_WIDTH = 0.13
"""Largest standard deviation of the ink across an upright line, in staff spaces."""
LONG_LINE = 8.0
"""Length in staff spaces from which upright lines have equal weight."""
FEWEST_LINES = 8
"""Number of upright lines from which their slopes are measured."""
NEAR = 0.012
"""Distance from the slope of the others at which an upright line has half its weight."""
STIFFNESS = 5e-5
"""Weight of the assumption that the slope of upright lines does not change across the page."""


def measure_slopes(ink: NDArray[np.bool_], staff_space: float) -> Slopes | None:
    """Measure the slopes of the lines of a page, up to about 9 degrees.

    Args:
        ink: Pixels of the page that are ink, shape ``(H, W)``.
        staff_space: Distance between adjacent staff lines in pixels.

    Returns:
        The slopes, which may be too steep to be removed; None if the page is upright.
    """
    height, width = ink.shape
    across, across_change, bend = _slopes_across(ink).tolist()
    down, down_change = _slopes_down(ink, staff_space, -across).tolist()
    slopes = Slopes(
        across=across, across_change=across_change, bend=bend, down=down, down_change=down_change
    )
    return slopes if slopes.displacement_px(width, height) >= MIN_PX else None


def is_too_steep(slopes: Slopes, width: int, height: int) -> bool:
    """Return whether the slopes of a page of a given size in pixels cannot be removed."""
    return slopes.distortion(width, height) > MAX_SLOPE


def turned_too_far(slopes: Slopes) -> Iterator[str]:
    """Report that a page is turned so far that it is not made upright."""
    if abs(slopes.across) > MAX_SLOPE:
        yield (
            "turned by more than 5 degrees, up to which pages are straightened, so symbols are "
            "missed; turn it upright"
        )


def _slopes_across(ink: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Measure the slope of staff lines at the centre, its change downwards, and their bend."""
    height, width = ink.shape
    points = _Points.of(ink)
    if not len(points.x):
        return np.zeros(3)
    x, y = points.x / (width / 2), points.y / (height / 2)
    lines = _Lines(along=np.stack([x, x * y, x * x]), position=points.y)
    widest = (MAX_SLOPE * width / 2, MAX_CHANGE_PX, MAX_CHANGE_PX)
    slopes: NDArray[np.float64] = lines.sharpest(widest) / (width / 2)
    return slopes


def _slopes_down(
    ink: NDArray[np.bool_], staff_space: float, expected: float
) -> NDArray[np.float64]:
    """Measure the slope of upright lines at the centre, and its change to the right.

    Args:
        ink: Pixels of the page that are ink, shape ``(H, W)``.
        staff_space: Distance between adjacent staff lines in pixels.
        expected: Slope of upright lines that are perpendicular to the staff lines, which is the
            result unless another one is clearly sharper.
    """
    height, width = ink.shape
    kernel = np.ones((max(round(STROKE * staff_space), 1), 1), np.uint8)
    strokes = np.asarray(cv2.morphologyEx(ink.astype(np.uint8), cv2.MORPH_OPEN, kernel), np.uint8)
    mean = _mean_slopes(strokes, staff_space)
    if mean is None:
        return np.array([expected, 0.0])
    points = _Points.of(strokes.astype(np.bool_))
    x, y = points.x / (width / 2), points.y / (height / 2)
    lines = _Lines(along=np.stack([y, x * y]), position=points.x)
    best = np.array([expected, 0.0]) * (height / 2)  # displacements at the edges in pixels
    for start in (best, mean * (height / 2)):
        trial = lines.sharpest_near(start)
        if lines.sharpness(trial, 1.0) > MIN_GAIN * lines.sharpness(best, 1.0):
            best = trial
    slopes: NDArray[np.float64] = best / (height / 2)
    return slopes


def _mean_slopes(strokes: NDArray[np.uint8], staff_space: float) -> NDArray[np.float64] | None:
    """Estimate the slopes of upright lines from each of them, without outliers.

    Args:
        strokes: Ink of upright strokes, shape ``(H, W)``.
        staff_space: Distance between adjacent staff lines in pixels.

    Returns:
        Slope at the centre and its change to the right edge; None if there are too few lines.
    """
    rows = np.ascontiguousarray(strokes[::ROW_STEP])
    n, regions, stats, centres = cv2.connectedComponentsWithStats(rows, connectivity=8)
    ink = np.flatnonzero(rows)
    region = regions.ravel()[ink]
    ys, xs = np.divmod(ink, rows.shape[1])
    dx, dy = xs - centres[region, 0], (ys - centres[region, 1]) * ROW_STEP
    area = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    xx, xy, yy = (np.bincount(region, product, n) / area for product in (dx * dx, dx * dy, dy * dy))
    slopes = xy / np.maximum(yy, 1)
    length = stats[:, cv2.CC_STAT_HEIGHT] * ROW_STEP / staff_space
    is_line = (length >= LINE) & (xx - slopes * xy < (LINE_WIDTH * staff_space) ** 2)
    is_line[0] = False  # the background
    if is_line.sum() < FEWEST_LINES:
        return None
    slopes, weights = slopes[is_line], np.minimum(length[is_line], LONG_LINE) ** 3
    order = np.argsort(slopes)
    middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    half_width = strokes.shape[1] / 2
    basis = np.stack([np.ones(len(slopes)), centres[is_line, 0] / half_width - 1])
    result = np.array([slopes[order][middle], 0.0])
    for _ in range(8):
        near = weights / (1 + ((slopes - result @ basis) / NEAR) ** 2)
        stiff = np.diag([0.0, STIFFNESS * weights.sum()])
        result = np.linalg.solve((basis * near) @ basis.T + stiff, (basis * near) @ slopes)
    return result


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Points:
    """Ink pixels, relative to the centre of the page."""

    x: NDArray[np.float64]
    """Pixels to the right of the centre, shape ``(M,)``."""
    y: NDArray[np.float64]
    """Pixels below the centre, shape ``(M,)``."""

    @classmethod
    def of(cls, ink: NDArray[np.bool_]) -> "_Points":
        height, width = ink.shape
        pixels = np.flatnonzero(ink)
        ys, xs = np.divmod(pixels[:: max(len(pixels) // MOST_POINTS, 1)], width)
        return cls(x=xs + 0.5 - width / 2, y=ys + 0.5 - height / 2)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Lines:
    """Ink pixels that lie on parallel lines once the slopes are removed."""

    along: NDArray[np.float64]
    """Displacement of each pixel for a displacement of 1 px at the edge, shape ``(K, M)``."""
    position: NDArray[np.float64]
    """Position of each pixel across the lines in pixels, shape ``(M,)``."""

    def sharpest(self, widest: Sequence[float]) -> NDArray[np.float64]:
        """Return the displacements at the edges with which the lines are sharpest, ``(K,)``.

        Args:
            widest: Largest displacement of each slope at the edges in pixels, the main slope first.
        """
        best = np.zeros(len(widest))
        row, step = WIDE
        for k, most in enumerate(widest):
            trial = self._improved(best, k, row, step, round(most / step))
            trial = self.sharpest_near(trial, range(k + 1))
            if self.sharpness(trial, 1.0) > MIN_GAIN * self.sharpness(best, 1.0):
                best = trial
        return best

    def sharpest_near(
        self, start: NDArray[np.float64], improved: Sequence[int] = (0, 1)
    ) -> NDArray[np.float64]:
        """Improve displacements at the edges, shape ``(K,)``, by small steps.

        Args:
            start: First displacements in pixels, shape ``(K,)``.
            improved: Indices of the displacements to improve.
        """
        best = start
        for row, step, most in FINE:
            for k in improved:
                best = self._improved(best, k, row, step, most)
        return best

    def _improved(
        self, start: NDArray[np.float64], k: int, row: float, step: float, most: int
    ) -> NDArray[np.float64]:
        """Return the sharpest of displacements that differ in one, by ``most`` steps either way."""
        position = (self.position - start @ self.along) / row
        along = self.along[k] * (step / row)
        steps = sorted(range(-most, most + 1), key=abs)  # the smallest of equal ones
        best = start.copy()
        best[k] += step * max(steps, key=lambda n: _sharpness(position - n * along))
        return best

    def sharpness(self, displacements: NDArray[np.float64], row: float) -> float:
        """Return the sum of squares of the number of pixels per row.

        Args:
            displacements: Displacements at the edges in pixels, shape ``(K,)``.
            row: Height of a row in pixels.
        """
        return _sharpness((self.position - displacements @ self.along) / row)


def _sharpness(position: NDArray[np.float64]) -> float:
    """Return the sum of squares of the number of points in each row, ``position`` in rows."""
    counts = np.bincount((position - (position.min() - 1)).astype(np.intp))
    return float(np.dot(counts, counts))
