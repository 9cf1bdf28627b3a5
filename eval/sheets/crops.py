"""Crops of symbols at equal staff space.

Shapes: an image is ``(H, W)`` or ``(H, W, 3)``, its colours in OpenCV's order, BGR.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from converters import images
from converters.files.process_pool import in_order
from converters.images import Pixels
from converters.prepare.staff_lines import measure_staff_space
from eval.pictures.drawing import Colour
from eval.sheets.selection import ChosenSymbol

SPACE_PX = 16
"""Staff space of a crop in pixels."""
MARGIN_SPACES = 1.5
"""Context around a box in staff spaces."""
MARGIN_PX = 12
"""Context around a box in pixels of the image if its staff space is unknown."""
MOST_PX = 360
"""Maximum side of a crop in pixels; larger symbols are scaled down further."""
BEYOND = (225, 225, 225)
"""Colour of what is beyond the image."""
FRAME: Colour = (0, 80, 230)
PREDICTED_FRAME: Colour = (200, 110, 0)
"""Colour of the box of a prediction."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Crop:
    """Picture of a symbol with a frame around its box."""

    symbol: ChosenSymbol
    pixels: Pixels
    """Picture in BGR, shape ``(H, W, 3)``."""
    is_reduced: bool
    """Whether its staff space is below ``SPACE_PX``, because the symbol is large."""


def cut_crops(symbols: Iterable[ChosenSymbol], workers: int = 1) -> Iterator[Crop]:
    """Cut symbols out of their images, each of which is decoded once.

    Args:
        symbols: Symbols to show.
        workers: Number of processes; does not change the result.

    Yields:
        Crops, grouped by image.

    Raises:
        InputError: An image is damaged.
    """
    of_image: dict[Path, list[ChosenSymbol]] = {}
    for symbol in sorted(symbols, key=lambda symbol: symbol.image.path):
        of_image.setdefault(symbol.image.path, []).append(symbol)
    for crops in in_order(crops_of_image, of_image.values(), workers):
        yield from crops


def crops_of_image(symbols: Sequence[ChosenSymbol]) -> list[Crop]:
    """Cut symbols out of one image.

    Raises:
        InputError: The image is damaged.
    """
    image = images.read(symbols[0].image.path)
    space = symbols[0].image.staff_space
    if space is None:
        spaces = measure_staff_space(image)
        space = spaces.most if spaces else None
    return [_cut(image, symbol, space) for symbol in symbols]


def _cut(image: Pixels, symbol: ChosenSymbol, space: float | None) -> Crop:
    """Cut one symbol out of an image with this staff space in pixels."""
    margin = MARGIN_PX if space is None else MARGIN_SPACES * space
    x0, y0, x1, y1 = symbol.box_xyxy
    side = max(x1 - x0, y1 - y0, 1.0) + 2 * margin
    wanted = 1.0 if space is None else SPACE_PX / space
    factor = min(wanted, MOST_PX / side)
    left, top = (int(np.floor(low - margin)) for low in (x0, y0))
    right, bottom = (int(np.ceil(high + margin)) for high in (x1, y1))
    region = _region(image, left, top, right, bottom)
    width, height = (max(1, round(n * factor)) for n in (right - left, bottom - top))
    pixels = images.scaled(region, width, height)
    for box, colour in ((symbol.box_xyxy, FRAME), (symbol.predicted_xyxy, PREDICTED_FRAME)):
        if box is not None:
            _draw_frame(pixels, np.subtract(box, [left, top] * 2).tolist(), factor, colour)
    return Crop(symbol=symbol, pixels=pixels, is_reduced=factor < wanted)


def _region(image: Pixels, left: int, top: int, right: int, bottom: int) -> Pixels:
    """Return a part of an image in colour, with what is beyond the image in grey."""
    region = np.full((bottom - top, right - left, 3), BEYOND, np.uint8)
    height, width = image.shape[:2]
    x0, x1 = (min(max(x, 0), width) for x in (left, right))
    y0, y1 = (min(max(y, 0), height) for y in (top, bottom))
    inside = image[y0:y1, x0:x1]
    region[y0 - top : y1 - top, x0 - left : x1 - left] = (
        inside if inside.ndim == 3 else inside[..., None]
    )
    return region


def _draw_frame(pixels: Pixels, box_xyxy: Sequence[float], factor: float, colour: Colour) -> None:
    """Draw a frame one pixel wide just outside of a box, so that it hides no part of a stem."""
    x0, y0 = (int(np.floor(low * factor + 0.1)) - 1 for low in box_xyxy[:2])
    x1, y1 = (int(np.ceil(high * factor - 0.1)) for high in box_xyxy[2:])
    cv2.rectangle(pixels, (x0, y0), (x1, y1), colour, 1)
