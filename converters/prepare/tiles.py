"""Tiling: division of pages into overlapping tiles, and of their symbols among the tiles.

Shapes: N symbols of a page.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError
from converters.boxes import Boxes, upright_corners
from converters.page import Page, Placement
from converters.prepare.clipping import VisibleParts, clip

LONG_SIDE_FRACTION = 0.25
"""Fraction of the tile's side. If tiles overlap by less, symbols longer than this fraction count as
long, instead of symbols longer than the overlap."""


def default_overlap(size: int) -> int:
    """Return the default overlap in pixels of tiles of ``size`` pixels: a fifth of their side."""
    return size // 5


@dataclass(frozen=True, kw_only=True, slots=True)
class TileOptions:
    """Size and overlap of tiles.

    A symbol no longer than the overlap is complete in at least one tile, and belongs to every tile
    that shows at least the fraction ``min_visible`` of its area. A longer symbol, such as a staff,
    a slur or a long beam, may not fit into any tile. It belongs to every tile that shows a part at
    least ``min_visible`` times as long as the overlap. In such a tile, the symbol is cut at the
    border and marked as cut. If the source contains oriented boxes, its box there is that of the
    part that the tile shows, and lengths are measured along its sides.
    """

    size: int
    """Side of the square tiles in pixels; a smaller page is one tile."""
    overlap: int
    """Minimum overlap of adjacent tiles in pixels."""
    min_visible: float = 0.5
    """Minimum visible fraction of a symbol for it to belong to a tile."""
    blank_tiles: float = 1.0
    """Fraction of the training tiles without symbols to keep."""

    def __post_init__(self) -> None:
        """Check that the overlap is smaller than a tile."""
        if not 0 <= self.overlap < self.size:
            raise ValueError(f"overlap must be from 0 to {self.size - 1}, got {self.overlap}")

    def keeps_blank(self, image: PurePosixPath) -> bool:
        """Return whether to keep a training tile without symbols; its name alone decides."""
        digest = hashlib.sha256(image.as_posix().encode()).digest()
        return int.from_bytes(digest[:4], "big") < self.blank_tiles * 2**32


def tile_options(
    size: int | None, overlap: int | None, min_visible: float, blank_tiles: float
) -> TileOptions | None:
    """Check the tile options of the command line.

    Args:
        size: Value of ``--tile``; None to keep whole pages.
        overlap: Value of ``--overlap``; None for :func:`default_overlap`.
        min_visible: Value of ``--min-visible``.
        blank_tiles: Value of ``--blank-tiles``.

    Raises:
        ConfigError: The overlap or the fraction of blank tiles was given without tiles, or the
            overlap is not smaller than a tile.
    """
    if size is None:
        if overlap is not None:
            raise ConfigError("requires --tile", option="--overlap", value=overlap)
        if blank_tiles < 1:
            raise ConfigError("requires --tile", option="--blank-tiles", value=blank_tiles)
        return None
    overlap = default_overlap(size) if overlap is None else overlap
    if overlap >= size:
        raise ConfigError(f"must be smaller than --tile {size}", option="--overlap", value=overlap)
    return TileOptions(size=size, overlap=overlap, min_visible=min_visible, blank_tiles=blank_tiles)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tile:
    """A part of a page, with the symbols that belong to it."""

    page: Page
    """The tile as a page; its ``placement`` contains the position on the original page."""
    rows: NDArray[np.int64]
    """Indices of the tile's symbols on the original page."""


def starts(length: int, options: TileOptions) -> list[int]:
    """List the positions at which tiles start along a side of the page.

    Args:
        length: Length of the side in pixels.
        options: Size and overlap of the tiles.

    Returns:
        Evenly spaced positions in pixels; the last tile ends at the end of the side.
    """
    if length <= options.size:
        return [0]
    n = math.ceil((length - options.overlap) / (options.size - options.overlap))
    return [round(i * (length - options.size) / (n - 1)) for i in range(n)]


def cut(page: Page, options: TileOptions) -> Iterator[Tile]:
    """Yield the tiles of a page, row by row, including those without symbols.

    Args:
        page: Cleaned page; every box has an area.
        options: Size and overlap of the tiles.
    """
    for y in starts(page.height, options):
        for x in starts(page.width, options):
            yield _tile(page, x, y, options)


def tile_name(image: PurePosixPath, x: int, y: int) -> PurePosixPath:
    """Return the file name of the tile of ``image`` with its top-left corner at ``(x, y)``."""
    return image.with_name(f"{image.stem}__x{x:05d}_y{y:05d}.png")


def _tile(page: Page, x: int, y: int, options: TileOptions) -> Tile:
    width, height = min(options.size, page.width), min(options.size, page.height)
    shifted = page.boxes_xyxy - [x, y, x, y]
    parts = clip(shifted, page.corners, width, height)
    is_cut: NDArray[np.bool_] = (parts.boxes_xyxy != shifted).any(axis=1)
    rows = np.flatnonzero(_visible_fractions(parts, options) >= options.min_visible)
    part = page.only(rows)
    placement = page.placement or Placement(page=page.image, x=0, y=0, scale_x=1.0, scale_y=1.0)
    part = replace(
        part,
        image=tile_name(page.image, x, y),
        width=width,
        height=height,
        boxes_xyxy=parts.boxes_xyxy[rows],
        corners=_corners(part.corners, (x, y), parts.boxes_xyxy[rows], is_cut[rows]),
        cut=is_cut[rows],
        placement=replace(placement, x=x, y=y),
    )
    return Tile(page=part, rows=rows)


def _corners(
    corners: Boxes | None, origin: tuple[int, int], boxes_xyxy: Boxes, is_cut: NDArray[np.bool_]
) -> Boxes | None:
    """Shift oriented boxes to the tile; cut symbols get the upright box of their visible part."""
    if corners is None:
        return None
    return np.where(is_cut[:, None, None], upright_corners(boxes_xyxy), corners - np.array(origin))


def _visible_fractions(parts: VisibleParts, options: TileOptions) -> NDArray[np.float64]:
    """Compute the visible fraction of each symbol as in :class:`TileOptions`, 0 to 1, ``(N,)``."""
    long = max(options.overlap, LONG_SIDE_FRACTION * options.size)
    fractions: NDArray[np.float64] = np.minimum(parts.extents / np.minimum(parts.sides, long), 1)
    return fractions[:, 0] * fractions[:, 1]
