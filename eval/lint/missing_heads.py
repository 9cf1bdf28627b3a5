"""Filled noteheads in the ink of a page: ellipses, in all fonts.

Shapes: K noteheads found on a page.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from eval.lint.ink import Ink, ink_shares
from eval.lint.unlabelled import Unlabelled, components, erase_boxes

HEAD = "noteheadBlack"
"""Start of the names of filled noteheads."""
WIDTH, HEIGHT, DEGREES = 1.3, 0.9, -20.0
"""Axes of the ellipse in staff spaces, and its angle."""
CORE_WIDTH, CORE_HEIGHT = 1.0, 0.8
"""Size of the part of a notehead that is almost completely filled, in staff spaces; noteheads of
grace notes, which class maps may lack, do not fill it."""
MIN_FILLED = 0.8
"""Least share of ink in this part."""
MAX_FILLED = 0.95
"""Largest share of ink in the rectangle around a notehead; bars of rests fill it."""
SEARCH_SPACE_PX = 6.0
"""Staff space of the reduced image in which noteheads are searched."""
CERTAIN_WIDTH, CERTAIN_HEIGHT = 0.7, 0.5
"""Size of a rectangle that fits into a notehead, in staff spaces."""
NEAR_STAFF = 16
"""Distance from the staff within which noteheads are expected, in halves of a staff space."""


def area_with_heads(
    unlabelled: Unlabelled, boxes_xyxy: Boxes, space: float
) -> NDArray[np.float64] | None:
    """Return the area where a rectangle as in noteheads fits into ink near staves outside of boxes.

    Takes a sixth of the time of :func:`find_heads`, and is None for most correct pages.

    Args:
        unlabelled: Ink of the page.
        boxes_xyxy: Boxes that explain noteheads, in pixels, shape ``(N, 4)``.
        space: Staff space in pixels.

    Returns:
        Box of the area in pixels, shape ``(4,)``.
    """
    size = [max(2, round(side * space)) for side in (CERTAIN_HEIGHT, CERTAIN_WIDTH)]
    inside = np.asarray(cv2.erode(unlabelled.all, np.ones(size, np.uint8)), np.uint8)
    rest = erase_boxes(inside, boxes_xyxy)
    if not cv2.countNonZero(rest):
        return None
    places = components(rest)
    places = places[unlabelled.near_staves(places[:, :2], NEAR_STAFF)]
    if not len(places):
        return None
    return np.concatenate((places[:, :2].min(axis=0), places[:, 2:].max(axis=0)))


def find_heads(
    ink: Ink, space: float, min_similarity: float, area_xyxy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Find ink that looks like a filled notehead.

    Args:
        ink: Ink of the page.
        space: Staff space in pixels.
        min_similarity: Minimum correlation with the ellipse, 0 to 1.
        area_xyxy: Area to search, in pixels, shape ``(4,)``.

    Returns:
        Centres as ``(x, y)`` in pixels, shape ``(K, 2)``.
    """
    factor = max(1.0, space / SEARCH_SPACE_PX)
    template = _ellipse(space / factor)
    margin = 3 * max(template.shape)
    left, top = (area_xyxy[:2] / factor - margin).astype(np.int64).clip(0).tolist()
    right, bottom = (area_xyxy[2:] + factor * margin).astype(np.int64).tolist()
    slit = np.ones((max(2, round(0.3 * space)), 1), np.uint8)  # left by the staff lines
    closed = cv2.morphologyEx(ink.without_lines[:bottom, :right], cv2.MORPH_CLOSE, slit)
    closed = closed * np.uint8(255)
    reduced = cv2.resize(closed, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    reduced = reduced[top:, left:]
    if min(reduced.shape) <= max(template.shape):
        return np.empty((0, 2))
    similarity = cv2.matchTemplate(reduced, template, cv2.TM_CCOEFF_NORMED)
    side = max(3, round(1.05 * space / factor))
    highest = cv2.dilate(similarity, np.ones((side, side), np.uint8))
    y, x = np.nonzero((similarity > min_similarity) & (similarity >= highest))
    centres = factor * np.column_stack(
        (left + x + template.shape[1] / 2, top + y + template.shape[0] / 2)
    )
    core, around = (
        ink_shares(ink.sums, np.column_stack((centres - half, centres + half)))
        for half in np.array([(CORE_WIDTH, CORE_HEIGHT), (WIDTH, HEIGHT)]) * space / 2
    )
    return np.asarray(centres[(core >= MIN_FILLED) & (around <= MAX_FILLED)])


def _ellipse(space: float) -> NDArray[np.uint8]:
    """Draw a notehead with a margin."""
    height, width = round(1.05 * space), round(1.3 * space)
    margin = round(0.3 * space)
    image = np.zeros((height + 2 * margin, width + 2 * margin), np.uint8)
    centre = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
    axes = (WIDTH * space, HEIGHT * space)
    cv2.ellipse(image, (centre, axes, DEGREES), (255,), -1, cv2.LINE_AA)
    return image
