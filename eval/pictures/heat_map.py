"""Heat maps of probabilities, drawn over a page.

Shapes: a picture is ``(H, W, 3)``, its colours in OpenCV's order, BGR.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.images import Pixels
from eval.pictures.drawing import BAR_PX, GAP_PX, write_text

LOWEST = 0.01
"""Probability below which the page is left as it is."""
OPACITY = 0.65
"""Share of the colour in a pixel of the heat map; the rest is the page."""
SCALE_PX = 400
"""Width of the colour scale."""
TICKS = 0.0, 0.25, 0.5, 0.75, 1.0
"""Probabilities that the colour scale names."""


def heated(picture: Pixels, probabilities: NDArray[np.float32]) -> Pixels:
    """Colour a picture by probabilities.

    Args:
        picture: Picture of the page.
        probabilities: Values from 0 to 1, of any resolution.
    """
    height, width = picture.shape[:2]
    resized = cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_NEAREST)
    values = np.asarray(resized, np.float32)
    mixed = cv2.addWeighted(colours(values), OPACITY, picture, 1 - OPACITY, 0.0)
    return np.where((values >= LOWEST)[:, :, None], mixed, picture)


def colours(values: NDArray[np.float32]) -> Pixels:
    """Return the colour of each value from 0 to 1: blue, green, yellow, red."""
    return np.asarray(cv2.applyColorMap(np.uint8(values * 255), cv2.COLORMAP_TURBO), np.uint8)  # type: ignore[call-overload]


def draw_scale(width: int) -> Pixels:
    """Draw the colours from 0 to 1 with their values, shape ``(H, width, 3)``."""
    scale = np.full((2 * BAR_PX, max(width, SCALE_PX + 4 * GAP_PX), 3), 255, np.uint8)
    values = np.linspace(0, 1, SCALE_PX, dtype=np.float32)[None]
    scale[5 : BAR_PX - 5, GAP_PX : GAP_PX + SCALE_PX] = colours(values)
    for tick in TICKS:
        write_text(scale[BAR_PX:], f"{tick:g}", GAP_PX + round(tick * (SCALE_PX - 1)))
    return scale[:, :width]
