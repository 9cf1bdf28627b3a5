"""Filled noteheads in the ink of a page: ellipses, in all fonts.

Shapes: K noteheads found on a page.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from eval.lint.ink import Ink, ink_shares
from eval.lint.unlabelled import Unlabelled, components, without_boxes

HEAD = "noteheadBlack"
"""Start of the names of filled noteheads."""
WIDTH, HEIGHT, DEGREES = 1.3, 0.9, -20.0
"""Axes of the ellipse in staff spaces, and its angle."""
CORE_WIDTH, CORE_HEIGHT = 0.8, 0.6
"""Size of the part of a notehead that is completely filled, in staff spaces."""
MIN_FILLED = 0.8
"""Least share of ink in this part: 0.95 for noteheads and at most 0.56 for letters on engraved
pages."""
SEARCH_SPACE_PX = 6.0
"""Staff space of the reduced image in which noteheads are searched."""
CERTAIN_WIDTH, CERTAIN_HEIGHT = 0.7, 0.5
"""Size of a rectangle that fits into a notehead, in staff spaces."""
NEAR_STAFF = 16
"""Distance from the staff within which noteheads are expected, in halves of a staff space."""


def rows_with_heads(
    unlabelled: Unlabelled, boxes_xyxy: Boxes, space: float
) -> tuple[float, float] | None:
    """Return the rows where a rectangle as in noteheads fits into ink near staves outside of boxes.

    Takes a sixth of the time of :func:`find_heads`, and is None for most correct pages.

    Args:
        unlabelled: Ink of the page.
        boxes_xyxy: Boxes that explain noteheads, in pixels, shape ``(N, 4)``.
        space: Staff space in pixels.
    """
    size = [max(2, round(side * space)) for side in (CERTAIN_HEIGHT, CERTAIN_WIDTH)]
    inside = np.asarray(cv2.erode(unlabelled.all, np.ones(size, np.uint8)), np.uint8)
    rest = without_boxes(inside, boxes_xyxy)
    if not cv2.countNonZero(rest):
        return None
    places = components(rest)
    places = places[unlabelled.near_staves(places[:, :2], NEAR_STAFF)]
    return (float(places[:, 1].min()), float(places[:, 3].max())) if len(places) else None


def find_heads(
    ink: Ink, space: float, min_similarity: float, rows: tuple[float, float]
) -> NDArray[np.float64]:
    """Find ink that looks like a filled notehead.

    Args:
        ink: Ink of the page.
        space: Staff space in pixels.
        min_similarity: Minimum correlation with the ellipse, 0 to 1.
        rows: First and last row to search, in pixels.

    Returns:
        Centres as ``(x, y)`` in pixels, shape ``(K, 2)``.
    """
    slit = np.ones((max(2, round(0.3 * space)), 1), np.uint8)  # left by the staff lines
    closed = cv2.morphologyEx(ink.without_lines, cv2.MORPH_CLOSE, slit) * np.uint8(255)
    factor = max(1.0, space / SEARCH_SPACE_PX)
    reduced = cv2.resize(closed, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    template = _ellipse(space / factor)
    first = max(0, int(rows[0] / factor) - 3 * len(template))
    reduced = reduced[first : int(rows[1] / factor) + 3 * len(template)]
    if min(reduced.shape) <= max(template.shape):
        return np.empty((0, 2))
    similarity = cv2.matchTemplate(reduced, template, cv2.TM_CCOEFF_NORMED)
    side = max(3, round(1.05 * space / factor))
    highest = cv2.dilate(similarity, np.ones((side, side), np.uint8))
    y, x = np.nonzero((similarity > min_similarity) & (similarity >= highest))
    centres = factor * np.column_stack(
        (x + template.shape[1] / 2, first + y + template.shape[0] / 2)
    )
    half = np.array([CORE_WIDTH, CORE_HEIGHT]) * space / 2
    core = np.column_stack((centres - half, centres + half))
    return np.asarray(centres[ink_shares(ink.sums, core) >= MIN_FILLED])


def _ellipse(space: float) -> NDArray[np.uint8]:
    """Draw a notehead with a margin."""
    height, width = round(1.05 * space), round(1.3 * space)
    margin = round(0.3 * space)
    image = np.zeros((height + 2 * margin, width + 2 * margin), np.uint8)
    centre = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
    axes = (WIDTH * space, HEIGHT * space)
    cv2.ellipse(image, (centre, axes, DEGREES), (255,), -1, cv2.LINE_AA)
    return image
