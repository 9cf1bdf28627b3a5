"""Rasterisation with the package blend2d; see :mod:`converters.engraving.raster`."""

from collections import deque
from collections.abc import Sequence

import blend2d
import numpy as np
from numpy.typing import NDArray

from converters.engraving.outlines import Outline


def fill(outlines: Sequence[Outline], width: int, height: int) -> NDArray[np.uint8]:
    """Fill outlines with black on white, 255 for white, shape ``(H, W)``."""
    image = blend2d.Image(width, height)
    context = blend2d.Context(image)
    context.set_fill_style_rgba(255, 255, 255)
    context.fill_all()
    context.set_fill_style_rgba(0, 0, 0)
    for outline in outlines:
        context.fill_path(_path(outline))
    context.end()
    return np.array(image.asarray()[:, :, 0])


def _path(outline: Outline) -> blend2d.Path:
    path = blend2d.Path()
    x, y = outline.points_xy.T.tolist()
    start = 0
    for end in np.cumsum(outline.lengths).tolist():
        path.move_to(x[start], y[start])
        deque(map(path.line_to, x[start + 1 : end], y[start + 1 : end]), maxlen=0)
        path.close()
        start = end
    return path
