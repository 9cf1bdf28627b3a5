"""Points on the outer lines of the staves, which measure a page before and after it is warped.

Shapes: S staves, P points per line.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from converters.engraving.outlines import Points
from converters.engraving.staves import Staves
from converters.engraving.svg import Drawing

SAMPLES = 9
"""Number of points per staff line."""
STEP_PX = 1.0
"""Distance along a staff from which its direction is computed."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StaffSamples:
    """Points on the outer lines of the five-line staves of a page.

    On a page without five-line staves, the lines of full-size staves in the same places are used.
    """

    tops_xy: Points
    """Points on the top lines, from left to right, shape ``(S, P, 2)``."""
    bottoms_xy: Points
    """Points on the bottom lines, each below a point of the top line, shape ``(S, P, 2)``."""

    def staff_space(self, warp: Callable[[Points], Points]) -> float:
        """Measure the distance of adjacent lines, perpendicular to the warped staff, in pixels."""
        tops, bottoms = self.tops_xy.reshape(-1, 2), self.bottoms_xy.reshape(-1, 2)
        step = np.array([STEP_PX / 2, 0])
        along = warp(tops + step) - warp(tops - step)
        down = warp(bottoms) - warp(tops)
        heights = (along[:, 0] * down[:, 1] - along[:, 1] * down[:, 0]) / np.hypot(*along.T)
        return float(np.median(heights)) / 4

    def rotation(self, warp: Callable[[Points], Points]) -> float:
        """Measure the clockwise rotation of the warped staves from end to end, in degrees."""
        middles = (self.tops_xy + self.bottoms_xy) / 2
        dx, dy = (warp(middles[:, -1]) - warp(middles[:, 0])).T
        return float(np.median(np.degrees(np.arctan2(dy, dx))))


def sample_staves(drawing: Drawing) -> StaffSamples:
    """Sample the staves of a page with at least one staff, before it is warped."""
    staves = Staves(drawing).all
    full = [staff for staff in staves if staff.is_full]
    tops, bottoms = [], []
    for staff in full or staves:
        top, bottom = staff.lines_y[[0, -1]]
        if not full:
            bottom = top + 4 * drawing.staff_space
        xs = np.linspace(staff.x0, staff.x1, SAMPLES)
        tops.append(np.stack((xs, np.full(SAMPLES, top)), axis=1))
        bottoms.append(np.stack((xs, np.full(SAMPLES, bottom)), axis=1))
    return StaffSamples(tops_xy=np.array(tops), bottoms_xy=np.array(bottoms))
