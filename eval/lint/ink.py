"""Ink of a page, with and without staff lines, and its amount in boxes.

Shapes: H rows and W columns of an image, N boxes.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes

WINDOW_SPACES = 4.0
"""Side of the window with whose mean a pixel is compared, in staff spaces."""
MIN_CONTRAST = 0.25
"""Least difference from this mean, as a fraction of the contrast of the image."""
LINE_LENGTH, LINE_THICKNESS = 3.0, 0.35
"""Least length and maximum thickness of a staff line, in staff spaces."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ink:
    """Pixels of an image that are darker than their surroundings."""

    all: NDArray[np.uint8]
    """1 for ink, 0 for paper, shape ``(H, W)``."""
    without_lines: NDArray[np.uint8]
    """The same without staff lines, shape ``(H, W)``."""


def find_ink(image: NDArray[np.uint8], staff_space: float) -> Ink:
    """Find the ink of an image.

    Args:
        image: Image, shape ``(H, W)``, or in BGR order ``(H, W, 3)``.
        staff_space: Staff space in pixels.
    """
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)) if image.ndim == 3 else image
    darkest, paper = np.quantile(grey[::4, ::4], (0.005, 0.9))
    window = 2 * round(WINDOW_SPACES * staff_space / 2) + 1
    mean = cv2.blur(grey, (window, window), borderType=cv2.BORDER_REPLICATE)
    contrast = max(MIN_CONTRAST * (paper - darkest), 1.0)
    is_ink = (grey < mean - contrast) | (grey < darkest + 0.3 * (paper - darkest))
    ink = (is_ink & (paper - darkest > 10)).astype(np.uint8)
    return Ink(all=ink, without_lines=_without_lines(ink, staff_space))


def _without_lines(ink: NDArray[np.uint8], staff_space: float) -> NDArray[np.uint8]:
    """Erase long thin horizontal strokes, shape ``(H, W)``."""
    length = max(3, round(LINE_LENGTH * staff_space))
    thickness = max(2, round(LINE_THICKNESS * staff_space))
    thick = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((thickness, 1), np.uint8))
    thin = cv2.subtract(ink, thick)
    lines = cv2.morphologyEx(thin, cv2.MORPH_CLOSE, np.ones((1, length // 2), np.uint8))
    lines = cv2.morphologyEx(lines, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    return np.asarray(cv2.subtract(ink, cv2.min(lines, thin)), np.uint8)


def ink_shares(
    ink: NDArray[np.int32], boxes_xyxy: Boxes, shift: tuple[int, int] = (0, 0)
) -> NDArray[np.float64]:
    """Return the fraction of each box that is ink, 0 to 1, shape ``(N,)``.

    Args:
        ink: Integral image of the ink, shape ``(H + 1, W + 1)``.
        boxes_xyxy: Boxes in pixels, shape ``(N, 4)``; rounded to at least one pixel.
        shift: Pixels by which the boxes are moved to the right and down.
    """
    height, width = ink.shape[0] - 1, ink.shape[1] - 1
    boxes = np.add(np.rint(boxes_xyxy).astype(np.int64), [*shift, *shift])
    x_min, y_min = boxes[:, 0].clip(0, width - 1), boxes[:, 1].clip(0, height - 1)
    x_max = np.maximum(boxes[:, 2].clip(0, width), x_min + 1)
    y_max = np.maximum(boxes[:, 3].clip(0, height), y_min + 1)
    sums = ink[y_max, x_max] - ink[y_min, x_max] - ink[y_max, x_min] + ink[y_min, x_min]
    return np.asarray(sums / ((x_max - x_min) * (y_max - y_min)))


def integral(ink: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return the sums of all rectangles from the top left, shape ``(H + 1, W + 1)``."""
    return np.asarray(cv2.integral(ink), np.int32)
