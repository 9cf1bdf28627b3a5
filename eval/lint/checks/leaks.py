"""Rules ``leak-image`` and ``leak-work``: images or works that occur in several splits."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from converters.names import page_of, work_of
from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.pages import LintPage

_PIECE = re.compile(r"(?P<piece>.+?)[-_. ]+(page|pg|p)[-_. ]?\d+$", re.IGNORECASE)
"""Name of a page with the number of the page behind a marker: ``sonata-page-3``."""
_WRITER = re.compile(r"(^|[-_])(?P<writer>W-?\d+)([-_]|$)")
"""Writer in names such as ``CVC-MUSCIMA_W-01_N-10_D-ideal``."""


class _Leaks:
    """Collects the splits in which each key, such as a hash or a work, occurs."""

    def __init__(self) -> None:
        self._first: dict[int | str, Example] = {}
        self._splits: dict[int | str, set[str]] = {}

    def _add_key(self, page: LintPage, key: int | str) -> None:
        example = Example(split=page.split, page=page.page.image)
        self._first.setdefault(key, example)
        self._splits.setdefault(key, set()).add(page.split)

    def _occurrences(self, noun: str) -> Iterator[Occurrence]:
        leaked = [key for key, splits in self._splits.items() if len(splits) > 1]
        if leaked:
            pairs = sorted({" and ".join(sorted(self._splits[key])) for key in leaked})
            yield Occurrence(
                class_name="",
                source="",
                count=len(leaked),
                share=len(leaked) / len(self._splits),
                examples=tuple(self._first[key] for key in leaked[:N_EXAMPLES]),
                detail=f"{noun} in {', '.join(pairs)}",
            )


class LeakedImages(_Leaks):
    """Finds equal images in several splits."""

    def __init__(self, _names: Sequence[str], _thresholds: Mapping[str, float]) -> None:
        super().__init__()

    def add(self, page: LintPage) -> None:
        """Add an image; empty tiles of different pages may be equal and are skipped."""
        if len(page.rows) or page.recorded_hash:
            self._add_key(page, page.page_hash())

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the images that occur in several splits."""
        yield from self._occurrences("equal images")


class LeakedWorks(_Leaks):
    """Finds works, pieces and writers in several splits, by the names of their pages."""

    def __init__(self, _names: Sequence[str], _thresholds: Mapping[str, float]) -> None:
        super().__init__()

    def add(self, page: LintPage) -> None:
        """Add the work of an image."""
        if key := work_key(page.page.image):
            self._add_key(page, key)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the works that occur in several splits."""
        yield from self._occurrences("works")


def work_key(image: PurePosixPath) -> str | None:
    """Return the work, writer or piece in the name of an image; None if it contains none.

    Without them, the tiles and augmented copies of a page count as a piece.
    """
    if work := work_of(image):
        return f"lg-{work}"
    page = PurePosixPath(page_of(image))
    if match := _WRITER.search(page.stem):
        return match["writer"]
    if match := _PIECE.match(page.stem):
        return match["piece"]
    return page.stem if page.name != image.name else None
