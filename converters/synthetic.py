"""Draws simple pages of music with exact labels, as a DeepScoresV2 folder.

No music data set may come with the project. These pages let it be tried, and tested, without one:
staves, notes, beams, dots, rests and accidentals out of lines and ellipses. They look like music
from afar and claim nothing about real pages.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from class_maps import catalogue
from converters import images

STAFF_SPACE = 17
"""Pixels between staff lines: that of 98 % of DeepScoresV2's pages."""
MARGIN = 3 * STAFF_SPACE
REACH = 3 * STAFF_SPACE
"""Pixels around a point that a single sign stays within."""
SUBPIXEL_BITS = 3
"""OpenCV draws with coordinates in eighths of a pixel."""


@dataclass(kw_only=True)
class _Sheet:
    """A page while it is drawn: the pixels, and the box of every symbol."""

    pixels: images.Pixels
    symbols: list[tuple[str, tuple[int, int, int, int]]] = field(default_factory=list)
    """DeepScoresV2 category and ``(x0, y0, x1, y1)`` in pixels, half open."""

    def ink(self, category: str, x0: float, y0: float, x1: float, y1: float) -> None:
        """Fill a rectangle."""
        box = round(x0), round(y0), round(x1), round(y1)
        self.pixels[box[1] : box[3], box[0] : box[2]] = 0
        self.symbols.append((category, box))

    @contextmanager
    def symbol(self, category: str, x: float, y: float) -> Iterator[None]:
        """Label everything drawn in the block, near ``(x, y)``, as one symbol."""
        left, top = max(0, round(x) - REACH), max(0, round(y) - REACH)
        window = self.pixels[top : top + 2 * REACH, left : left + 2 * REACH]
        before = window.copy()
        yield
        rows, columns = np.nonzero(window != before)
        x0, y0 = left + int(columns.min()), top + int(rows.min())
        x1, y1 = left + int(columns.max()) + 1, top + int(rows.max()) + 1
        self.symbols.append((category, (x0, y0, x1, y1)))


def write(folder: Path, *, pages: int, seed: int = 0, width: int = 960, height: int = 1280) -> Path:
    """Write a DeepScoresV2 folder with ``pages`` pages, two to a work; equal seeds, equal bytes.

    Args:
        folder: To make; gets ``images/`` and ``deepscores_train.json``.
        pages: How many.
        seed: Another one gives other music.
        width: Pixels.
        height: Pixels.

    Returns:
        ``folder``.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    id_of = {(c.annotation_set, c.name): c.id for c in catalogue("deepscoresv2").categories}
    image_rows: list[dict[str, object]] = []
    annotations: dict[str, dict[str, object]] = {}
    for page in range(pages):
        sheet = _page(np.random.default_rng([seed, page]), width, height)
        name = f"lg-{1000 + page // 2}-aug-synthetic--page-{page % 2 + 1}.png"
        images.write(sheet.pixels, folder / "images" / name)
        first = len(annotations) + 1
        for category, box in sheet.symbols:
            annotations[str(len(annotations) + 1)] = _annotation(
                id_of["deepscores", category], box, page + 1
            )
        ids = [str(i) for i in range(first, len(annotations) + 1)]
        image_rows.append(
            {"id": page + 1, "filename": name, "width": width, "height": height, "ann_ids": ids}
        )
    data = {
        "info": {"description": "synthetic pages", "version": "2.0"},
        **vocabulary(),
        "images": image_rows,
        "annotations": annotations,
    }
    (folder / "deepscores_train.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    return folder


def vocabulary() -> dict[str, object]:
    """The ``annotation_sets`` and ``categories`` of a DeepScoresV2 file."""
    known = catalogue("deepscoresv2")
    return {
        "annotation_sets": list(known.annotation_sets),
        "categories": {
            str(c.id): {"name": c.name, "annotation_set": c.annotation_set, "color": c.color}
            for c in known.categories
        },
    }


def _annotation(category: int, box: tuple[int, int, int, int], page: int) -> dict[str, object]:
    x0, y0, x1, y1 = box
    return {
        "a_bbox": [x0, y0, x1, y1],
        "o_bbox": [x1 - 1, y1 - 1, x1 - 1, y0, x0, y0, x0, y1 - 1],
        "cat_id": [str(category), None],
        "area": (x1 - x0) * (y1 - y0),
        "img_id": str(page),
        "comments": "",
    }


def _page(rng: np.random.Generator, width: int, height: int) -> _Sheet:
    sheet = _Sheet(pixels=np.full((height, width), 255, np.uint8))
    top = MARGIN + 2 * STAFF_SPACE
    while top + 7 * STAFF_SPACE < height:
        _staff(sheet, rng, top, width)
        top += 11 * STAFF_SPACE
    return sheet


def _staff(sheet: _Sheet, rng: np.random.Generator, top: int, width: int) -> None:
    left, right = MARGIN, width - MARGIN
    for line in range(5):
        y = top + line * STAFF_SPACE
        sheet.pixels[y - 1 : y + 1, left:right] = 0
    sheet.symbols.append(("staff", (left, top - 1, right, top + 4 * STAFF_SPACE + 1)))
    x = left + 2.0 * STAFF_SPACE
    while x < right - 9 * STAFF_SPACE:
        draw = (_note, _note, _note, _beamed, _rest)[rng.integers(5)]
        x += draw(sheet, rng, x, top) + rng.uniform(0.5, 1.5) * STAFF_SPACE


def _note(sheet: _Sheet, rng: np.random.Generator, x: float, top: int) -> float:
    """A single note, perhaps with a sharp before and a dot behind; returns its width in pixels."""
    kind = str(rng.choice(["Black", "Black", "Half", "Whole"]))
    start, pitch = x, int(rng.integers(-1, 10))  # half spaces below the top line
    if rng.random() < 0.2:
        x += _sharp(sheet, x, top + pitch * STAFF_SPACE / 2)
    right = _head(sheet, kind, x, top, pitch)
    if kind != "Whole":
        _stem(sheet, x, right, top + pitch * STAFF_SPACE / 2, up=pitch >= 4)
    if rng.random() < 0.2:
        y = top + (pitch - 1 + pitch % 2) * STAFF_SPACE / 2
        with sheet.symbol("augmentationDot", right, y):
            _ellipse(sheet, right + 0.5 * STAFF_SPACE, y, 0.22 * STAFF_SPACE, 0.22 * STAFF_SPACE)
        right += 0.7 * STAFF_SPACE
    return right - start


def _head(sheet: _Sheet, kind: str, x: float, top: int, pitch: int) -> float:
    """A notehead whose left edge is at ``x``; returns its right edge."""
    width = {"Black": 1.25, "Half": 1.3, "Whole": 1.7}[kind] * STAFF_SPACE
    y = top + pitch * STAFF_SPACE / 2
    place = "InSpace" if pitch % 2 else "OnLine"
    with sheet.symbol(f"notehead{kind}{place}", x, y):
        _ellipse(sheet, x + width / 2, y, width / 2, 0.5 * STAFF_SPACE)
        if kind != "Black":
            _ellipse(sheet, x + width / 2, y, width / 3, 0.28 * STAFF_SPACE, grey=255)
    return x + width


def _stem(sheet: _Sheet, left: float, right: float, y: float, *, up: bool) -> None:
    length = 3.5 * STAFF_SPACE
    if up:
        sheet.ink("stem", right - 2, y - length, right, y)
    else:
        sheet.ink("stem", left, y, left + 2, y + length)


def _beamed(sheet: _Sheet, rng: np.random.Generator, x: float, top: int) -> float:
    """Two eighths under one beam."""
    low, apart = 5 + int(rng.integers(0, 4)), rng.uniform(2.2, 3) * STAFF_SPACE
    ends = []
    for start in (x, x + apart):
        right = _head(sheet, "Black", start, top, low)
        _stem(sheet, start, right, top + low * STAFF_SPACE / 2, up=True)
        ends.append(right)
    y = top + low * STAFF_SPACE / 2 - 3.5 * STAFF_SPACE
    sheet.ink("beam", ends[0] - 2, y, ends[1], y + 0.5 * STAFF_SPACE)
    return ends[1] - x


def _rest(sheet: _Sheet, rng: np.random.Generator, x: float, top: int) -> float:
    """A whole rest hangs from the second line, a half rest lies on the third."""
    if rng.random() < 0.5:
        name, spaces = "restWhole", 1.0
    else:
        name, spaces = "restHalf", 1.5
    y = top + spaces * STAFF_SPACE
    sheet.ink(name, x, y, x + 1.4 * STAFF_SPACE, y + 0.5 * STAFF_SPACE)
    return 1.4 * STAFF_SPACE


def _sharp(sheet: _Sheet, x: float, y: float) -> float:
    with sheet.symbol("accidentalSharp", x, y):
        for dx in (0.3, 0.65):
            _line(sheet, x + dx * STAFF_SPACE, y - 1.4 * STAFF_SPACE, 0, 2.8 * STAFF_SPACE, 2)
        for dy in (-0.45, 0.35):
            _line(sheet, x, y + (dy + 0.1) * STAFF_SPACE, STAFF_SPACE, -0.2 * STAFF_SPACE, 5)
    return 1.3 * STAFF_SPACE


def _ellipse(sheet: _Sheet, x: float, y: float, rx: float, ry: float, grey: int = 0) -> None:
    unit = 1 << SUBPIXEL_BITS
    centre, axes = (round(x * unit), round(y * unit)), (round(rx * unit), round(ry * unit))
    cv2.ellipse(sheet.pixels, centre, axes, 0, 0, 360, grey, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)


def _line(sheet: _Sheet, x: float, y: float, dx: float, dy: float, thickness: int) -> None:
    start, end = (round(x), round(y)), (round(x + dx), round(y + dy))
    cv2.line(sheet.pixels, start, end, 0, thickness, cv2.LINE_AA)
