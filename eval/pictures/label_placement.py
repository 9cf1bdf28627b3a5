"""Finds room for a short text beside every box of a crowded picture.

Shapes: N boxes on a picture of H x W pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rectangle: TypeAlias = tuple[int, int, int, int]
"""``(x_min, y_min, x_max, y_max)`` in whole pixels, half open."""

_NEAR_PX = 3
"""From a box to its text: beyond the frame."""
_FAR_PX = 11
"""Where the place near by is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tag:
    """A text and the rectangle that it fills."""

    text: str
    left: int
    top: int
    width: int
    height: int


def place(
    rectangles: Sequence[Rectangle],
    names: Sequence[str],
    numbers: Sequence[str],
    taken: NDArray[np.bool_],
    measure: Callable[[str], tuple[int, int]],
) -> list[Tag | None]:
    """Give every box its number, and instead of it its name where that hides nothing.

    Small boxes choose first: large ones have more room around them.

    Args:
        rectangles: N boxes.
        names: A name for each; the rarer ones are written out first.
        numbers: A short text for each.
        taken: Shape ``(H, W)``: pixels that a text had better leave free.
        measure: Width and height of a text in pixels.

    Returns:
        The text of each box; None where even a number would lie on another text.
    """
    room = _Room(taken)
    order = sorted(range(len(rectangles)), key=lambda i: (_area(rectangles[i]), i))
    tags: list[Tag | None] = [None] * len(rectangles)
    for i in order:
        tags[i] = room.best(rectangles[i], numbers[i], measure(numbers[i]))
    frequency = {name: names.count(name) for name in set(names)}
    for i in sorted(order, key=lambda i: frequency[names[i]]):
        number = tags[i]
        if number:
            room.leave(number)
        tag = room.free(rectangles[i], names[i], measure(names[i])) or number
        if tag:
            room.take(tag)
        tags[i] = tag
    return tags


class _Room:
    """What of a picture is taken, by ink and by texts."""

    def __init__(self, taken: NDArray[np.bool_]) -> None:
        self._ink = taken
        self._texts = np.zeros_like(taken)

    def free(self, box: Rectangle, text: str, size: tuple[int, int]) -> Tag | None:
        """The first place near the box where nothing is hidden."""
        for tag in self._candidates(box, text, size, _NEAR_PX):
            if not self._hidden(tag):
                return tag
        return None

    def best(self, box: Rectangle, text: str, size: tuple[int, int]) -> Tag | None:
        """The place where least is hidden, taken at once."""
        tags = [t for d in (_NEAR_PX, _FAR_PX) for t in self._candidates(box, text, size, d)]
        tag = min(tags, key=self._hidden, default=None)
        if tag:
            self.take(tag)
        return tag

    def take(self, tag: Tag) -> None:
        self._texts[_window(tag)] = True

    def leave(self, tag: Tag) -> None:
        self._texts[_window(tag)] = False

    def _hidden(self, tag: Tag) -> int:
        return int(np.count_nonzero(self._ink[_window(tag)]))

    def _candidates(
        self, box: Rectangle, text: str, size: tuple[int, int], distance: int
    ) -> Iterator[Tag]:
        """Places around the box that are on the picture and on no other text."""
        width, height = size
        for left, top in _around(box, width, height, distance):
            tag = Tag(text=text, left=left, top=top, width=width, height=height)
            right, bottom = left + width, top + height
            inside = left >= 0 and top >= 0
            inside = inside and right <= self._ink.shape[1] and bottom <= self._ink.shape[0]
            if inside and not self._texts[_window(tag)].any():
                yield tag


def _around(box: Rectangle, width: int, height: int, distance: int) -> Iterator[tuple[int, int]]:
    """Left upper corners of a text beside, above and below a box."""
    x0, y0, x1, y1 = box
    rows = (y0, y1 - height, (y0 + y1 - height) // 2)
    columns = (x0, x1 - width, (x0 + x1 - width) // 2)
    yield from ((x1 + distance, top) for top in rows)
    yield from ((left, y0 - distance - height) for left in columns)
    yield from ((left, y1 + distance) for left in columns)
    yield from ((x0 - distance - width, top) for top in rows)


def _window(tag: Tag) -> tuple[slice, slice]:
    return slice(tag.top, tag.top + tag.height), slice(tag.left, tag.left + tag.width)


def _area(box: Rectangle) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
