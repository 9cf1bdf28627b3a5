"""Classes of the parts of notes, by their names in class maps, and their boxes on a page.

Shapes: N boxes of a page, C classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from eval.lint.ink import ink_shares, integral

WITHOUT_STEM = ("noteheadWhole", "noteheadDoubleWhole")
MARGIN = 0.3
"""Distance at which the parts of a note still touch, in staff spaces."""


def starts_with(names: Sequence[str], *prefixes: str) -> NDArray[np.bool_]:
    """Return which classes have a name with one of the prefixes, shape ``(C,)``."""
    return np.array([name.startswith(prefixes) for name in names], bool)


def stemmed_heads(names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which classes are noteheads with a stem, shape ``(C,)``."""
    return starts_with(names, "notehead") & ~starts_with(names, *WITHOUT_STEM)


def touches_any(
    boxes_xyxy: Boxes, others_xyxy: Boxes, margins: Sequence[float], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return which boxes overlap any of the others, shape ``(N,)``.

    The time depends on the size of the page, not on the number of pairs.

    Args:
        boxes_xyxy: Boxes, shape ``(N, 4)``.
        others_xyxy: Other boxes, shape ``(M, 4)``.
        margins: Pixels by which the boxes are extended to the left, top, right and bottom.
        size: Width and height of the page in pixels.
    """
    width, height = size
    limits = [width, height, width, height]
    corners = np.rint(others_xyxy).astype(np.int64).clip(0, limits)
    x_min, y_min, x_max, y_max = corners.T
    x_max, y_max = np.maximum(x_max, x_min + 1), np.maximum(y_max, y_min + 1)
    steps = np.zeros((height + 2, width + 2), np.int32)
    for x, y, step in (
        (x_min, y_min, 1),
        (x_max, y_min, -1),
        (x_min, y_max, -1),
        (x_max, y_max, 1),
    ):
        np.add.at(steps, (y, x), step)
    is_covered = (steps.cumsum(0).cumsum(1)[:height, :width] > 0).astype(np.uint8)
    extended = boxes_xyxy + np.multiply(margins, [-1, -1, 1, 1])
    return np.asarray(ink_shares(integral(is_covered), extended) > 0)
