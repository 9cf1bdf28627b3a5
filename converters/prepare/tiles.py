"""Cuts pages into overlapping tiles, and says which symbols belong to which.

Shapes: N symbols of a page, T tiles.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.page import Page, Placement

LONG_SHARE = 0.25
"""Of the tile's side: with less overlap than this, symbols longer than it count as long."""


def usual_overlap(size: int) -> int:
    """Pixels that tiles share unless another number is asked for: a fifth of their side."""
    return size // 5


@dataclass(frozen=True, kw_only=True, slots=True)
class TileOptions:
    """How pages are cut.

    A symbol no longer than the overlap stands whole in at least one tile, and belongs to every
    tile that shows ``min_visible`` of its area. Of a longer one (a staff, a slur, a long beam) a
    tile may never see more than a piece: it is cut at the border, marked so, and belongs to every
    tile that shows as much of it as would make up ``min_visible`` of the overlap.
    """

    size: int
    """Pixels a side; a smaller page is one tile."""
    overlap: int
    """Pixels that neighbours share at least."""
    min_visible: float = 0.5

    def __post_init__(self) -> None:
        """Check that tiles move on."""
        if not 0 <= self.overlap < self.size:
            raise ValueError(f"overlap must be from 0 to {self.size - 1}, got {self.overlap}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tile:
    """A part of a page, and the page's symbols that belong to it."""

    page: Page
    """The tile as a page of its own; its ``placement`` says where it was cut."""
    rows: NDArray[np.int64]
    """Which of the page's symbols these are."""


def starts(length: int, options: TileOptions) -> list[int]:
    """Where tiles begin along a side of ``length`` pixels: evenly, the last at the end."""
    if length <= options.size:
        return [0]
    n = math.ceil((length - options.overlap) / (options.size - options.overlap))
    return [round(i * (length - options.size) / (n - 1)) for i in range(n)]


def cut(page: Page, options: TileOptions) -> Iterator[Tile]:
    """Yield the tiles of a page, row by row; those without symbols too.

    Args:
        page: Cleaned: every box has an area.
        options: How it is cut.
    """
    for y in starts(page.height, options):
        for x in starts(page.width, options):
            yield _tile(page, x, y, options)


def tile_name(image: PurePosixPath, x: int, y: int) -> PurePosixPath:
    """Name of the tile of ``image`` whose corner is at ``x``, ``y``."""
    return image.with_name(f"{image.stem}__x{x:05d}_y{y:05d}.png")


def _tile(page: Page, x: int, y: int, options: TileOptions) -> Tile:
    width, height = min(options.size, page.width), min(options.size, page.height)
    shifted = page.boxes_xyxy - [x, y, x, y]
    inside = np.clip(shifted, 0, [width, height, width, height])
    rows = np.flatnonzero(_visible(shifted, inside, options) >= options.min_visible)
    part = page.only(rows)
    whole = page.placement or Placement(page=page.image, x=0, y=0, scale_x=1, scale_y=1)
    is_cut: NDArray[np.bool_] = (inside != shifted)[rows].any(axis=1)
    part = replace(
        part,
        image=tile_name(page.image, x, y),
        width=width,
        height=height,
        boxes_xyxy=inside[rows],
        corners=_corners(part.corners, (x, y), inside[rows], is_cut),
        cut=is_cut,
        placement=replace(whole, x=x, y=y),
    )
    return Tile(page=part, rows=rows)


def _corners(
    corners: Boxes | None, origin: tuple[int, int], boxes_xyxy: Boxes, is_cut: NDArray[np.bool_]
) -> Boxes | None:
    """The oriented boxes on the tile; of what is cut, the upright box of what is left."""
    if corners is None:
        return None
    upright = boxes_xyxy[:, [2, 3, 2, 1, 0, 1, 0, 3]].reshape(-1, 4, 2)
    return np.where(is_cut[:, None, None], upright, corners - np.array(origin))


def _visible(boxes_xyxy: Boxes, inside_xyxy: Boxes, options: TileOptions) -> NDArray[np.float64]:
    """How much of each box a tile shows, 0 to 1, shape ``(N,)``; see :class:`TileOptions`."""
    long = max(options.overlap, LONG_SHARE * options.size)
    whole = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    shown = inside_xyxy[:, 2:] - inside_xyxy[:, :2]
    shares: NDArray[np.float64] = np.minimum(shown / np.minimum(whole, long), 1)  # (N, 2)
    return shares[:, 0] * shares[:, 1]
