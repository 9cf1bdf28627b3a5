"""Rules ``leak-image`` and ``leak-work``: images or works that occur in several splits."""

from collections.abc import Iterator, Mapping, Sequence

from converters.page_groups import work_key, writer_of
from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.pages import LintPage


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
    """Finds writers, works and pieces in several splits, by the names of their pages.

    A work in the manifest takes precedence over the name, except for the writer, as in ``omr
    split``.
    """

    def __init__(self, _names: Sequence[str], _thresholds: Mapping[str, float]) -> None:
        super().__init__()

    def add(self, page: LintPage) -> None:
        """Add the work of an image."""
        image, recorded = page.page.image, page.recorded_work
        key = (writer_of(image) or f"lg-{recorded}") if recorded else work_key(image)
        if key:
            self._add_key(page, key)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the works that occur in several splits."""
        yield from self._occurrences("works")
