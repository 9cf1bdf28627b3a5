"""Staff space of a page, measured from its pixels.

Where a column of pixels crosses a staff, it meets several thin dark runs at equal distances. This
distance is the staff space; it survives greyscale, shadows, noise and slight rotation.

Shapes: H rows and W sampled columns of a page, R dark runs in all columns.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

N_COLUMNS = 600
"""Maximum number of columns that are sampled."""
MIN_SPACE_PX = 3.5
"""Smallest staff space that is recognised; lines closer together merge."""
MAX_SPACE_PX = 150.0
"""Largest staff space that is recognised."""
REPEATS = 3
"""Number of equal distances in a row that count as a staff; five lines have four."""
SAME = 0.12
"""Relative difference up to which distances count as equal, and sizes of staves as one size."""
MIN_CONTRAST = 6.0
"""Smallest difference in grey levels between a line and its surroundings."""
MIN_SHARE = 0.05
"""Share of the columns that must cross a staff."""
OTHER_SHARE = 0.15
"""Share of the staves' crossings from which a second size of staves is reported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StaffSpaces:
    """Staff spaces found on a page."""

    most: float
    """Most frequent staff space in pixels."""
    others: tuple[float, ...]
    """Other staff spaces on the page in pixels, most frequent first."""


def measure_staff_space(grey: NDArray[np.uint8]) -> StaffSpaces | None:
    """Measure the distance between adjacent staff lines.

    Args:
        grey: Page with dark ink on light paper, shape ``(height, width)``.

    Returns:
        The staff spaces; None if no staves are found.
    """
    height, width = grey.shape
    columns = min(N_COLUMNS, width)
    if height < 2 * REPEATS or columns < 1:
        return None
    sampled = np.asarray(
        cv2.resize(grey, (columns, height), interpolation=cv2.INTER_AREA), np.uint8
    )
    spaces = _equal_distances(_dark_lines(sampled))
    found: list[float] = []
    counts: list[int] = []
    while len(spaces) >= MIN_SHARE * columns:
        centre = _mode(spaces)
        near = np.abs(spaces / centre - 1) <= SAME
        counts.append(int(near.sum()))
        found.append(float(spaces[near].mean()))
        spaces = spaces[np.abs(spaces / centre - 1) > 2 * SAME]
    if not found or counts[0] < MIN_SHARE * columns:
        return None
    total = sum(counts)
    pairs = list(zip(found, counts, strict=True))[1:]
    return StaffSpaces(
        most=found[0], others=tuple(space for space, n in pairs if n >= OTHER_SHARE * total)
    )


def _dark_lines(sampled: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find pixels darker than their surroundings in the column, shape ``(W, H)``."""
    level = np.ascontiguousarray(sampled.T).astype(np.float32)  # (W, H)
    window = 2 * min(30, level.shape[1] // 4) + 1
    around = cv2.blur(level, (window, 1), borderType=cv2.BORDER_REFLECT)
    depth = around - level
    strong = float(np.percentile(depth[:, ::4], 98))
    return depth > max(MIN_CONTRAST, 0.4 * strong)


def _equal_distances(dark: NDArray[np.bool_]) -> NDArray[np.float64]:
    """List the mean of every three equal distances between the centres of dark runs in a column.

    Args:
        dark: Dark pixels, one row per column of the page, shape ``(W, H)``.
    """
    padded = np.zeros((dark.shape[0], dark.shape[1] + 2), np.int8)
    padded[:, 1:-1] = dark
    flat = np.diff(padded.ravel())
    starts, ends = np.flatnonzero(flat == 1), np.flatnonzero(flat == -1)  # (R,) each
    centres = (starts + ends) / 2
    column = starts // padded.shape[1]
    gaps = np.diff(centres)
    if len(gaps) < REPEATS:
        return np.empty(0)
    runs = np.lib.stride_tricks.sliding_window_view(gaps, REPEATS)  # (R - 3, 3)
    mean = runs.mean(axis=1)
    is_staff = (column[REPEATS:] == column[:-REPEATS]) & (mean >= MIN_SPACE_PX)
    is_staff &= mean <= MAX_SPACE_PX
    is_staff &= np.abs(runs - mean[:, None]).max(axis=1) <= np.maximum(1.0, SAME * mean)
    spaces: NDArray[np.float64] = mean[is_staff]
    return spaces


def _mode(spaces: NDArray[np.float64]) -> float:
    """Return the most frequent distance: the centre of the fullest bin on a logarithmic scale."""
    step = np.log1p(SAME / 2)
    bins = np.round(np.log(spaces) / step).astype(np.int64)
    low = bins.min()
    counts = np.bincount(bins - low)
    smooth = np.convolve(counts, [1, 1, 1], mode="same")
    return float(np.exp((int(smooth.argmax()) + low) * step))
