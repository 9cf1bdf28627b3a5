"""Parser of YOLO label files, with errors that name the line.

Shapes: N lines of a file.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from class_maps import InputError, shortened
from class_maps.text_files import decoded
from converters.boxes import NOISE, Boxes, xyxy_to_cxcywh
from converters.names import IMAGE_FOLDER, LABELS
from converters.page import Page

TRACKED = 7
"""Numbers in a line of a tracked box, which ends with a confidence and an integer; as many as of a
triangle, whose last coordinate is a fraction of the image."""
EXPECTED = "expected label, x_centre, y_centre, width, height"


class LabelRows(NamedTuple):
    """The rows of a label file."""

    rows: NDArray[np.float64]
    """Label, then centre, width and height as fractions of the image, shape ``(N, 5)``."""
    is_polygon: NDArray[np.bool_]
    """True for the box around a polygon, shape ``(N,)``."""


def label_path(image: Path) -> Path:
    """Derive an image's label file as Ultralytics does: ``labels/a.txt`` for ``images/a.png``."""
    parts = list(image.parts)
    last = len(parts) - 1 - parts[::-1].index(IMAGE_FOLDER) if IMAGE_FOLDER in parts else None
    if last is not None:
        parts[last] = LABELS
    return Path(*parts).with_suffix(".txt")


def millionths(page: Page) -> NDArray[np.int32]:
    """Return centre, width and height of the boxes in millionths of the image, shape ``(N, 4)``."""
    sides = np.array([page.width, page.height, page.width, page.height])
    return in_millionths(page.boxes_xyxy, sides)


def in_millionths(boxes_xyxy: Boxes, sides: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return centre, width and height of boxes in millionths of their images, shape ``(N, 4)``.

    Args:
        boxes_xyxy: Boxes in pixels, shape ``(N, 4)``.
        sides: Width, height, width and height of the image, shape ``(4,)``, or ``(N, 4)`` for each
            box.
    """
    return np.rint(xyxy_to_cxcywh(boxes_xyxy) / sides * 1_000_000).astype(np.int32)


def parse(content: bytes, path: Path, n_names: int) -> LabelRows:
    """Parse a label file.

    Args:
        content: Bytes of the file.
        path: Label file, for error messages.
        n_names: Number of names; labels must be less than this number.

    Raises:
        InputError: A line is malformed.
    """
    text = decoded(content, path)
    rows = [line.split() for line in text.splitlines()]
    table = _boxes(rows, n_names) if text.isascii() and "_" not in text else None
    if table is None:
        return _line_by_line(rows, path, n_names)
    return LabelRows(table, np.zeros(len(table), bool))


def _boxes(rows: Sequence[Sequence[str]], n_names: int) -> NDArray[np.float64] | None:
    """Parse lines of boxes, shape ``(N, 5)``; None if a line needs closer inspection.

    Optimised for speed: large data sets have millions of lines, nearly all of them valid.
    """
    if not {0, 5}.issuperset(map(len, rows)):
        return None
    tokens = [*chain.from_iterable(rows)]
    try:
        table = np.fromiter(map(float, tokens), np.float64, len(tokens)).reshape(-1, 5)
    except ValueError:
        return None
    labels, coordinates = table[:, 0], table[:, 1:]
    is_valid = ((labels >= 0) & (labels < n_names) & (labels % 1 == 0)).all()
    is_valid &= ((coordinates >= -NOISE) & (coordinates <= 1 + NOISE)).all()
    coordinates.clip(0, 1, out=coordinates)  # beyond by rounding
    return table if is_valid else None


def _line_by_line(rows: Sequence[Sequence[str]], path: Path, n_names: int) -> LabelRows:
    parsed, is_polygon = [], []
    for i, row in enumerate(rows):
        if not row:
            continue
        numbers = _numbers(row)
        if problem := _problem(row, numbers, n_names):
            raise InputError(problem, path=path, where=f"line {i + 1}")
        parsed.append(_as_box(numbers))
        is_polygon.append(len(numbers) > 5)
    return LabelRows(np.array(parsed, np.float64).reshape(-1, 5), np.array(is_polygon, bool))


def _numbers(row: Sequence[str]) -> list[float]:
    """Convert the words of a line to numbers; empty if a word is not a number."""
    if "_" in "".join(row) or not "".join(row).isascii():  # which Python reads as digits
        return []
    try:
        return [float(word) for word in row]
    except ValueError:
        return []


def _problem(row: Sequence[str], numbers: Sequence[float], n_names: int) -> str | None:
    """Describe the problem with a line; None if it is valid."""
    line = shortened(" ".join(row))
    is_tracked = len(row) == TRACKED and row[-1].isdecimal()
    if len(numbers) != 5 and (len(numbers) < 7 or len(numbers) % 2 == 0 or is_tracked):
        remedy = ""
        if "," in line:
            remedy = "; separate the numbers by spaces"
        if len(numbers) == 6:
            remedy = "; remove the sixth number, if it is a confidence"
        if is_tracked:
            remedy = "; remove the last two numbers, if they are a confidence and a track id"
        return f"{EXPECTED}, got: {line}{remedy}"
    label = shortened(row[0])
    if numbers[0] % 1:
        return f"label {label} is not a whole number"
    if not 0 <= numbers[0] < n_names:
        known = "there is 1 name" if n_names == 1 else f"there are {n_names} names"
        return f"label {label} has no name; {known}"
    if not all(-NOISE <= number <= 1 + NOISE for number in numbers[1:]):
        return f"expected coordinates from 0 to 1, got: {line}"
    return None


def _as_box(numbers: Sequence[float]) -> list[float]:
    """Return the label and box of a line; the box around a polygon ``x y x y x y ...``."""
    label, *coordinates = numbers
    coordinates = [min(max(number, 0.0), 1.0) for number in coordinates]
    if len(coordinates) == 4:
        return [label, *coordinates]
    x, y = coordinates[::2], coordinates[1::2]
    centre = (min(x) + max(x)) / 2, (min(y) + max(y)) / 2
    return [label, *centre, max(x) - min(x), max(y) - min(y)]
