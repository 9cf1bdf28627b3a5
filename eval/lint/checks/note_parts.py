"""Classes of the parts of notes, by their names in class maps, and their boxes on a page.

Shapes: N boxes of a page, C classes, P candidate pairs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes

WITHOUT_STEM = ("noteheadWhole", "noteheadDoubleWhole")
MARGIN = 0.3
"""Distance at which the parts of a note still touch, in staff spaces."""
MAX_CANDIDATES = 20_000_000
"""Maximum number of pairs of boxes to compare on a page."""


def starts_with(names: Sequence[str], *prefixes: str) -> NDArray[np.bool_]:
    """Return which classes have a name with one of the prefixes, shape ``(C,)``."""
    return np.array([name.startswith(prefixes) for name in names], bool)


def stemmed_heads(names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which classes are noteheads with a stem, shape ``(C,)``."""
    return starts_with(names, "notehead") & ~starts_with(names, *WITHOUT_STEM)


def touches_any(
    boxes_xyxy: Boxes, others_xyxy: Boxes, margins: Sequence[float]
) -> NDArray[np.bool_]:
    """Return which boxes overlap any of the others, shape ``(N,)``; all if there are too many.

    Args:
        boxes_xyxy: Boxes, shape ``(N, 4)``.
        others_xyxy: Other boxes, shape ``(M, 4)``; lines without width or height count as 1 px.
        margins: Pixels by which the boxes are extended to the left, top, right and bottom.
    """
    others = others_xyxy[np.argsort(others_xyxy[:, 0])]
    x_max, y_max = np.maximum(others[:, 2:], others[:, :2] + 1).T
    left, top, right, bottom = (boxes_xyxy + np.multiply(margins, [-1, -1, 1, 1])).T
    widest = (x_max - others[:, 0]).max(initial=0)
    first = np.searchsorted(others[:, 0], left - widest)
    counts = np.searchsorted(others[:, 0], right) - first
    if counts.sum() > MAX_CANDIDATES:
        return np.ones(len(boxes_xyxy), bool)
    box = np.repeat(np.arange(len(boxes_xyxy)), counts)  # (P,)
    other = np.arange(len(box)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    touches = (x_max[other] > left[box]) & (others[other, 1] < bottom[box])
    touches &= y_max[other] > top[box]
    result = np.zeros(len(boxes_xyxy), bool)
    result[box[touches]] = True
    return result
