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
    # results overwrite each other, because a page of new memory costs more than most operations
    mean = cv2.blur(grey, (window, window), borderType=cv2.BORDER_REPLICATE)
    contrast = max(MIN_CONTRAST * (paper - darkest), 1.0)
    darker = cv2.compare(cv2.subtract(mean, grey, dst=mean), contrast, cv2.CMP_GT)
    dark = cv2.compare(grey, darkest + DARK * (paper - darkest), cv2.CMP_LT, dst=mean)
    ink = np.asarray(cv2.bitwise_or(darker, dark, dst=darker), np.uint8)
    ink &= np.uint8(1)
    return Ink(all=ink, without_lines=_without_lines(ink, staff_space))


def _without_lines(ink: NDArray[np.uint8], staff_space: float) -> NDArray[np.uint8]:
    """Erase long thin horizontal strokes, shape ``(H, W)``."""
    length = max(3, round(LINE_LENGTH * staff_space))
    thickness = max(2, round(LINE_THICKNESS * staff_space))
    thick = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((thickness, 1), np.uint8))
    thin = np.asarray(cv2.subtract(ink, thick, dst=thick), np.uint8)
    lines = long_strokes(thin, length)
    return np.asarray(cv2.subtract(ink, cv2.min(lines, thin, dst=lines), dst=lines), np.uint8)


def long_strokes(thin: NDArray[np.uint8], length: int) -> NDArray[np.uint8]:
    """Close gaps of up to half a length, and keep strokes of this length, not 0, shape ``(H, W)``.

    The result is that of OpenCV's ``MORPH_CLOSE`` and ``MORPH_OPEN``, in half the time: a byte
    contains the same column of eight rows.
    """
    height = -(-len(thin) // 8)
    bits = np.zeros((height, thin.shape[1]), np.uint8)
    for i in range(8):
        rows = thin[i * height : (i + 1) * height]
        bits[: len(rows)] |= rows * np.uint8(1 << i)  # a shift takes five times as long
    for size, operation in (
        (length // 2, np.bitwise_or),
        (length // 2, np.bitwise_and),
        (length, np.bitwise_and),
        (length, np.bitwise_or),
    ):
        bits = _combined(bits, size, operation)
    return np.concatenate([bits & np.uint8(1 << i) for i in range(8)])[: len(thin)]


def _combined(bits: NDArray[np.uint8], size: int, operation: np.ufunc) -> NDArray[np.uint8]:
    """Combine each byte with its neighbours in the row, ``size`` bytes in all.

    Args:
        bits: Bytes, shape ``(H / 8, W)``.
        size: Length of the window, whose centre is rounded to the right as in OpenCV.
        operation: ``np.bitwise_or`` to dilate, ``np.bitwise_and`` to erode.
    """
    before, outside = size // 2, 0 if operation is np.bitwise_or else 255
    combined = np.pad(bits, ((0, 0), (before, size - 1 - before)), constant_values=outside)
    n = 1
    while n < size:
        step = min(n, size - n)
        combined = operation(combined[:, :-step], combined[:, step:])
        n += step
    return combined


def ink_shares(ink: NDArray[np.int32], boxes_xyxy: Boxes) -> NDArray[np.float64]:
    """Return the fraction of each box that is ink, 0 to 1, shape ``(N,)``.

    Args:
        ink: Integral image of the ink, shape ``(H + 1, W + 1)``.
        boxes_xyxy: Boxes in pixels, shape ``(N, 4)``; rounded to at least one pixel.
    """
    return np.asarray(shifted_shares(ink, boxes_xyxy, np.zeros(1, np.int64))[0, 0])


def counted_shares(ink: NDArray[np.uint8], boxes_xyxy: Boxes) -> NDArray[np.float64]:
    """Return the same as :func:`ink_shares`, for so few boxes that no integral image is needed.

    Args:
        ink: Ink, shape ``(H, W)``.
        boxes_xyxy: Boxes in pixels, shape ``(N, 4)``; rounded to at least one pixel.
    """
    height, width = ink.shape
    boxes = _inside(np.rint(boxes_xyxy).astype(np.int64).T, width, height).T.tolist()
    parts = (ink[y_min:y_max, x_min:x_max] for x_min, y_min, x_max, y_max in boxes)
    return np.array([cv2.countNonZero(part) / part.size for part in parts], np.float64)


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
    x_min, y_min, x_max, y_max = _inside(boxes, width, height)
    left, right = x_min[:, None], x_max[:, None]  # (S, 1, N), against (S, N) for y
    flat, top, bottom = ink.ravel(), y_min * (width + 1), y_max * (width + 1)
    sums = flat.take(bottom + right)  # several times as fast as `ink[y_max, right]`
    sums -= flat.take(top + right)
    sums -= flat.take(bottom + left)
    sums += flat.take(top + left)
    return np.asarray(sums / ((right - left) * (y_max - y_min)))


def _inside(boxes: NDArray[np.int64], width: int, height: int) -> NDArray[np.int64]:
    """Clip boxes ``(4, ...)`` to the image, and extend them to at least one pixel."""
    x_min, y_min = boxes[0].clip(0, width - 1), boxes[1].clip(0, height - 1)
    x_max = np.maximum(boxes[2].clip(0, width), x_min + 1)
    y_max = np.maximum(boxes[3].clip(0, height), y_min + 1)
    return np.stack((x_min, y_min, x_max, y_max))


def integral(ink: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return the sums of all rectangles from the top left, shape ``(H + 1, W + 1)``."""
    return np.asarray(cv2.integral(ink), np.int32)
