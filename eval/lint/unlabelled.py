"""Ink of a page that no box explains, and the part of it that is in staves.

Shapes: H rows and W columns of an image, N boxes, K components, h and w cells of the grid.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from eval.lint.ink import Ink

SLIT = 0.3
"""Height of the gaps that staff lines leave in symbols, in staff spaces."""
AREA_SIDES = 3.5, 12.0
"""Shorter and longer side, in staff spaces, above which a box is an area, such as a staff or a
measure, and explains no ink."""
MARGIN_PX = 1
"""Distance from its box up to which ink belongs to a symbol, because boxes are rounded."""
CELL = 0.5
"""Side of a cell, in staff spaces."""
LINE = 0.04
"""Least fraction of a cell that is staff line."""
STAFF_CELLS, GAP_CELLS = 8, (4, 12)
"""Least height of a staff, which large letters do not reach, and height and width of the largest
gap between cells with lines, in cells; chords and beams interrupt the lines."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Unlabelled:
    """Ink of an image without staff lines, with and without the ink in boxes."""

    all: NDArray[np.uint8]
    """255 for ink, with the gaps of the staff lines filled, shape ``(H, W)``."""
    rest: NDArray[np.uint8]
    """The same without the ink in boxes, shape ``(H, W)``."""
    staves: NDArray[np.uint8]
    """1 for cells in a staff or up to ``CELL`` above or below it, shape ``(h, w)``."""
    cell: int
    """Side of a cell in pixels."""
    explains: NDArray[np.bool_]
    """False for boxes of areas, which explain no ink, shape ``(N,)``."""

    def amounts(self) -> tuple[float, float]:
        """Return the ink in staves, and the part of it that is in no box, in cells."""
        parts = (_cells(image, self.cell)[self.staves > 0] for image in (self.all, self.rest))
        total, rest = (float(part.sum(dtype=np.int64)) / 255 for part in parts)
        return total, rest

    def near_staves(self, points: NDArray[np.float64], cells: int) -> NDArray[np.bool_]:
        """Return which points ``(K, 2)`` are at most some cells above or below a staff."""
        near = cv2.dilate(self.staves, np.ones((2 * cells + 1, 1), np.uint8))
        limits = [near.shape[1] - 1, near.shape[0] - 1]
        column, row = (points / self.cell).astype(np.int64).clip(0, limits).T
        return np.asarray(near[row, column] > 0)


def find_unlabelled(ink: Ink, boxes_xyxy: Boxes, staff_space: float) -> Unlabelled:
    """Find the ink of an image that no box explains.

    Args:
        ink: Ink of the image.
        boxes_xyxy: Boxes in pixels, shape ``(N, 4)``.
        staff_space: Staff space in pixels.
    """
    # an odd height, because OpenCV moves the ink by half a pixel otherwise
    slit = np.ones((max(3, round(SLIT * staff_space) | 1), 1), np.uint8)
    closed = np.asarray(cv2.morphologyEx(ink.without_lines, cv2.MORPH_CLOSE, slit), np.uint8)
    closed *= np.uint8(255)
    sides = np.sort(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1) / staff_space
    explains = np.asarray(~(sides > AREA_SIDES).all(axis=1))
    cell = max(1, round(CELL * staff_space))
    return Unlabelled(
        all=closed,
        rest=erase_boxes(closed.copy(), boxes_xyxy[explains]),
        staves=_staves(ink, cell),
        cell=cell,
        explains=explains,
    )


def erase_boxes(ink: NDArray[np.uint8], boxes_xyxy: Boxes) -> NDArray[np.uint8]:
    """Set ink ``(H, W)`` to 0 in boxes and up to ``MARGIN_PX`` around them, and return it."""
    corners = np.concatenate(
        (np.floor(boxes_xyxy[:, :2]) - MARGIN_PX, np.ceil(boxes_xyxy[:, 2:]) + MARGIN_PX), axis=1
    )
    for x_min, y_min, x_max, y_max in corners.astype(np.int64).clip(0).tolist():
        ink[y_min:y_max, x_min:x_max] = 0
    return ink


def components(ink: NDArray[np.uint8]) -> Boxes:
    """Return the boxes of connected ink ``(H, W)``, without those inside others, ``(K, 4)``."""
    contours, _ = cv2.findContours(ink, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = np.array([cv2.boundingRect(contour) for contour in contours], float).reshape(-1, 4)
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


def _staves(ink: Ink, cell: int) -> NDArray[np.uint8]:
    """Mark the cells in staves, shape ``(h, w)``."""
    lines = np.asarray(cv2.subtract(ink.all, ink.without_lines), np.uint8)
    lines *= np.uint8(255)
    marked = np.asarray(_cells(lines, cell) > 255 * LINE, np.uint8)
    filled = cv2.morphologyEx(marked, cv2.MORPH_CLOSE, np.ones(GAP_CELLS, np.uint8))
    staves = cv2.morphologyEx(filled, cv2.MORPH_OPEN, np.ones((STAFF_CELLS, 1), np.uint8))
    return np.asarray(cv2.dilate(staves, np.ones((3, 1), np.uint8)), np.uint8)


def _cells(image: NDArray[np.uint8], cell: int) -> NDArray[np.uint8]:
    """Return the mean of each cell of an image ``(H, W)``, shape ``(h, w)``."""
    height, width = (max(1, side // cell) for side in image.shape)
    whole = image[: height * cell, : width * cell]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
