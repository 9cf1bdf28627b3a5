"""Groups of pages that belong to one side of a split, by the names of their images."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from converters.names import page_of, work_of

GroupBy = Literal["work", "piece", "writer", "font", "source"]
"""Unit that is never divided between two splits."""


@dataclass(kw_only=True, slots=True)
class DisjointGroups:
    """Disjoint sets of keys: keys that were joined are in the same set."""

    parents: dict[str, str] = field(default_factory=dict)

    def find(self, key: str) -> str:
        """Return the key that stands for the set of a key."""
        root = key
        while (parent := self.parents.setdefault(root, root)) != root:
            root = parent
        while (parent := self.parents[key]) != root:
            self.parents[key], key = root, parent
        return root

    def join(self, keys: Iterable[str]) -> None:
        """Join the sets of some keys."""
        first, *others = sorted(set(map(self.find, keys)))
        self.parents.update(dict.fromkeys(others, first))


_PIECE = re.compile(r"(?P<piece>.+?)[-_. ]+(page|pg|p)[-_. ]?\d+$", re.IGNORECASE)
"""Name of a page with the number of the page behind a marker: ``sonata-page-3``."""
_WRITER = re.compile(r"(^|[-_])(?P<writer>W-?\d+)([-_]|$)")
"""Writer in names such as ``CVC-MUSCIMA_W-01_N-10_D-ideal``."""
_FONT = re.compile(r"lg-\d+-aug-(?P<font>.+?)(-\d{6})?--page-\d+$")
"""Font in names such as ``lg-2-aug-beethoven--page-1``, before the number of an engraved page."""


def writer_of(image: PurePosixPath) -> str | None:
    """Return the writer in the name of a page; None if it contains none."""
    match = _WRITER.search(_stem(image))
    return match["writer"] if match else None


def piece_of(image: PurePosixPath) -> str | None:
    """Return the piece in the name of a page; None if it contains none."""
    match = _PIECE.match(_stem(image))
    return match["piece"] if match else None


def font_of(image: PurePosixPath) -> str | None:
    """Return the font in the name of a page; None if it contains none."""
    match = _FONT.match(_stem(image))
    return match["font"] if match else None


def work_key(image: PurePosixPath) -> str | None:
    """Return the work, writer or piece in the name of an image; None if it contains none.

    Without them, the tiles and augmented copies of a page count as a piece.
    """
    if work := work_of(image):
        return f"lg-{work}"
    if key := writer_of(image) or piece_of(image):
        return key
    page = PurePosixPath(page_of(image))
    return page.stem if page.name != image.name else None


def _stem(image: PurePosixPath) -> str:
    return PurePosixPath(page_of(image)).stem
