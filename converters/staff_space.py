"""Staff space of a page, measured from the boxes of its staves.

Shapes: S staves, N noteheads.
"""

import numpy as np

from converters.boxes import Boxes

MIN_HEIGHT_PX = 9.0
"""Smallest height of five lines with gaps between them; a lower box contains a single line."""
TOLERANCE = 1.25
"""Largest factor between the staff spaces of staves of five lines on one page; the boxes of
tablatures and of staves with fewer lines differ by more."""
NOTEHEAD_HEIGHT = 1.05
"""Height of a notehead in staff spaces."""


def measure(staves_xyxy: Boxes, corners: Boxes, noteheads_xyxy: Boxes) -> float | None:
    """Return a quarter of the median height of the staves of five lines.

    The height is the short side of the oriented box: on a rotated page, the upright box of a staff
    is much higher. If the heights differ, e.g. because of tablatures, the height of the noteheads
    decides which of the staves have five lines.

    Args:
        staves_xyxy: Boxes of all staves, shape ``(S, 4)``, pixels.
        corners: Corners of their oriented boxes, shape ``(S, 4, 2)``, pixels.
        noteheads_xyxy: Boxes of full-size noteheads, shape ``(N, 4)``, pixels.

    Returns:
        Staff space in pixels; None without a staff of five lines.
    """
    sides = np.linalg.norm(corners[:, 1:3] - corners[:, :2], axis=2)  # (S, 2)
    # corners are in the middle of the outermost pixels in some files: about 1 px inside the box
    margins = _heights(staves_xyxy) - np.ptp(corners[:, :, 1], axis=1)
    heights = sides.min(1, initial=np.inf) + margins
    spaces = heights[heights >= MIN_HEIGHT_PX] / 4
    if not len(spaces):
        return None
    if len(noteheads_xyxy) and spaces.max() > TOLERANCE * spaces.min():
        expected = np.median(_heights(noteheads_xyxy)) / NOTEHEAD_HEIGHT
        factors = np.maximum(spaces / expected, expected / spaces)
        spaces = spaces[factors <= max(TOLERANCE, factors.min())]
    return float(np.median(spaces))


def _heights(boxes_xyxy: Boxes) -> Boxes:
    heights: Boxes = boxes_xyxy[:, 3] - boxes_xyxy[:, 1]
    return heights
