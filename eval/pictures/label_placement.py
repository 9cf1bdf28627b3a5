"""Placement of a short text next to every box of a crowded picture.

Shapes: N boxes on a picture of H x W pixels.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rectangle: TypeAlias = tuple[int, int, int, int]
"""``(x_min, y_min, x_max, y_max)`` in whole pixels, half open."""

_NEAR_PX = 3
"""Distance from a box to its text, beyond the frame."""
_FAR_PX = 11
"""Distance from a box to a number for which there is no room nearby."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedText:
    """Text and the rectangle that it fills."""

    text: str
    left: int
    top: int
    width: int
    height: int


def place_labels(
    rectangles: Sequence[Rectangle],
    names: Sequence[str],
    numbers: Sequence[str],
    ink: NDArray[np.bool_],
    measure: Callable[[str], tuple[int, int]],
) -> list[PlacedText | None]:
    """Place the name of every box where it hides nothing, or else the number of its class.

    Small boxes choose first, because large boxes have more room around them.

    Args:
        rectangles: Boxes, N of them.
        names: Name of each box; rare names are placed first.
        numbers: Number of each box.
        ink: Pixels that texts should not hide, shape ``(H, W)``.
        measure: Function that returns width and height of a text in pixels.

    Returns:
        Text of each box; None if even a number would overlap another text.
    """
    room = _Room(ink)
    order = sorted(range(len(rectangles)), key=lambda i: (_area(rectangles[i]), i))
    placed: list[PlacedText | None] = [None] * len(rectangles)
    for i in order:
        placed[i] = room.occupy_best(rectangles[i], numbers[i], measure(numbers[i]))
    frequency = Counter(names)
    for i in sorted(order, key=lambda i: frequency[names[i]]):
        number = placed[i]
        if number:
            room.vacate(number)
        text = room.find_free(rectangles[i], names[i], measure(names[i])) or number
        if text:
            room.occupy(text)
        placed[i] = text
    return placed


class _Room:
    """Pixels of a picture that ink and texts occupy."""

    def __init__(self, ink: NDArray[np.bool_]) -> None:
        self._ink = ink
        self._texts = np.zeros_like(ink)
        self._without_room: set[tuple[Rectangle, str, bool]] = set()
        """Boxes and texts without a position, and whether it may hide ink; until one is vacated."""

    def find_free(self, box: Rectangle, text: str, size: tuple[int, int]) -> PlacedText | None:
        """Return the first position near the box that hides nothing."""
        key = box, text, False
        if key in self._without_room:
            return None
        for candidate in self._candidates(box, text, size, _NEAR_PX):
            if not self._n_hidden(candidate):
                return candidate
        self._without_room.add(key)
        return None

    def occupy_best(self, box: Rectangle, text: str, size: tuple[int, int]) -> PlacedText | None:
        """Occupy and return the position that hides the least ink."""
        key = box, text, True
        if key in self._without_room:
            return None
        candidates = [
            candidate
            for distance in (_NEAR_PX, _FAR_PX)
            for candidate in self._candidates(box, text, size, distance)
        ]
        best = min(candidates, key=self._n_hidden, default=None)
        if best:
            self.occupy(best)
        else:
            self._without_room.add(key)
        return best

    def occupy(self, text: PlacedText) -> None:
        self._texts[_window(text)] = True

    def vacate(self, text: PlacedText) -> None:
        self._texts[_window(text)] = False
        self._without_room.clear()

    def _n_hidden(self, text: PlacedText) -> int:
        return int(np.count_nonzero(self._ink[_window(text)]))

    def _candidates(
        self, box: Rectangle, text: str, size: tuple[int, int], distance: int
    ) -> Iterator[PlacedText]:
        """Yield positions around the box that are inside the picture and overlap no text."""
        width, height = size
        for left, top in _positions(box, width, height, distance):
            candidate = PlacedText(text=text, left=left, top=top, width=width, height=height)
            right, bottom = left + width, top + height
            inside = left >= 0 and top >= 0
            inside = inside and right <= self._ink.shape[1] and bottom <= self._ink.shape[0]
            if inside and not self._texts[_window(candidate)].any():
                yield candidate


def _positions(box: Rectangle, width: int, height: int, distance: int) -> Iterator[tuple[int, int]]:
    """Yield the top left corners of a text right of, above, below and left of a box."""
    x0, y0, x1, y1 = box
    rows = (y0, y1 - height, (y0 + y1 - height) // 2)
    columns = (x0, x1 - width, (x0 + x1 - width) // 2)
    yield from ((x1 + distance, top) for top in rows)
    yield from ((left, y0 - distance - height) for left in columns)
    yield from ((left, y1 + distance) for left in columns)
    yield from ((x0 - distance - width, top) for top in rows)


def _window(text: PlacedText) -> tuple[slice, slice]:
    return slice(text.top, text.top + text.height), slice(text.left, text.left + text.width)


def _area(box: Rectangle) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
