"""Annotated pages: a page image with all boxes and class names, for checking annotations.

Shapes: an image is ``(H, W)`` or ``(H, W, 3)``, its colours in OpenCV's order, BGR.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.images import Pixels
from converters.page import Page
from eval.pictures.drawing import (
    BAR_PX,
    GAP_PX,
    GREY,
    SWATCH_PX,
    Colour,
    class_colour,
    count_labels,
    draw_frames,
    draw_legend,
    paled,
    rectangles_of,
    scaled_size,
    text_width,
    write_text,
)
from eval.pictures.heat_map import draw_scale, heated
from eval.pictures.label_placement import Rectangle, place_labels

_MARGIN_PX = 40
"""White margin around the page, for labels at its edge."""
_INK = 192
"""Grey level below which a pixel counts as ink or frame."""
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_PLAIN, 0.75


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AnnotatedPage:
    """Picture of a page with all its boxes."""

    pixels: Pixels
    """Picture in BGR, shape ``(H, W, 3)``."""
    repeated: tuple[int, ...]
    """Rows of boxes that repeat the class and coordinates of an earlier box; their frames are drawn
    farther outside."""
    n_unlabelled: int
    """Number of boxes without a name or number, for lack of room."""


def annotated_page(
    image: Pixels,
    page: Page,
    names: Sequence[str],
    *,
    scale: float = 1.0,
    texts: bool = True,
    caption: str = "",
    probabilities: NDArray[np.float32] | None = None,
) -> AnnotatedPage:
    """Draw every box of a page, to show missing, duplicate or shifted symbols.

    Each box has a frame one pixel wide around it, and the name of its class next to it. Where the
    name would hide ink or another text, a number refers to the legend below.

    Args:
        image: Image of the page.
        page: Boxes of the page.
        names: Class names, indexed by label.
        scale: Pixels of the picture per pixel of the page.
        texts: Whether to write names and numbers next to the boxes.
        caption: Text above the picture; default: the path of the image.
        probabilities: Heat map to draw below the frames, of any resolution; None for none.
    """
    width, height = scaled_size(page, scale)
    m = _MARGIN_PX
    canvas = np.full((height + 2 * m, width + 2 * m, 3), 255, dtype=np.uint8)
    drawn = paled(image, width, height)
    canvas[m:-m, m:-m] = drawn if probabilities is None else heated(drawn, probabilities)
    cv2.rectangle(canvas, (m - 1, m - 1), (m + width, m + height), GREY, 1)
    rectangles = [(x0 + m, y0 + m, x1 + m, y1 + m) for x0, y0, x1, y1 in rectangles_of(page, scale)]
    distances, repeated = _frame_distances(rectangles, page.labels.tolist())
    draw_frames(canvas, rectangles, page.labels, distances)
    labels = np.unique(page.labels).tolist()
    numbers = {label: str(i + 1) for i, label in enumerate(labels)}
    n_unlabelled = 0
    if texts:
        n_unlabelled = _write_labels(canvas, rectangles, page.labels.tolist(), names, numbers)
    counts = count_labels([page], len(names))
    entries = [
        (label, f"{f'{numbers[label]}  ' if texts else ''}{names[label]}: {counts[label]}")
        for label in labels
    ]
    title = f"{len(page.labels) or 'no'} {'symbol' if len(page.labels) == 1 else 'symbols'}"
    pixels = _with_caption_and_legend(canvas, caption or str(page.image), title, entries)
    if probabilities is not None:
        pixels = np.concatenate([pixels, draw_scale(pixels.shape[1])])
    return AnnotatedPage(pixels=pixels, repeated=repeated, n_unlabelled=n_unlabelled)


def _frame_distances(
    rectangles: Sequence[Rectangle], labels: Sequence[int]
) -> tuple[list[int], tuple[int, ...]]:
    """Choose distances at which the frames of equal boxes stay visible; find repeated boxes."""
    n_frames: Counter[Rectangle] = Counter()
    seen: set[tuple[int, Rectangle]] = set()
    distances, repeated = [], []
    for row, (rectangle, label) in enumerate(zip(rectangles, labels, strict=True)):
        distances.append(1 + 2 * n_frames[rectangle])
        n_frames[rectangle] += 1
        if (label, rectangle) in seen:
            repeated.append(row)
        seen.add((label, rectangle))
    return distances, tuple(repeated)


def _write_labels(
    canvas: Pixels,
    rectangles: Sequence[Rectangle],
    labels: Sequence[int],
    names: Sequence[str],
    numbers: Mapping[int, str],
) -> int:
    """Write a name or number next to every box; return the number of boxes without room."""
    placed = place_labels(
        rectangles,
        [names[label] for label in labels],
        [numbers[label] for label in labels],
        canvas.min(axis=2) < _INK,
        _text_size,
    )
    for text, label in zip(placed, labels, strict=True):
        if text:
            corner = text.left + 1, text.top + text.height - 2
            cv2.putText(
                canvas, text.text, corner, _FONT, _FONT_SCALE, _dark_colour(label), 1, cv2.LINE_AA
            )
    return placed.count(None)


def _text_size(text: str) -> tuple[int, int]:
    (width, height), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    return width + 2, height + 3


def _dark_colour(label: int) -> Colour:
    """Return the colour of a class, darkened so that thin letters are legible on white."""
    blue, green, red = class_colour(label)
    most = max(blue, green, red)
    return blue * 120 // most, green * 120 // most, red * 120 // most


def _with_caption_and_legend(
    canvas: Pixels, caption: str, title: str, entries: Sequence[tuple[int, str]]
) -> Pixels:
    """Add a caption above and a legend below, and widen the picture to fit them."""
    texts = [caption, title, *(text for _, text in entries)]
    needed = max(map(text_width, texts)) + SWATCH_PX + 2 * GAP_PX
    width = max(canvas.shape[1], needed)
    canvas = np.pad(
        canvas, ((BAR_PX, 0), (0, width - canvas.shape[1]), (0, 0)), constant_values=255
    )
    write_text(canvas, caption, GAP_PX)
    return np.concatenate([canvas, draw_legend(title, entries, width)])
