"""Contact sheets: images with their boxes, side by side, for people to look at.

Shapes: an image is ``(H, W)`` or ``(H, W, 3)``, its colours in OpenCV's order, BGR.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from converters import images as image_files
from converters.images import Pixels
from converters.page import Page

Colour: TypeAlias = tuple[int, int, int]

_BAR_PX = 26  # height of a caption and of a line of the legend
_GAP_PX = 8
_ENTRY_PX = 300  # width of one entry of the legend
_GREY: Colour = (190, 190, 190)


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
    return np.concatenate([*strips, _legend(shown, names, width)])


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
    for image in (found[place] for place in places):
        images += [image_files.read(folder / image)] * 2
        pages += [truth_of[image], prediction_of[image]]
    return contact_sheet(images, pages, names, columns=2, min_score=min_score)


def class_colour(label: int) -> Colour:
    """Give a class its colour, in BGR: neighbours differ most, and all show on white paper."""
    hue = int(label * 0.618034 % 1 * 180)  # the golden ratio spreads any number of hues evenly
    saturation, value = ((255, 225), (255, 130), (140, 190))[label % 3]
    hsv = np.array([[[hue, saturation, value]]], dtype=np.uint8)
    blue, green, red = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red


def _drop_below(page: Page, min_score: float) -> Page:
    if page.scores is None:
        return page
    keep = page.scores >= min_score
    return Page(
        image=page.image,
        width=page.width,
        height=page.height,
        boxes_xyxy=page.boxes_xyxy[keep],
        labels=page.labels[keep],
        scores=page.scores[keep],
    )


def _panel(image: Pixels, page: Page, min_score: float, panel_px: int) -> Pixels:
    """One image with its boxes under a caption, shape ``(panel_px + _BAR_PX, panel_px, 3)``."""
    bgr = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    scale = panel_px / max(page.width, page.height)
    size = (max(1, round(page.width * scale)), max(1, round(page.height * scale)))
    panel = np.full((panel_px + _BAR_PX, panel_px, 3), 255, dtype=np.uint8)
    ink = panel[_BAR_PX : _BAR_PX + size[1], : size[0]]
    ink[:] = 128 + image_files.scaled(bgr, *size) // 2  # pale, so that the boxes stand out
    corners = (page.boxes_xyxy * scale).round().astype(int)
    for (x_min, y_min, x_max, y_max), label in zip(corners.tolist(), page.labels, strict=True):
        for out in (1, 2):  # outside the box, or the frame would hide a stem
            first, last = (x_min - out, y_min - out), (x_max + out - 1, y_max + out - 1)
            cv2.rectangle(ink, first, last, class_colour(int(label)), 1)
    cv2.rectangle(panel, (0, _BAR_PX), (size[0] - 1, _BAR_PX + size[1] - 1), _GREY, 1)
    n = len(page.labels)
    what = f"truth: {n}" if page.scores is None else f"predicted: {n} (score >= {min_score:g})"
    _write(panel, f"{what}  {page.image}", 2)
    return panel


def _strip(panels: Sequence[Pixels], width: int) -> Pixels:
    """One row of panels, shape ``(H, width, 3)``."""
    strip = np.full((panels[0].shape[0] + _GAP_PX, width, 3), 255, dtype=np.uint8)
    for i, panel in enumerate(panels):
        left = _GAP_PX + i * (panel.shape[1] + _GAP_PX)
        strip[: panel.shape[0], left : left + panel.shape[1]] = panel
    return strip


def _legend(pages: Sequence[Page], names: Sequence[str], width: int) -> Pixels:
    """The drawn classes with their colours and numbers, shape ``(H, width, 3)``."""
    truth, predicted = (
        np.bincount(
            np.concatenate(
                [
                    np.empty(0, dtype=np.int64),
                    *(page.labels for page in pages if (page.scores is None) == is_truth),
                ]
            ),
            minlength=len(names),
        )
        for is_truth in (True, False)
    )
    drawn = np.flatnonzero(truth + predicted)
    columns = max(1, width // _ENTRY_PX)
    n_lines = 1 + -(-len(drawn) // columns)
    legend = np.full((n_lines * _BAR_PX, width, 3), 255, dtype=np.uint8)
    _write(legend, "class: truth / predicted", _GAP_PX)
    for i, label in enumerate(drawn.tolist()):
        line, column = divmod(i, columns)
        top, left = (line + 1) * _BAR_PX, _GAP_PX + column * _ENTRY_PX
        legend[top + 5 : top + 21, left : left + 16] = class_colour(label)
        _write(legend[top:], f"{names[label]}: {truth[label]} / {predicted[label]}", left + 22)
    return legend


def _write(image: Pixels, text: str, left: int) -> None:
    """Write a line of text into the top bar of ``image``."""
    cv2.putText(image, text, (left, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
