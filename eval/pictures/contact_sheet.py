"""Contact sheets: images with their boxes, side by side, for people to look at.

Shapes: an image is ``(H, W)`` or ``(H, W, 3)``, its colours in OpenCV's order, BGR.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from converters import images as image_files
from converters.images import Pixels
from converters.page import Page
from eval.pictures.label_placement import Rectangle, place

Colour: TypeAlias = tuple[int, int, int]

_BAR_PX = 26  # height of a caption and of a line of the legend
_GAP_PX = 8
_SWATCH_PX = 22  # from the left edge of an entry of the legend to its text
_MARGIN_PX = 40  # white around an annotated page, for the texts at its edge
_GREY: Colour = (190, 190, 190)
_INK = 192  # a picture's pixels below it are ink or a frame
_TAG_FONT, _TAG_SCALE = cv2.FONT_HERSHEY_PLAIN, 0.75


def contact_sheet(
    images: Sequence[Pixels],
    pages: Sequence[Page],
    names: Sequence[str],
    *,
    columns: int = 2,
    min_score: float = 0.25,
    panel_px: int = 640,
) -> Pixels:
    """Draw each page's boxes on its image, and all panels with a legend on one sheet.

    Args:
        images: One for each page.
        pages: Truths or predictions, in the order of the panels, row by row.
        names: Class names; a label is a place in this list.
        columns: Panels a row.
        min_score: Leave out predictions below it; a sheet of all of them shows nothing.
        panel_px: Side of the square that a panel's image has to fit in.

    Returns:
        Shape ``(H, W, 3)``, BGR.

    Raises:
        ValueError: ``images`` and ``pages`` differ in number, or ``columns`` is below 1.
    """
    if len(images) != len(pages) or columns < 1:
        raise ValueError(
            f"need an image a page and a column, got {len(images)}, {len(pages)}, {columns}"
        )
    shown = [_drop_below(page, min_score) for page in pages]
    panels = [
        _panel(image, page, min_score, panel_px) for image, page in zip(images, shown, strict=True)
    ]
    width = columns * (panel_px + _GAP_PX) + _GAP_PX
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    strips = [_strip(row, width) for row in rows]
    return np.concatenate([*strips, _shared_legend(shown, names, width)])


def compare(
    folder: Path,
    truths: Iterable[Page],
    predictions: Iterable[Page],
    names: Sequence[str],
    *,
    n_images: int = 4,
    min_score: float = 0.25,
) -> Pixels:
    """Put truth (left) beside prediction (right) for some images that have symbols.

    Args:
        folder: Image folder that ``Page.image`` is relative to.
        truths: Pages with symbols.
        predictions: Pages with scores, matched by ``image``.
        names: Class names; a label is a place in this list.
        n_images: Images at most, evenly spread over the sorted names.
        min_score: Leave out predictions below it.

    Raises:
        InputError: An image cannot be read.
    """
    truth_of = {page.image: page for page in truths}
    prediction_of = {page.image: page for page in predictions}
    found = sorted(image for image in truth_of.keys() & prediction_of.keys())
    found = [image for image in found if len(truth_of[image].labels)]
    places = np.linspace(0, len(found) - 1, min(n_images, len(found))).round().astype(int)
    images: list[Pixels] = []
    pages: list[Page] = []
    for image in (found[i] for i in places):
        images += [image_files.read(folder / image)] * 2
        pages += [truth_of[image], prediction_of[image]]
    return contact_sheet(images, pages, names, columns=2, min_score=min_score)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AnnotatedPage:
    """The picture of a page with all its boxes."""

    pixels: Pixels
    """Shape ``(H, W, 3)``, BGR."""
    repeated: tuple[int, ...]
    """Rows of the boxes that have the class and the place of an earlier one; their frames lie
    further out."""
    n_untold: int
    """Boxes that were to have a text and found no room for one."""


def annotated_page(
    image: Pixels,
    page: Page,
    names: Sequence[str],
    *,
    scale: float = 1.0,
    texts: bool = True,
    caption: str = "",
) -> AnnotatedPage:
    """Draw every box of a page for someone who checks it: what is missing, twice, or shifted.

    A frame of one pixel lies outside each box. Beside it stands the class's name, where that hides
    neither ink nor another text, else its number in the legend below.

    Args:
        image: The page's.
        page: Its boxes.
        names: Class names; a label is a place in this list.
        scale: Pixels of the picture for one of the page.
        texts: Whether to write names and numbers at the boxes.
        caption: Above the picture, instead of the image's name.
    """
    width, height = _size(page, scale)
    m = _MARGIN_PX
    canvas = np.full((height + 2 * m, width + 2 * m, 3), 255, dtype=np.uint8)
    canvas[m:-m, m:-m] = _pale(image, width, height)
    cv2.rectangle(canvas, (m - 1, m - 1), (m + width, m + height), _GREY, 1)
    rectangles = [(x0 + m, y0 + m, x1 + m, y1 + m) for x0, y0, x1, y1 in _rectangles(page, scale)]
    outs, repeated = _outs(rectangles, page.labels.tolist())
    _frame(canvas, rectangles, page.labels, outs)
    drawn = np.unique(page.labels).tolist()
    numbers = {label: str(i + 1) for i, label in enumerate(drawn)}
    n_untold = 0
    if texts:
        n_untold = _tell(canvas, rectangles, page.labels.tolist(), names, numbers)
    counts = _counts([page], len(names))
    entries = [(label, f"{numbers[label]}  {names[label]}: {counts[label]}") for label in drawn]
    title = f"{len(page.labels)} symbols" if len(page.labels) else "no symbols"
    pixels = _captioned(canvas, caption or str(page.image), title, entries)
    return AnnotatedPage(pixels=pixels, repeated=repeated, n_untold=n_untold)


def _outs(
    rectangles: Sequence[Rectangle], labels: Sequence[int]
) -> tuple[list[int], tuple[int, ...]]:
    """How far outside its box each frame lies, so that equal boxes show; rows of the repeated."""
    at_place: Counter[Rectangle] = Counter()
    seen: set[tuple[int, Rectangle]] = set()
    outs, repeated = [], []
    for row, (rectangle, label) in enumerate(zip(rectangles, labels, strict=True)):
        outs.append(1 + 2 * at_place[rectangle])
        at_place[rectangle] += 1
        if (label, rectangle) in seen:
            repeated.append(row)
        seen.add((label, rectangle))
    return outs, tuple(repeated)


def _tell(
    canvas: Pixels,
    rectangles: Sequence[Rectangle],
    labels: Sequence[int],
    names: Sequence[str],
    numbers: Mapping[int, str],
) -> int:
    """Write a name or a number at every box; how many found no room."""
    tags = place(
        rectangles,
        [names[label] for label in labels],
        [numbers[label] for label in labels],
        canvas.min(axis=2) < _INK,
        _tag_size,
    )
    for tag, label in zip(tags, labels, strict=True):
        if tag:
            corner = tag.left + 1, tag.top + tag.height - 2
            cv2.putText(
                canvas, tag.text, corner, _TAG_FONT, _TAG_SCALE, _dark(label), 1, cv2.LINE_AA
            )
    return tags.count(None)


def _tag_size(text: str) -> tuple[int, int]:
    (width, height), _ = cv2.getTextSize(text, _TAG_FONT, _TAG_SCALE, 1)
    return width + 2, height + 3


def _dark(label: int) -> Colour:
    """A class's colour, dark enough for thin letters on white."""
    blue, green, red = class_colour(label)
    most = max(blue, green, red)
    return blue * 120 // most, green * 120 // most, red * 120 // most


def _captioned(
    canvas: Pixels, caption: str, title: str, entries: Sequence[tuple[int, str]]
) -> Pixels:
    """Put a caption above and a legend below, and widen the picture to what they need."""
    texts = [caption, title, *(text for _, text in entries)]
    needed = max(map(_text_width, texts)) + _SWATCH_PX + 2 * _GAP_PX
    width = max(canvas.shape[1], needed)
    canvas = np.pad(
        canvas, ((_BAR_PX, 0), (0, width - canvas.shape[1]), (0, 0)), constant_values=255
    )
    _write(canvas, caption, _GAP_PX)
    return np.concatenate([canvas, _legend(title, entries, width)])


def class_colour(label: int) -> Colour:
    """Give a class its colour, in BGR: neighbours differ most, and all show on white paper."""
    hue = int(label * 0.618034 % 1 * 180)  # the golden ratio spreads any number of hues evenly
    saturation, value = ((255, 225), (255, 130), (140, 190))[label % 3]
    hsv = np.array([[[hue, saturation, value]]], dtype=np.uint8)
    blue, green, red = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red


def _drop_below(page: Page, min_score: float) -> Page:
    return page if page.scores is None else page.only(page.scores >= min_score)


def _panel(image: Pixels, page: Page, min_score: float, panel_px: int) -> Pixels:
    """One image with its boxes under a caption, shape ``(panel_px + _BAR_PX, panel_px, 3)``."""
    scale = panel_px / max(page.width, page.height)
    width, height = _size(page, scale)
    panel = np.full((panel_px + _BAR_PX, panel_px, 3), 255, dtype=np.uint8)
    ink = panel[_BAR_PX : _BAR_PX + height, :width]
    ink[:] = _pale(image, width, height)
    rectangles = _rectangles(page, scale)
    for out in (1, 2):
        _frame(ink, rectangles, page.labels, [out] * len(rectangles))
    cv2.rectangle(panel, (0, _BAR_PX), (width - 1, _BAR_PX + height - 1), _GREY, 1)
    n = len(page.labels)
    what = f"truth: {n}" if page.scores is None else f"predicted: {n} (score >= {min_score:g})"
    _write(panel, f"{what}  {page.image}", 2)
    return panel


def _size(page: Page, scale: float) -> tuple[int, int]:
    return max(1, round(page.width * scale)), max(1, round(page.height * scale))


def _pale(image: Pixels, width: int, height: int) -> Pixels:
    """An image at another size, its ink so pale that coloured frames stand out, in colour."""
    bgr = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    return np.asarray(128 + image_files.scaled(bgr, width, height) // 2, np.uint8)


def _rectangles(page: Page, scale: float) -> list[Rectangle]:
    """The whole pixels that each box touches; a tenth of one is the rounding of label files."""
    low = np.floor(page.boxes_xyxy[:, :2] * scale + 0.1)
    high = np.maximum(np.ceil(page.boxes_xyxy[:, 2:] * scale - 0.1), low)
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in np.hstack((low, high)).astype(np.int64).tolist()]


def _frame(
    image: Pixels,
    rectangles: Sequence[Rectangle],
    labels: NDArray[np.int64],
    outs: Sequence[int],
) -> None:
    """Draw frames, each ``out`` pixels outside its box, or it would hide a stem."""
    for (x0, y0, x1, y1), label, out in zip(rectangles, labels.tolist(), outs, strict=True):
        first, last = (x0 - out, y0 - out), (x1 + out - 1, y1 + out - 1)
        cv2.rectangle(image, first, last, class_colour(label), 1)


def _strip(panels: Sequence[Pixels], width: int) -> Pixels:
    """One row of panels, shape ``(H, width, 3)``."""
    strip = np.full((panels[0].shape[0] + _GAP_PX, width, 3), 255, dtype=np.uint8)
    for i, panel in enumerate(panels):
        left = _GAP_PX + i * (panel.shape[1] + _GAP_PX)
        strip[: panel.shape[0], left : left + panel.shape[1]] = panel
    return strip


def _shared_legend(pages: Sequence[Page], names: Sequence[str], width: int) -> Pixels:
    """The classes of truths and predictions, shape ``(H, width, 3)``."""
    truth, predicted = (
        _counts([page for page in pages if (page.scores is None) == is_truth], len(names))
        for is_truth in (True, False)
    )
    drawn = np.flatnonzero(truth + predicted).tolist()
    entries = [(label, f"{names[label]}: {truth[label]} / {predicted[label]}") for label in drawn]
    return _legend("class: truth / predicted", entries, width)


def _counts(pages: Sequence[Page], n_classes: int) -> NDArray[np.int64]:
    """Symbols of each class on all pages, shape ``(C,)``."""
    labels = np.concatenate([np.empty(0, dtype=np.int64), *(page.labels for page in pages)])
    return np.bincount(labels, minlength=n_classes)


def _legend(title: str, entries: Sequence[tuple[int, str]], width: int) -> Pixels:
    """Labels with their colours and texts, in columns, shape ``(H, width, 3)``."""
    column_px = max((_text_width(text) for _, text in entries), default=0) + _SWATCH_PX + _GAP_PX
    columns = max(1, (width - _GAP_PX) // column_px)
    lines = -(-len(entries) // columns)
    legend = np.full(((1 + lines) * _BAR_PX, width, 3), 255, dtype=np.uint8)
    _write(legend, title, _GAP_PX)
    for i, (label, text) in enumerate(entries):
        column, line = divmod(i, lines)
        top, left = (line + 1) * _BAR_PX, _GAP_PX + column * column_px
        legend[top + 5 : top + 21, left : left + 16] = class_colour(label)
        _write(legend[top:], text, left + _SWATCH_PX)
    return legend


def _text_width(text: str) -> int:
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0] + _GAP_PX


def _write(image: Pixels, text: str, left: int) -> None:
    """Write a line of text into the top bar of ``image``."""
    cv2.putText(image, text, (left, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
