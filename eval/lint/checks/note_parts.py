"""Classes of the parts of notes, by their names in class maps, and their boxes on a page.

Shapes: N boxes of a page, C classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.overlaps import n_candidates, overlapping_pairs

WITHOUT_STEM = ("noteheadWhole", "noteheadDoubleWhole")
MARGIN = 0.3
"""Distance at which the parts of a note still touch, in staff spaces."""
MAX_CANDIDATES = 20_000_000
"""Maximum number of pairs of boxes to compare on a page."""
NO_OVERLAP = 1e-9
"""IoU of boxes that hardly overlap."""


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
    far_corners = np.maximum(others_xyxy[:, 2:], others_xyxy[:, :2] + 1)
    extended = boxes_xyxy + np.multiply(margins, [-1, -1, 1, 1])
    others = np.concatenate((others_xyxy[:, :2], far_corners), axis=1)
    both, n = np.concatenate((extended, others)), len(boxes_xyxy)
    if n_candidates(both, NO_OVERLAP) > MAX_CANDIDATES:
        return np.ones(n, bool)
    first, second = overlapping_pairs(both).T
    result = np.zeros(n, bool)
    result[first[(first < n) & (second >= n)]] = True
    return result
