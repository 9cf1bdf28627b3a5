"""Rasterisation of outlines to a grey page.

The coverage of a pixel is exact for one contour. Where contours of one outline share a pixel, their
signed coverages are summed and saturate at full ink. Where several outlines share a pixel, their
transmittances are multiplied, as if their edges were unrelated. Drawing libraries do the same, so
both rasterisers agree to within a few grey levels.

Algorithm of the NumPy rasteriser: edges are cut at every row and column they cross. A piece of an
edge changes the winding number of all pixels to its right, and of its own pixel in part. Summed in
order of outline, row and column, the pieces give the coverage of every cell (a pixel touched by an
edge) and of the run of pixels between one cell and the next. Transmittances multiply, so their
logarithms are added: each cell and each run is a step on the page, and the cumulative sum of the
steps is the page.

Shapes: E edges, P pieces, C cells; H and W, height and width of the page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from class_maps import MissingExtraError
from converters.engraving.outlines import Outline

Grey = NDArray[np.uint8]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rasteriser = Literal["blend2d", "numpy"]
"""``blend2d``: the package blend2d-py; ``numpy``: the fallback in this module, half as fast."""

FALLBACK_NOTE = (
    "blend2d is not installed; pages are rasterised with NumPy, which is slower and changes pixels "
    "by a few grey levels. Run pip install 'omr-toolkit[engrave]' to install it."
)
"""Note for the user if NumPy is used because blend2d is missing."""
_PACKAGES: dict[Rasteriser, str] = {"blend2d": "blend2d-py", "numpy": "numpy"}

MAX_XY = 1e9
"""Largest absolute coordinate of a point, in pixels."""
BAND_CELLS = 1 << 16
"""Approximate number of cells per band of rows; bounds memory for any number of edges."""
ROW_PIXELS_PER_CELL = 16
"""Number of pixels in a row that take about as long as one cell."""
DEPTH_UNIT = 1 << 14
"""Steps per unit of optical depth, the negative logarithm of the transmittance. Integers add up
exactly in any order; one step is at most 1/64 of a grey level."""
FULL_DEPTH = 7
"""Optical depth of full ink: exp(-7) is less than half a grey level."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Edges:
    """Edges of contours, flipped to point downwards."""

    x: Floats
    """Start and end, clipped to the width of the page, shape ``(2, E)``, pixels."""
    y: Floats
    """Start and end with ``y[0] < y[1]``, possibly off the page, shape ``(2, E)``, pixels."""
    turn: Floats
    """1 where the contour goes down, -1 where it goes up, shape ``(E,)``."""
    owner: Ints
    """Index of the outline of each edge, shape ``(E,)``."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Pieces:
    """Pieces of edges, each within one row of a band."""

    x: Floats
    """Start and end, shape ``(2, P)``, pixels."""
    turn: Floats
    """Change of the winding number of the pixels to the right, shape ``(P,)``."""
    row: Ints
    """Row within the band plus the band's height times the index of the outline, ``(P,)``."""


def rasterise(
    outlines: Sequence[Outline], width: int, height: int, *, rasteriser: Rasteriser = "blend2d"
) -> Grey:
    """Fill outlines with black on white.

    Args:
        outlines: Ink; anything off the page is clipped.
        width: Width of the page in pixels.
        height: Height of the page in pixels.
        rasteriser: Implementation to use; the results of the two differ by a few grey levels.

    Returns:
        Grey levels, 255 for white, shape ``(H, W)``.

    Raises:
        MissingExtraError: The rasteriser is ``blend2d`` and that package is not installed.
        ValueError: A coordinate is not finite, or larger than :data:`MAX_XY`.
    """
    if not all((np.abs(outline.points_xy) <= MAX_XY).all() for outline in outlines):
        raise ValueError(f"points of outlines must lie within {MAX_XY:.0e} pixels")
    if rasteriser == "numpy":
        return _fill(outlines, width, height)
    try:
        from converters.engraving.raster_blend2d import fill
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "blend2d is not installed; run pip install 'omr-toolkit[engrave]', "
            "or use the numpy rasteriser"
        ) from error
    return fill(outlines, width, height)


def installed_rasteriser() -> Rasteriser:
    """Return ``blend2d``, or ``numpy`` if that package is not installed."""
    return "blend2d" if find_spec("blend2d") else "numpy"


def description(rasteriser: Rasteriser) -> str:
    """Return the name of a rasteriser and the version of its package, e.g. ``blend2d 2025.2.0``."""
    return f"{rasteriser} {version(_PACKAGES[rasteriser])}"


def _fill(outlines: Sequence[Outline], width: int, height: int) -> Grey:
    page = np.full((height, width), 255, np.uint8)
    edges = _edges(outlines, width, height)
    for top, bottom in _bands(edges, width, height):
        depths = _depths(_pieces(edges, top, bottom), bottom - top, width)
        page[top:bottom] = _greys().take(depths, mode="clip")[:, :width]
    return page


@lru_cache
def _greys() -> Grey:
    """Tabulate the grey level of every optical depth up to that of full ink."""
    depths = np.arange(FULL_DEPTH * DEPTH_UNIT + 1) / DEPTH_UNIT
    greys: Grey = np.rint(255 * np.exp(-depths)).astype(np.uint8)
    return greys


def _edges(outlines: Sequence[Outline], width: int, height: int) -> _Edges:
    """Collect the edges that affect the page; ink beside it is moved to the nearer side."""
    points_xy = np.concatenate([np.empty((0, 2)), *(o.points_xy for o in outlines)])
    lengths = np.concatenate([np.empty(0, np.int64), *(o.lengths for o in outlines)])
    n_contours = np.array([len(o.lengths) for o in outlines], np.int64)
    owner = np.repeat(np.repeat(np.arange(len(outlines)), n_contours), lengths)  # (E,)
    ends = np.cumsum(lengths)
    following = np.arange(1, len(points_xy) + 1)
    following[ends - 1] = ends - lengths
    x, y = (np.stack((c, c[following])) for c in points_xy.T)  # (2, E)
    for side in (0, width):
        x, y, owner = _cut(x, y, owner, side)
    turn = np.sign(y[1] - y[0])
    x, y = np.where(turn < 0, x[::-1], x).clip(0, width), np.sort(y, axis=0)
    needed = (turn != 0) & (y[0] < height) & (y[1] > 0)
    return _Edges(x=x[:, needed], y=y[:, needed], turn=turn[needed], owner=owner[needed])


def _cut(x: Floats, y: Floats, owner: Ints, side: float) -> tuple[Floats, Floats, Ints]:
    """Cut the edges that cross the vertical line ``x = side`` in two."""
    rows = np.flatnonzero((x.min(axis=0) < side) & (x.max(axis=0) > side))
    if not rows.size:
        return x, y, owner
    (x0, x1), (y0, y1) = x[:, rows], y[:, rows]
    crossing = np.stack((np.full(len(rows), float(side)), y0 + (side - x0) / (x1 - x0) * (y1 - y0)))
    x[1, rows], y[1, rows] = crossing
    second_x, second_y = np.stack((crossing[0], x1)), np.stack((crossing[1], y1))
    return np.hstack((x, second_x)), np.hstack((y, second_y)), np.concatenate((owner, owner[rows]))


def _bands(edges: _Edges, width: int, height: int) -> Iterator[tuple[int, int]]:
    """Divide a page into bands of rows, ``(top, bottom)``, with about equal work."""
    top = np.floor(edges.y[0]).clip(0).astype(np.int64)
    bottom = np.ceil(edges.y[1]).clip(None, height).astype(np.int64)
    n_rows = bottom - top
    n_cells = (n_rows + np.abs(edges.x[1] - edges.x[0])) / n_rows  # per row
    change = np.bincount(top, n_cells, height + 1) - np.bincount(bottom, n_cells, height + 1)
    work = np.cumsum(np.cumsum(change[:height]) + width / ROW_PIXELS_PER_CELL)
    cuts = np.flatnonzero(np.diff(work // BAND_CELLS)) + 1
    return pairwise((0, *cuts.tolist(), height))


def _pieces(edges: _Edges, top: int, bottom: int) -> _Pieces:
    """Cut the edges that intersect a band at every row."""
    meets = np.flatnonzero((edges.y[0] < bottom) & (edges.y[1] > top))
    y = edges.y[:, meets]
    first = np.floor(y[0]).clip(top).astype(np.int64)
    last = np.ceil(y[1]).clip(None, bottom).astype(np.int64)
    index, row = _ranges(first, last - first)  # (P,)
    edge = meets[index]
    (x0, x1), (y0, y1) = edges.x[:, edge], edges.y[:, edge]
    y_in_row = np.stack((np.maximum(y0, row), np.minimum(y1, row + 1)))  # (2, P)
    fraction = (y_in_row - y0) / (y1 - y0)
    return _Pieces(
        x=x0 + (x1 - x0) * fraction,
        turn=edges.turn[edge] * (y_in_row[1] - y_in_row[0]),
        row=edges.owner[edge] * (bottom - top) + (row - top),
    )


def _depths(pieces: _Pieces, height: int, width: int) -> NDArray[np.int32]:
    """Compute the optical depths of a band, ``(height, width + 1)``; the last column is padding."""
    pixel, turn, inside = _cells(pieces, width)
    winding = np.cumsum(turn)  # right of each cell; 0 again at the end of a row
    cell, run = _depth(winding - turn + inside), _depth(winding)
    steps = np.zeros(height * (width + 1) + 1, np.int32)
    pixel %= height * (width + 1)  # superimpose the outlines
    np.add.at(steps, pixel, cell - np.concatenate(([np.int32(0)], run[:-1])))
    np.add.at(steps, pixel + 1, run - cell)
    return np.cumsum(steps, out=steps)[:-1].reshape(height, width + 1)


def _cells(pieces: _Pieces, width: int) -> tuple[Ints, Floats, Floats]:
    """Cut pieces at every column and sum those of each pixel, in order of pixels.

    Returns:
        Index of the pixel in rows of ``width + 1`` pixels (the last column takes edges that end
        right of the page), change of the winding number of all pixels to its right, and change of
        its own winding number; each of shape ``(C,)``.
    """
    left, right = pieces.x.min(axis=0), pieces.x.max(axis=0)
    first = np.floor(left).astype(np.int64)
    counts = np.maximum(np.ceil(right).astype(np.int64) - first, 1)
    piece, column = _ranges(first, counts)
    start, end = (left[piece] - column).clip(0), (right[piece] - column).clip(None, 1)
    length = np.where(counts > 1, right - left, 1)[piece]
    turn = pieces.turn[piece] * np.where(counts[piece] > 1, end - start, 1) / length
    inside = turn * (1 - (start + end) / 2)
    pixel = pieces.row[piece] * (width + 1) + column
    order = np.argsort(pixel, kind="stable")
    pixel = pixel[order]
    starts = np.flatnonzero(np.diff(pixel, prepend=-1))
    turn, inside = (np.add.reduceat(value[order], starts) for value in (turn, inside))
    return pixel[starts], turn, inside


def _depth(winding: Floats) -> NDArray[np.int32]:
    """Compute the optical depth at a winding number; full ink at -1, at 1 and beyond."""
    light = (1 - np.abs(winding)).clip(np.exp(-FULL_DEPTH))
    depth: NDArray[np.int32] = np.rint(-DEPTH_UNIT * np.log(light)).astype(np.int32)
    return depth


def _ranges(first: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Count up from each ``first``; return the index of the range and the value of each count."""
    index = np.repeat(np.arange(len(first)), counts)
    return index, np.arange(len(index)) + np.repeat(first - np.cumsum(counts) + counts, counts)
