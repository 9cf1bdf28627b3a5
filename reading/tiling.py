"""Division of a page into overlapping tiles for prediction.

Shapes: T tiles of a page.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.images import Pixels
from converters.prepare.tiles import TileOptions, starts

PADDING = 114
"""Grey level beyond an image's border, as in training."""
BLANK = 5
"""Difference of grey levels up to which a light tile shows only paper."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TileGrid:
    """Overlapping square tiles that cover a page, row by row."""

    width: int
    """Width of the page in pixels, after scaling."""
    height: int
    """Height of the page in pixels, after scaling."""
    size: int
    """Side of a tile in pixels; a tile extends beyond a page that is smaller."""
    corners_xy: NDArray[np.int64]
    """Top-left corner of each tile in pixels, shape ``(T, 2)``."""

    @classmethod
    def of(cls, width: int, height: int, options: TileOptions) -> "TileGrid":
        """Cover a page in the same way as tiles for training are cut.

        Args:
            width: Width of the page in pixels.
            height: Height of the page in pixels.
            options: Size and overlap of the tiles.
        """
        columns, rows = starts(width, options), starts(height, options)
        corners = np.array([(x, y) for y in rows for x in columns], np.int64)
        return cls(width=width, height=height, size=options.size, corners_xy=corners)

    def __len__(self) -> int:
        return len(self.corners_xy)

    @property
    def tiles_xyxy(self) -> Boxes:
        """The area of each tile on the page in pixels, shape ``(T, 4)``."""
        return np.concatenate([self.corners_xy, self.corners_xy + self.size], axis=1).astype(float)

    @property
    def is_inner(self) -> NDArray[np.bool_]:
        """Whether the page continues beyond the left, top, right and bottom side, ``(T, 4)``."""
        far = self.corners_xy + self.size < [self.width, self.height]
        return np.concatenate([self.corners_xy > 0, far], axis=1)


def tiles_of(page: Pixels, grid: TileGrid, batch: int) -> Iterator[tuple[list[int], Pixels]]:
    """Cut the tiles of a page in batches, without those that show only paper.

    Args:
        page: Page in BGR order, shape ``(H, W, 3)``.
        grid: Tiles of the page.
        batch: Maximum number of tiles in a batch.

    Yields:
        Indices of up to ``batch`` tiles, and their pixels, shape ``(B, S, S, 3)`` for tiles of
        side S; beyond a page that is smaller than a tile, pixels have the value ``PADDING``.
    """
    tiles = [page[y : y + grid.size, x : x + grid.size] for x, y in grid.corners_xy.tolist()]
    indices = [i for i, tile in enumerate(tiles) if not _is_blank(tile)]
    for first in range(0, len(indices), batch):
        of_batch = indices[first : first + batch]
        pixels = np.full((len(of_batch), grid.size, grid.size, 3), PADDING, np.uint8)
        for padded, index in zip(pixels, of_batch, strict=True):
            height, width = tiles[index].shape[:2]
            padded[:height, :width] = tiles[index]
        yield of_batch, pixels


def _is_blank(tile: Pixels) -> bool:
    lightest, darkest = int(tile.max()), int(tile.min())
    return lightest - darkest <= BLANK and darkest > 127
