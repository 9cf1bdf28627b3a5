"""Progress tracking for functions that go through many items."""

from collections.abc import Callable, Iterable
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Track: TypeAlias = Callable[[Iterable[T], int], Iterable[T]]
"""Yields items unchanged while showing progress; the second argument is the number of items."""

Say: TypeAlias = Callable[[str], None]
"""Receives a line for the user."""


def untracked(items: Iterable[T], *_description: object) -> Iterable[T]:
    """Return the items without showing progress."""
    return items


def unsaid(_line: str) -> None:
    """Say nothing."""
