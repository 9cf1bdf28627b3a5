"""Drawing primitives of pictures: page images, box frames, colours, captions and legends.

Shapes: an image is ``(H, W)`` or ``(H, W, 3)``, its colours in OpenCV's order, BGR.
"""

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from converters import images as image_files
from converters.images import Pixels
from converters.page import Page
from eval.pictures.label_placement import Rectangle

Colour: TypeAlias = tuple[int, int, int]

BAR_PX = 26
"""Height of a caption and of a line of the legend."""
GAP_PX = 8
"""Space between panels, and left of texts."""
SWATCH_PX = 22
"""Distance from the left edge of a legend entry to its text."""
GREY: Colour = (190, 190, 190)


def class_colour(label: int) -> Colour:
    """Return the BGR colour of a class: distinct for adjacent labels, and visible on white."""
    hue = int(label * 0.618034 % 1 * 180)  # the golden ratio spaces any number of hues evenly
    saturation, value = ((255, 225), (255, 130), (140, 190))[label % 3]
    hsv = np.array([[[hue, saturation, value]]], dtype=np.uint8)
    blue, green, red = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red


def scaled_size(page: Page, scale: float) -> tuple[int, int]:
    """Return width and height of a page at another scale, at least 1 px each."""
    return max(1, round(page.width * scale)), max(1, round(page.height * scale))


def paled(image: Pixels, width: int, height: int) -> Pixels:
    """Resize an image and lighten its ink, so that coloured frames are conspicuous."""
    bgr = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    return np.asarray(128 + image_files.scaled(bgr, width, height) // 2, np.uint8)


def rectangles_of(page: Page, scale: float) -> list[Rectangle]:
    """Round boxes outwards to whole pixels; up to a tenth counts as rounding of label files."""
    low = np.floor(page.boxes_xyxy[:, :2] * scale + 0.1)
    high = np.maximum(np.ceil(page.boxes_xyxy[:, 2:] * scale - 0.1), low)
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in np.hstack((low, high)).astype(np.int64).tolist()]


def draw_frames(
    image: Pixels,
    rectangles: Sequence[Rectangle],
    labels: NDArray[np.int64],
    distances: Sequence[int],
) -> None:
    """Draw frames one pixel wide, outside the boxes, so that they do not hide a stem.

    Args:
        image: Picture to draw on.
        rectangles: Boxes to frame.
        labels: Class label of each box, which determines its colour.
        distances: Distance of each frame from its box in pixels, from 1.
    """
    frames = zip(rectangles, labels.tolist(), distances, strict=True)
    for (x0, y0, x1, y1), label, distance in frames:
        first, last = (x0 - distance, y0 - distance), (x1 + distance - 1, y1 + distance - 1)
        cv2.rectangle(image, first, last, class_colour(label), 1)


def count_labels(pages: Sequence[Page], n_classes: int) -> NDArray[np.int64]:
    """Count the symbols of each class on all pages, shape ``(C,)``."""
    labels = np.concatenate([np.empty(0, dtype=np.int64), *(page.labels for page in pages)])
    return np.bincount(labels, minlength=n_classes)


def draw_legend(title: str, entries: Sequence[tuple[int, str]], width: int) -> Pixels:
    """Draw labels as colours with texts, in columns, shape ``(H, width, 3)``."""
    column_px = max((text_width(text) for _, text in entries), default=0) + SWATCH_PX + GAP_PX
    columns = max(1, (width - GAP_PX) // column_px)
    lines = -(-len(entries) // columns)
    legend = np.full(((1 + lines) * BAR_PX, width, 3), 255, dtype=np.uint8)
    write_text(legend, title, GAP_PX)
    for i, (label, text) in enumerate(entries):
        column, line = divmod(i, lines)
        top, left = (line + 1) * BAR_PX, GAP_PX + column * column_px
        legend[top + 5 : top + 21, left : left + 16] = class_colour(label)
        write_text(legend[top:], text, left + SWATCH_PX)
    return legend


def text_width(text: str) -> int:
    """Return the width of a text in pixels, including the gap behind it."""
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0] + GAP_PX


def write_text(image: Pixels, text: str, left: int) -> None:
    """Write a text into the top bar of a picture, ``left`` pixels from its edge."""
    cv2.putText(image, text, (left, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
