"""Division of a page into overlapping tiles for prediction.

Tiles cover the ink of a page without its margins, and tiles without ink are skipped.

Shapes: H and W the height and width of a page in pixels, T tiles of a page.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.images import Pixels
from converters.prepare.tiles import TileOptions, starts

PADDING = 114
"""Grey level beyond an image's border, as in training."""
SURROUNDINGS_PX = 31
"""Side of the window around a pixel with whose mean it is compared."""
INK_CONTRAST, MIN_INK_CONTRAST = 0.1, 5.0
"""A pixel is ink if it is darker than its surroundings by this fraction of the contrast of the
darkest ink, and by this number of grey levels: the rest is paper with its noise and shadows."""
DARKEST_INK = 98
"""Percentile of the contrast of all pixels that counts as that of the darkest ink; if a page has
less ink, the contrast of noise takes its place, and more pixels count as ink."""
DARK = 127
"""Grey level up to which a pixel is ink, whatever its surroundings."""
MARGIN_PX = 16
"""Width of the paper around the ink that tiles cover."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TileGrid:
    """Overlapping square tiles that cover the ink of a page, row by row."""

    width: int
    """Width of the page in pixels, after scaling."""
    height: int
    """Height of the page in pixels, after scaling."""
    size: int
    """Side of a tile in pixels; a tile extends beyond a page that is smaller."""
    corners_xy: NDArray[np.int64]
    """Top-left corner of each tile in pixels, shape ``(T, 2)``."""
    has_ink: NDArray[np.bool_]
    """Whether each tile shows ink, shape ``(T,)``."""

    @classmethod
    def of(cls, ink: NDArray[np.bool_], options: TileOptions) -> "TileGrid":
        """Cover the ink of a page in the same way as tiles for training are cut.

        Args:
            ink: Pixels of the page that are ink, shape ``(H, W)``.
            options: Size and overlap of the tiles.
        """
        height, width = ink.shape
        rows = _covering(np.asarray(ink.any(axis=1)), options)
        columns = _covering(np.asarray(ink.any(axis=0)), options)
        size, corners = options.size, [(x, y) for y in rows for x in columns]
        return cls(
            width=width,
            height=height,
            size=size,
            corners_xy=np.array(corners, np.int64),
            has_ink=np.array([ink[y : y + size, x : x + size].any() for x, y in corners]),
        )

    def __len__(self) -> int:
        return len(self.corners_xy)

    @property
    def tiles_xyxy(self) -> Boxes:
        """The area of each tile on the page in pixels, shape ``(T, 4)``."""
        return np.concatenate([self.corners_xy, self.corners_xy + self.size], axis=1).astype(float)

    @property
    def is_inner(self) -> NDArray[np.bool_]:
        """Whether tiles follow beyond the left, top, right and bottom side, shape ``(T, 4)``."""
        first, last = self.corners_xy.min(axis=0), self.corners_xy.max(axis=0)
        return np.concatenate([self.corners_xy > first, self.corners_xy < last], axis=1)


def _covering(has_ink: NDArray[np.bool_], options: TileOptions) -> list[int]:
    """List the positions at which tiles start along a side of the page.

    Args:
        has_ink: Whether each row, or each column, of the page has ink; if none has, tiles cover
            the whole side.
        options: Size and overlap of the tiles.
    """
    inked = np.flatnonzero(has_ink) if has_ink.any() else np.arange(len(has_ink))
    first = max(int(inked[0]) - MARGIN_PX, 0)
    length = min(int(inked[-1]) + 1 + MARGIN_PX, len(has_ink)) - first
    first = min(first, max(len(has_ink) - options.size, 0))  # a tile does not end beyond the page
    return [first + start for start in starts(length, options)]


def ink_of(page: Pixels) -> NDArray[np.bool_]:
    """Find the pixels of a page that are ink rather than paper.

    Args:
        page: Page with dark ink on light paper, shape ``(H, W)`` or ``(H, W, 3)``.

    Returns:
        Mask of shape ``(H, W)``.
    """
    grey = page if page.ndim == 2 else cv2.min(cv2.min(page[..., 0], page[..., 1]), page[..., 2])
    contrast = cv2.subtract(cv2.blur(grey, (SURROUNDINGS_PX, SURROUNDINGS_PX)), grey)
    darkest = float(np.percentile(contrast[::4, ::4], DARKEST_INK))
    is_ink = (contrast > max(MIN_INK_CONTRAST, INK_CONTRAST * darkest)) | (grey <= DARK)
    return np.asarray(is_ink)


def tiles_of(page: Pixels, grid: TileGrid, batch: int) -> Iterator[tuple[list[int], Pixels]]:
    """Cut the tiles of a page in batches, without those that show no ink.

    Args:
        page: Page in BGR order, shape ``(H, W, 3)``.
        grid: Tiles of the page.
        batch: Maximum number of tiles in a batch.

    Yields:
        Indices of up to ``batch`` tiles, and their pixels, shape ``(B, S, S, 3)`` for tiles of
        side S; beyond a page that is smaller than a tile, pixels have the value ``PADDING``.
    """
    tiles = [page[y : y + grid.size, x : x + grid.size] for x, y in grid.corners_xy.tolist()]
    indices = np.flatnonzero(grid.has_ink).tolist()
    for first in range(0, len(indices), batch):
        of_batch = indices[first : first + batch]
        pixels = np.full((len(of_batch), grid.size, grid.size, 3), PADDING, np.uint8)
        for padded, index in zip(pixels, of_batch, strict=True):
            height, width = tiles[index].shape[:2]
            padded[:height, :width] = tiles[index]
        yield of_batch, pixels
