"""Runs that end in the middle, and what is compared when they were repeated."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from converters.tracking import Track

T = TypeVar("T")

SECONDS = re.compile(rb'"seconds": [0-9.]+')
"""What a prediction measures."""


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files by path; times that are measured count as equal."""
    return {
        str(path.relative_to(folder)): SECONDS.sub(b"", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def stop_after(n: int, error: BaseException) -> Track[T]:
    """Return a progress display that raises an error after some items."""

    def track(items: Iterable[T], total: int) -> Iterator[T]:
        assert total > 0
        for i, item in enumerate(items):
            if i == n:
                raise error
            yield item

    return track
