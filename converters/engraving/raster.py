"""Fills outlines: a grey page from a display list.

The coverage of a pixel is exact for one contour. Where contours of an outline share a pixel,
their signed coverages add up and saturate at full ink; where outlines share one, each lets
through what it leaves uncovered, as if their edges were unrelated. Drawing libraries do the same,
so the two engines agree within a few grey levels.

How it works: edges are cut at every row and column they cross. A piece changes the winding number
of all pixels to its right, and of its own pixel in part. Summed up in order of outline, row and
column, pieces give the coverage of every cell (a pixel that an edge touches) and of the run of
pixels between a cell and the next. What outlines let through multiplies, so its logarithms are
added: every cell and every run is a step on the page, and the running sum of the steps is the
page.

Shapes: E edges, P pieces, C cells; H and W, height and width of the page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
Engine = Literal["numpy", "blend2d"]

MAX_XY = 1e9
"""Farthest a point may lie from the page, in pixels."""
BAND_CELLS = 1 << 16
"""Cells of a band of rows, about; keeps a page of any number of edges within little memory."""
ROW_PIXELS_PER_CELL = 16
"""Pixels of a row that cost about as much as a cell."""
DEPTH_UNIT = 1 << 14
"""Steps of optical depth (the negative logarithm of the light let through). Whole numbers add up
exactly, in any order; one is 1/64 of a grey level or less."""
FULL_DEPTH = 7
"""Optical depth of full ink: exp(-7) is less than half a grey level."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Edges:
    """Edges of contours, turned so that all go down."""

    x: Floats
    """Where they start and end, not beside the page, shape ``(2, E)``, pixels."""
    y: Floats
    """As ``x``, ``y[0] < y[1]``, but above or below the page too."""
    turn: Floats
    """1 where the contour goes down, -1 where it goes up, shape ``(E,)``."""
    owner: Ints
    """Which outline they belong to, shape ``(E,)``."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Pieces:
    """Pieces of edges, each within a row of a band."""

    x: Floats
    """Where they start and end, shape ``(2, P)``, pixels."""
    turn: Floats
    """What they add to the winding number of the pixels to their right, shape ``(P,)``."""
    row: Ints
    """Row of the band, plus the rows of as many bands as there are outlines before, ``(P,)``."""


def rasterise(
    outlines: Sequence[Outline], width: int, height: int, *, engine: Engine = "numpy"
) -> Grey:
    """Fill outlines with black on white.

    Args:
        outlines: Ink; what lies off the page is cut away.
        width: Pixels.
        height: Pixels.
        engine: ``blend2d`` takes half the time and needs the package of that name.

    Returns:
        Greys, 255 is white, shape ``(H, W)``.

    Raises:
        MissingExtraError: ``blend2d`` was asked for and is not installed.
        ValueError: A point is not finite, or absurdly far away.
    """
    if not all((np.abs(outline.points_xy) <= MAX_XY).all() for outline in outlines):
        raise ValueError(f"points of outlines must lie within {MAX_XY:.0e} pixels")
    if engine == "numpy":
        return _fill(outlines, width, height)
    try:
        from converters.engraving.raster_blend2d import fill
    except ModuleNotFoundError as error:
        message = "blend2d is not installed; install omr-toolkit[fast], or take the numpy engine"
        raise MissingExtraError(message) from error
    return fill(outlines, width, height)


def fastest() -> Engine:
    """The fastest engine that is installed."""
    return "blend2d" if find_spec("blend2d") else "numpy"


def _fill(outlines: Sequence[Outline], width: int, height: int) -> Grey:
    page = np.full((height, width), 255, np.uint8)
    edges = _edges(outlines, width, height)
    for top, bottom in _bands(edges, width, height):
        depths = _depths(_pieces(edges, top, bottom), bottom - top, width)
        page[top:bottom] = _greys().take(depths, mode="clip")[:, :width]
    return page


@lru_cache
def _greys() -> Grey:
    """The grey of every optical depth up to that of full ink."""
    depths = np.arange(FULL_DEPTH * DEPTH_UNIT + 1) / DEPTH_UNIT
    greys: Grey = np.rint(255 * np.exp(-depths)).astype(np.uint8)
    return greys


def _edges(outlines: Sequence[Outline], width: int, height: int) -> _Edges:
    """All edges a page needs; what is beside the page is moved to its left or right side."""
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
    """The edges; those that cross the vertical line ``x = side`` are cut in two."""
    rows = np.flatnonzero((x.min(axis=0) < side) & (x.max(axis=0) > side))
    if not rows.size:
        return x, y, owner
    (x0, x1), (y0, y1) = x[:, rows], y[:, rows]
    at = np.stack((np.full(len(rows), float(side)), y0 + (side - x0) / (x1 - x0) * (y1 - y0)))
    x[1, rows], y[1, rows] = at
    rest_x, rest_y = np.stack((at[0], x1)), np.stack((at[1], y1))
    return np.hstack((x, rest_x)), np.hstack((y, rest_y)), np.concatenate((owner, owner[rows]))


def _bands(edges: _Edges, width: int, height: int) -> Iterator[tuple[int, int]]:
    """Cut a page into bands of rows, ``(top, bottom)``, of about as much work each."""
    top = np.floor(edges.y[0]).clip(0).astype(np.int64)
    bottom = np.ceil(edges.y[1]).clip(None, height).astype(np.int64)
    n_rows = bottom - top
    n_cells = (n_rows + np.abs(edges.x[1] - edges.x[0])) / n_rows  # of a row
    change = np.bincount(top, n_cells, height + 1) - np.bincount(bottom, n_cells, height + 1)
    work = np.cumsum(np.cumsum(change[:height]) + width / ROW_PIXELS_PER_CELL)
    cuts = np.flatnonzero(np.diff(work // BAND_CELLS)) + 1
    return pairwise((0, *cuts.tolist(), height))


def _pieces(edges: _Edges, top: int, bottom: int) -> _Pieces:
    """Cut the edges that meet a band at every row."""
    meets = np.flatnonzero((edges.y[0] < bottom) & (edges.y[1] > top))
    y = edges.y[:, meets]
    first = np.floor(y[0]).clip(top).astype(np.int64)
    last = np.ceil(y[1]).clip(None, bottom).astype(np.int64)
    which, row = _ranges(first, last - first)  # (P,)
    edge = meets[which]
    (x0, x1), (y0, y1) = edges.x[:, edge], edges.y[:, edge]
    y_in_row = np.stack((np.maximum(y0, row), np.minimum(y1, row + 1)))  # (2, P)
    share = (y_in_row - y0) / (y1 - y0)
    return _Pieces(
        x=x0 + (x1 - x0) * share,
        turn=edges.turn[edge] * (y_in_row[1] - y_in_row[0]),
        row=edges.owner[edge] * (bottom - top) + (row - top),
    )


def _depths(pieces: _Pieces, height: int, width: int) -> NDArray[np.int32]:
    """Optical depths of a band, shape ``(height, width + 1)``; the last column is of no use."""
    pixel, turn, inside = _cells(pieces, width)
    winding = np.cumsum(turn)  # right of each cell; 0 again at the end of a row
    cell, run = _depth(winding - turn + inside), _depth(winding)
    steps = np.zeros(height * (width + 1) + 1, np.int32)
    pixel %= height * (width + 1)  # the outlines fall together
    np.add.at(steps, pixel, cell - np.concatenate(([np.int32(0)], run[:-1])))
    np.add.at(steps, pixel + 1, run - cell)
    return np.cumsum(steps, out=steps)[:-1].reshape(height, width + 1)


def _cells(pieces: _Pieces, width: int) -> tuple[Ints, Floats, Floats]:
    """Cut pieces at every column and sum up those of a pixel, in order of their pixels.

    Returns:
        The pixel (rows are ``width + 1`` long: what ends right of the page needs a place), what
        its pieces add to the winding number of all pixels to its right, and to its own; ``(C,)``.
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
    """Optical depth of ink at a winding number; full ink at -1 and 1 and beyond."""
    light = (1 - np.abs(winding)).clip(np.exp(-FULL_DEPTH))
    depth: NDArray[np.int32] = np.rint(-DEPTH_UNIT * np.log(light)).astype(np.int32)
    return depth


def _ranges(first: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Count up from each ``first``: which range a number belongs to, and the number."""
    which = np.repeat(np.arange(len(first)), counts)
    return which, np.arange(len(which)) + np.repeat(first - np.cumsum(counts) + counts, counts)
