"""Progress tracking for functions that go through the pages of a data set."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from converters.page import Page

TrackPages: TypeAlias = Callable[[Iterable[Page], int], Iterable[Page]]
"""Yields pages unchanged while showing progress; the second argument is the number of pages."""


def untracked(pages: Iterable[Page], _n_pages: int) -> Iterable[Page]:
    """Return the pages without showing progress."""
    return pages
