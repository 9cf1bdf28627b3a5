"""Map of a class's probability over a page, from the class scores of all anchor points.

Shapes: H and W the height and width of the map, B tiles, h and w cells of a level in a tile.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.images import Pixels
from reading.page_reader import PreparedPage
from reading.tiling import tiles_of

STEP_PX = 4
"""Distance between the points of a map, in pixels of the prepared page: half of the finest cell."""

Scores = NDArray[np.float32]
TileScores = Callable[[Pixels], Sequence[Scores]]
"""Function that returns the scores of the cells of each level, shape ``(B, h, w)``, of tiles with
shape ``(B, S, S, 3)``."""


def score_map(page: PreparedPage, scores_of: TileScores, *, batch: int = 16) -> Scores:
    """Compute the highest score of the anchor points at each place of a page.

    Where tiles overlap, and of the levels, the highest score counts. Parts of the page without ink
    are not read and have the score 0.

    Args:
        page: Page as the network reads it.
        scores_of: Network.
        batch: Maximum number of tiles in a call of the network.

    Returns:
        Scores from 0 to 1 in the orientation of the original page, about one per ``STEP_PX``
        pixels of the prepared page, shape ``(H, W)``.
    """
    height, width = page.pixels.shape[:2]
    size = page.grid.size
    # A tile can extend beyond a page that is smaller.
    upright = np.zeros((max(height, size), max(width, size)), np.float32)
    for indices, pixels in tiles_of(page.pixels, page.grid, batch):
        levels = [_of_pixels(level, size) for level in scores_of(pixels)]
        for index, tile in zip(indices, np.maximum.reduce(levels), strict=True):
            x, y = page.grid.corners_xy[index].tolist()
            covered = upright[y : y + size, x : x + size]
            np.maximum(covered, tile, out=covered)
    return _in_original(page, upright[:height, :width])


def _of_pixels(level: Scores, size: int) -> Scores:
    """Repeat the score of each cell for its pixels, shape ``(B, size, size)``."""
    stride = size // level.shape[1]
    return level.repeat(stride, axis=1).repeat(stride, axis=2)


def _in_original(page: PreparedPage, upright: Scores) -> Scores:
    """Sample a map of the prepared page at points of the original one."""
    size = np.array([page.width, page.height]) * page.factors
    n_columns, n_rows = np.ceil(size / STEP_PX).astype(int).tolist()
    x = (np.arange(n_columns) + 0.5) * size[0] / n_columns
    y = (np.arange(n_rows) + 0.5) * size[1] / n_rows
    points_xy = np.stack(np.meshgrid(x, y), axis=2)  # (H, W, 2)
    if page.dewarping is not None:
        points_xy = page.dewarping.upright(points_xy.reshape(-1, 2)).reshape(points_xy.shape)
    columns, rows = np.floor(points_xy.astype(np.float32)).transpose(2, 0, 1)
    sampled = cv2.remap(upright, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.float32)
