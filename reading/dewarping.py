"""Dewarping of a page: the map that makes its staff lines horizontal and its barlines vertical.

A thin upright line is a thin box, but the box of the same line on a page that is turned by two
degrees is several times as wide. Pages are therefore made upright before they are read, if the
slopes of their lines are measurable. Two slopes instead of one angle allow for photographs at an
angle; their changes across the page, for perspective and for paper that bends.

Shapes: H and W the height and width of a page in pixels, N boxes.
"""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.images import Pixels

_Float = TypeVar("_Float", np.float32, np.float64)
_ITERATIONS = 20
"""Iterations that find the place of a corner; each reduces the error to the slope times it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slopes:
    """Slopes of the lines of a page; all are 0 if it is upright.

    At the centre, staff lines descend by ``across`` pixels per pixel to the right, and barlines
    move to the right by ``down`` pixels per pixel downwards.
    """

    across: float = 0.0
    """Slope of the staff line through the centre of the page."""
    across_change: float = 0.0
    """Difference between ``across`` and the slope at the lower edge."""
    bend: float = 0.0
    """Difference between ``across`` and the mean slope of the right half."""
    down: float = 0.0
    """Slope of a barline at the centre."""
    down_change: float = 0.0
    """Difference between ``down`` and the slope at the right edge."""

    @property
    def degrees(self) -> float:
        """Angle of the staff line through the centre, clockwise as the page is seen."""
        return float(np.degrees(np.arctan(self.across)))

    def distortion(self, width: int, height: int) -> float:
        """Return the largest slope or change, without its sign; below 0.3, the page cannot fold.

        On a page that is many times as long as it is wide, or the reverse, a change of slope from
        its centre to its near edges distorts it most at its far edges.
        """
        slope = max(abs(self.across), abs(self.bend), abs(self.down))
        across_change = abs(self.across_change) * max(width / height, 1)
        return max(slope, across_change, abs(self.down_change) * max(height / width, 1))

    def displacement_px(self, width: int, height: int) -> float:
        """Return by how many pixels lines leave their direction between the centre and an edge."""
        across = max(abs(self.across), abs(self.across_change), abs(self.bend)) * width / 2
        return max(across, max(abs(self.down), abs(self.down_change)) * height / 2)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Dewarping:
    """Map between a page and the upright page; no part of the page is cut off."""

    slopes: Slopes
    centre_xy: NDArray[np.float64]
    """Centre of the page in pixels, shape ``(2,)``; it does not move, apart from the margins."""
    margins_xy: NDArray[np.float64]
    """Pixels added at the left and at the top, shape ``(2,)``."""
    width: int
    """Width of the upright page in pixels."""
    height: int
    """Height of the upright page in pixels."""

    @classmethod
    def of(cls, width: int, height: int, slopes: Slopes) -> "Dewarping":
        """Return the map for a page.

        Args:
            width: Width of the page in pixels.
            height: Height of the page in pixels.
            slopes: Slopes of the lines on the page, with a :meth:`~Slopes.distortion` below 0.3.
        """
        centre = np.array([width, height]) / 2
        edge_points = np.array([[x, y] for x in (0, 0.5, 1) for y in (0, 0.5, 1)])
        places = _upright_places(edge_points * [width, height], centre, slopes)
        low, high = np.floor(places.min(axis=0)), np.ceil(places.max(axis=0))
        new_width, new_height = (high - low).astype(int).tolist()
        return cls(
            slopes=slopes, centre_xy=centre, margins_xy=-low, width=new_width, height=new_height
        )

    def dewarp(self, page: Pixels) -> Pixels:
        """Make a page upright, shape ``(H, W)`` or ``(H, W, 3)``; its border is continued."""
        u = np.arange(self.width, dtype=np.float32)[None] + np.float32(0.5 - self.margins_xy[0])
        v = np.arange(self.height, dtype=np.float32)[:, None] + np.float32(0.5 - self.margins_xy[1])
        x, y = _shifted(u, v, self.centre_xy, self.slopes)
        half = np.float32(0.5)  # OpenCV counts from the centres of pixels
        flat = cv2.remap(page, x - half, y - half, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(flat, np.uint8)

    def upright(self, points_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where points of the page are on the upright page, shape ``(N, 2)``."""
        return _upright_places(points_xy, self.centre_xy, self.slopes) + self.margins_xy

    def back(self, boxes_xyxy: Boxes) -> Boxes:
        """Return the boxes on the page around boxes on the upright page, shape ``(N, 4)``."""
        left, top, right, bottom = boxes_xyxy.T - np.tile(self.margins_xy, 2)[:, None]
        across = np.stack([left, (left + right) / 2, right] * 2)
        x, y = _shifted(across, np.stack([top] * 3 + [bottom] * 3), self.centre_xy, self.slopes)
        return np.stack([x.min(0), y.min(0), x.max(0), y.max(0)], axis=1)


def _upright_places(
    points_xy: NDArray[np.float64], centre_xy: NDArray[np.float64], slopes: Slopes
) -> NDArray[np.float64]:
    """Return where points of the page are on the upright page, without margins, ``(N, 2)``."""
    places = points_xy.copy()
    for _ in range(_ITERATIONS):
        places += points_xy - _on_page(places, centre_xy, slopes)
    return places


def _on_page(
    places_xy: NDArray[np.float64], centre_xy: NDArray[np.float64], slopes: Slopes
) -> NDArray[np.float64]:
    """Return where points of the upright page, without margins, are on the page, ``(N, 2)``."""
    return np.stack(_shifted(places_xy[:, 0], places_xy[:, 1], centre_xy, slopes), axis=1)


def _shifted(
    u: NDArray[_Float], v: NDArray[_Float], centre_xy: NDArray[np.float64], slopes: Slopes
) -> tuple[NDArray[_Float], NDArray[_Float]]:
    """Return the coordinates on the page of points of the upright page, without margins."""
    half_width, half_height = (u.dtype.type(half) for half in centre_xy)
    right, below = u - half_width, v - half_height
    across = (
        slopes.across
        + slopes.across_change / half_height * below
        + slopes.bend / half_width * right
    )
    down = slopes.down + slopes.down_change / half_width * right
    return u + below * down, v + right * across
