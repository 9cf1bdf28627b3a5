"""Rules ``leak-image``, ``leak-similar`` and ``leak-work``: pages or works in several splits."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.page_groups import work_key, writer_of
from converters.splitting.leaks import MIN_SYMBOLS_OF_TILE
from converters.splitting.perceptual_hash import copies_between_splits, perceptual_hash
from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.ink_check import InkCheck
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


class SimilarImages(InkCheck[NDArray[np.uint64]]):
    """Finds copies of images in other splits that were scaled, cropped, shifted or re-encoded."""

    def __init__(self, _names: Sequence[str], _thresholds: Mapping[str, float]) -> None:
        self._examples: list[Example] = []
        self._paths: list[Path] = []
        self._page_hashes: list[int] = []
        self._hashes: list[NDArray[np.uint64]] = []

    def measure(self, page: LintPage) -> NDArray[np.uint64] | None:
        """Return the perceptual hashes of an image; None if it has too few symbols.

        They take a seventh of the time of all rules that read pixels, so they are not computed if
        there is no other split.
        """
        if not (page.may_be_read and page.has_other_splits):
            return None
        if len(page.rows) < (MIN_SYMBOLS_OF_TILE if page.is_tile else 1):
            return None
        return perceptual_hash(page.pixels)

    def count(self, page: LintPage, measured: NDArray[np.uint64]) -> None:
        """Add the hashes of an image."""
        self._examples.append(Example(split=page.split, page=page.page.image))
        self._paths.append(page.path)
        self._page_hashes.append(page.page_hash())
        self._hashes.append(measured)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the images that have a copy in a later split, apart from equal images."""
        splits = [example.split for example in self._examples]
        if len(set(splits)) < 2:
            return
        copy_of: dict[int, int] = {}
        for i, j in copies_between_splits(self._paths, splits, np.array(self._hashes)):
            if self._page_hashes[i] != self._page_hashes[j]:
                copy_of.setdefault(i, j)
        if copy_of:
            first, *_ = copy_of.values()
            yield Occurrence(
                class_name="",
                source="",
                count=len(copy_of),
                share=len(copy_of) / len(splits),
                examples=tuple(self._examples[i] for i in [*copy_of][:N_EXAMPLES]),
                detail=f"the example is a copy of {self._examples[first].text}",
            )


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
