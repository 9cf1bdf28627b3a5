"""Ink of a page, with and without staff lines, and its amount in boxes.

Shapes: H rows and W columns of an image, N boxes, S shifts.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes

WINDOW_SPACES = 4.0
"""Side of the window with whose mean a pixel is compared, in staff spaces."""
MIN_CONTRAST = 0.25
"""Least difference from this mean, as a fraction of the contrast of the image."""
MIN_RANGE = 10
"""Least difference between ink and paper, in grey levels, of an image that is not empty."""
DARK = 0.3
"""Position between ink and paper below which a pixel is ink, whatever its surroundings."""
LINE_LENGTH, LINE_THICKNESS = 3.0, 0.35
"""Least length and maximum thickness of a staff line, in staff spaces."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ink:
    """Pixels of an image that are darker than their surroundings."""

    all: NDArray[np.uint8]
    """1 for ink, 0 for paper, shape ``(H, W)``."""
    without_lines: NDArray[np.uint8]
    """The same without staff lines, shape ``(H, W)``."""

    @cached_property
    def all_sums(self) -> NDArray[np.int32]:
        """Integral image of all ink, shape ``(H + 1, W + 1)``."""
        return integral(self.all)

    @cached_property
    def sums(self) -> NDArray[np.int32]:
        """Integral image of the ink without staff lines, shape ``(H + 1, W + 1)``."""
        return integral(self.without_lines)


def find_ink(image: NDArray[np.uint8], staff_space: float) -> Ink:
    """Find the ink of an image.

    Args:
        image: Image, shape ``(H, W)``, or in BGR order ``(H, W, 3)``.
        staff_space: Staff space in pixels.
    """
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)) if image.ndim == 3 else image
    darkest, paper = np.quantile(grey[::4, ::4], (0.005, 0.9)).tolist()
    if paper - darkest <= MIN_RANGE:
        return Ink(all=np.zeros_like(grey), without_lines=np.zeros_like(grey))
    window = 2 * round(WINDOW_SPACES * staff_space / 2) + 1
    mean = cv2.blur(grey, (window, window), borderType=cv2.BORDER_REPLICATE)
    contrast = max(MIN_CONTRAST * (paper - darkest), 1.0)
    darker = cv2.compare(cv2.subtract(mean, grey), contrast, cv2.CMP_GT)
    dark = cv2.compare(grey, darkest + DARK * (paper - darkest), cv2.CMP_LT)
    ink = np.asarray(cv2.min(cv2.bitwise_or(darker, dark), 1), np.uint8)  # type: ignore[call-overload]
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


def ink_shares(ink: NDArray[np.int32], boxes_xyxy: Boxes) -> NDArray[np.float64]:
    """Return the fraction of each box that is ink, 0 to 1, shape ``(N,)``.

    Args:
        ink: Integral image of the ink, shape ``(H + 1, W + 1)``.
        boxes_xyxy: Boxes in pixels, shape ``(N, 4)``; rounded to at least one pixel.
    """
    return np.asarray(shifted_shares(ink, boxes_xyxy, np.zeros(1, np.int64))[0, 0])


def shifted_shares(
    ink: NDArray[np.int32], boxes_xyxy: Boxes, shifts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the fraction of each box that is ink, after moving it, shape ``(S, S, N)``.

    Args:
        ink: Integral image of the ink, shape ``(H + 1, W + 1)``.
        boxes_xyxy: Boxes in pixels, shape ``(N, 4)``; rounded to at least one pixel.
        shifts: Pixels by which the boxes are moved to the right, and down, shape ``(S,)``.
    """
    height, width = ink.shape[0] - 1, ink.shape[1] - 1
    boxes = np.rint(boxes_xyxy).astype(np.int64).T[:, None, :] + shifts[:, None]  # (4, S, N)
    x_min, y_min = boxes[0].clip(0, width - 1), boxes[1].clip(0, height - 1)
    x_max = np.maximum(boxes[2].clip(0, width), x_min + 1)
    y_max = np.maximum(boxes[3].clip(0, height), y_min + 1)
    left, right = x_min[:, None], x_max[:, None]  # (S, 1, N), against (S, N) for y
    sums = ink[y_max, right] - ink[y_min, right] - ink[y_max, left] + ink[y_min, left]
    return np.asarray(sums / ((right - left) * (y_max - y_min)))


def integral(ink: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return the sums of all rectangles from the top left, shape ``(H + 1, W + 1)``."""
    return np.asarray(cv2.integral(ink), np.int32)
