"""Shapes of the symbols of each class: the ink in their boxes, learnt from engraved pages.

``symbol_shapes.json`` is written by ``python -m recipes.symbol_sizes``.

Shapes: N boxes of a page, K typical shapes of a class, F features.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes

FILE = Path(__file__).with_name("symbol_shapes.json")
CELLS = 8
"""Cells per side of the grid in which the ink of a box is measured."""
ALIKE = 0.5
"""Distance between the shapes of two classes with the same glyph, as a fraction of the larger
distance within them."""
SIZE_WEIGHT = 0.25
"""Weight of a factor of two in width or height, relative to the difference of all cells."""


class SymbolShape(msgspec.Struct, frozen=True):
    """Typical shapes of a class; fonts differ."""

    shapes: tuple[tuple[float, ...], ...]
    """Features of each, see :func:`features`, shape ``(K, F)``."""
    near: float
    """Distance from the nearest shape that 90% of the symbols of the class stay below."""
    far: float
    """Distance that 99.5% of them stay below."""


@cache
def symbol_shapes() -> Mapping[str, SymbolShape]:
    """Return the shapes of every class in the table."""
    return msgspec.json.decode(FILE.read_bytes(), type=dict[str, SymbolShape])


@cache
def are_alike(first: str, second: str) -> bool:
    """Return whether two classes have the same glyph, such as accidentals by their role."""
    a, b = symbol_shapes()[first], symbol_shapes()[second]
    least = float(distances(np.array(a.shapes), np.array(b.shapes)).min())
    return least <= ALIKE * max(a.far, b.far)


def features(ink: NDArray[np.int32], boxes_xyxy: Boxes, space: float) -> NDArray[np.float64]:
    """Describe the ink in boxes: the share of ink in each cell of a grid, and the box's size.

    Args:
        ink: Integral image of the ink, shape ``(H + 1, W + 1)``.
        boxes_xyxy: Boxes in pixels, shape ``(N, 4)``.
        space: Staff space in pixels.

    Returns:
        Features, shape ``(N, F)``: ``CELLS`` squared shares, the binary logarithms of width and
        height in staff spaces.
    """
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0.5)
    steps = np.linspace(0, 1, CELLS + 1)
    x = boxes_xyxy[:, :1] + sides[:, :1] * steps  # (N, CELLS + 1)
    y = boxes_xyxy[:, 1:2] + sides[:, 1:] * steps
    sums = np.diff(np.diff(_interpolated(ink, x, y), axis=1), axis=2)  # (N, CELLS, CELLS)
    shares = sums / (sides.prod(1) / CELLS**2)[:, None, None]
    return np.column_stack((shares.reshape(len(sides), CELLS**2), np.log2(sides / space)))


def _interpolated(
    ink: NDArray[np.int32], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the integral image where columns and rows cross, one grid per box."""
    width = ink.shape[1]
    x, y = x.clip(0, width - 1.001), y.clip(0, ink.shape[0] - 1.001)
    column, row = x.astype(np.int64)[:, None, :], y.astype(np.int64)[:, :, None]
    dx, dy = x[:, None, :] - column, y[:, :, None] - row
    flat, first = ink.ravel(), row * width + column  # faster than `ink[row, column]`
    above = flat.take(first) * (1 - dx) + flat.take(first + 1) * dx
    first += width
    below = flat.take(first) * (1 - dx) + flat.take(first + 1) * dx
    return np.asarray(above * (1 - dy) + below * dy)


def distances(described: NDArray[np.float64], shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of features ``(N, F)`` from the nearest of the shapes ``(K, F)``."""
    difference = described[:, None, :] - shapes[None]  # (N, K, F)
    cells = np.sqrt((difference[..., :-2] ** 2).mean(axis=2))
    sizes = np.abs(difference[..., -2:]).sum(axis=2)
    return np.asarray((cells + SIZE_WEIGHT * sizes).min(axis=1))
