"""Choice of the symbols that contact sheets show.

Shapes: N boxes of an image.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from eval.lint.findings import Finding
from eval.lint.pages import LintPage

RANDOM, LARGEST, SMALLEST = "random", "largest", "smallest"
"""Reasons to show a symbol, besides the rules of ``omr lint``."""
MOST_OF_A_PAGE = 4
"""Maximum number of random symbols of a class from one image, so that crops differ."""
N_EXTREME = 4
"""Number of largest symbols of a class and source, and of smallest ones."""

Group: TypeAlias = tuple[str, str]
"""Class name and source; the source is empty if the data set has only one."""
Box: TypeAlias = tuple[float, float, float, float]
_Ranked: TypeAlias = "tuple[float, int, ChosenSymbol]"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenSymbol:
    """A symbol to show."""

    class_name: str
    source: str
    split: str
    image: PurePosixPath
    """Image, relative to the image folder of its split."""
    path: Path
    staff_space: float | None
    """Staff space of the image in pixels according to the manifest; None if it is not recorded."""
    box_xyxy: Box
    """Box in pixels of the image."""
    reason: str
    """``random``, ``largest``, ``smallest``, or the id of a rule of ``omr lint``."""
    predicted_xyxy: Box | None = None
    """Box of a prediction to show as well, in pixels of the image."""


class Selector:
    """Chooses symbols of every class and source from images that are added one by one.

    Random symbols come from the images whose names have the lowest hashes, so that the choice does
    not depend on the order of the images, and few images need to be decoded.

    Args:
        names: Class names, indexed by label.
        n_random: Number of random symbols per class and source.
        n_extreme: Number of largest and of smallest symbols per class and source; the size is in
            staff spaces, so images without a recorded staff space have none.
    """

    def __init__(self, names: Sequence[str], n_random: int, n_extreme: int = N_EXTREME) -> None:
        self._names = names
        self._sizes = {RANDOM: n_random, LARGEST: n_extreme, SMALLEST: n_extreme}
        self._heaps: dict[tuple[Group, str], list[_Ranked]] = {}
        self._images: dict[tuple[str, PurePosixPath], tuple[Path, float | None, str]] = {}
        self._n_added = 0
        self.counts: Counter[Group] = Counter()
        """Number of symbols of every class and source."""

    def add(self, page: LintPage) -> None:
        """Consider the symbols of an image."""
        self._images[page.split, page.page.image] = page.path, page.recorded_space, page.source
        digest = int.from_bytes(sha256(page.page.image.as_posix().encode()).digest()[:8], "big")
        order = np.random.default_rng(digest).permutation(len(page.rows))
        for label in np.unique(page.page.labels).tolist():
            rows = order[page.page.labels[order] == label]
            group = self._names[label], page.source
            self.counts[group] += len(rows)
            for row in rows[:MOST_OF_A_PAGE]:
                self._offer(group, RANDOM, -digest, page, row)
            self._add_extremes(group, page, rows)

    def _add_extremes(self, group: Group, page: LintPage, rows: NDArray[np.intp]) -> None:
        if page.recorded_space is None:
            return
        complete = rows[page.is_complete[rows]]
        sizes = page.sides[complete].max(axis=1) / page.recorded_space
        for position in np.argsort(sizes)[: self._sizes[SMALLEST]]:
            self._offer(group, SMALLEST, -sizes[position], page, complete[position])
        for position in np.argsort(-sizes)[: self._sizes[LARGEST]]:
            self._offer(group, LARGEST, sizes[position], page, complete[position])

    def _offer(self, group: Group, reason: str, rank: float, page: LintPage, row: int) -> None:
        """Keep a symbol if its rank is among the highest so far."""
        heap = self._heaps.setdefault((group, reason), [])
        self._n_added += 1
        if len(heap) == self._sizes[reason] and (not heap or rank <= heap[0][0]):
            return
        x0, y0, x1, y1 = page.page.boxes_xyxy[row].tolist()
        symbol = ChosenSymbol(
            class_name=group[0],
            source=group[1],
            split=page.split,
            image=page.page.image,
            path=page.path,
            staff_space=page.recorded_space,
            box_xyxy=(x0, y0, x1, y1),
            reason=reason,
        )
        heapq.heappush(heap, (rank, -self._n_added, symbol))
        if len(heap) > self._sizes[reason]:
            heapq.heappop(heap)

    def chosen(self, findings: Iterable[Finding] = ()) -> list[ChosenSymbol]:
        """Return the chosen symbols by class and source, each once.

        Args:
            findings: Findings of ``omr lint``, whose examples are shown first.
        """
        candidates = [*self._examples(findings)]
        for group in self.counts:
            for reason in (LARGEST, SMALLEST, RANDOM):
                ranked = sorted(self._heaps.get((group, reason), []), reverse=True)
                candidates += [symbol for *_, symbol in ranked]
        distinct: dict[tuple[object, ...], ChosenSymbol] = {}
        for symbol in candidates:
            key = symbol.class_name, symbol.split, symbol.image, symbol.box_xyxy
            distinct.setdefault(key, symbol)
        order = {group: i for i, group in enumerate(sorted(self.counts))}
        return sorted(distinct.values(), key=lambda s: order[s.class_name, s.source])

    def _examples(self, findings: Iterable[Finding]) -> Iterator[ChosenSymbol]:
        for finding in findings:
            for example in finding.occurrence.examples:
                path, space, source = self._images[example.split, example.page]
                for name in finding.occurrence.class_name.split(" + "):
                    if example.box_xyxy and (name, source) in self.counts:
                        yield ChosenSymbol(
                            class_name=name,
                            source=source,
                            split=example.split,
                            image=example.page,
                            path=path,
                            staff_space=space,
                            box_xyxy=example.box_xyxy,
                            reason=finding.rule,
                        )
