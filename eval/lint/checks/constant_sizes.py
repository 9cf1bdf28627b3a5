"""Rule ``constant-size``: boxes of one size, whatever the size of the staves.

Labels that were guessed have a constant size, in pixels or as a fraction of the image. Glyphs of
one class have a constant size only in staff spaces.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.pages import LintPage
from eval.lint.symbol_sizes import SymbolSize, symbol_sizes
from eval.lint.tally import box_example

MAX_SIZES = 5_000
"""Maximum number of sizes that are counted per class and source; rare sizes are dropped."""
DIGITS = 5
"""Decimal places of a size as a fraction of the image."""


@dataclass(slots=True)
class _Size:
    """Boxes of one size."""

    count: int = 0
    n_unusual: int = 0
    """Boxes whose sides differ from the medians of their class on their page."""
    smallest_space: float = np.inf
    """Smallest staff space on the pages of these boxes, in pixels or as a fraction of the image."""
    largest_space: float = 0.0
    examples: list[Example] = field(default_factory=list)


class ConstantSizes:
    """Counts the boxes of equal size, and the range of staff spaces on their pages."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._names, self._thresholds = names, thresholds
        self._sizes: dict[tuple[int, str, str], dict[tuple[float, float], _Size]] = {}
        self._totals: dict[tuple[int, str, str], int] = {}

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image whose staff space is known."""
        rows = np.flatnonzero(page.is_complete)
        if not len(rows) or (space := page.staff_space) is None:
            return
        labels = page.page.labels[rows]
        is_unusual = _is_unusual(labels, page.sides[rows], self._thresholds["unusual"])
        fractions = np.round(page.rows[rows, 3:], DIGITS)
        pixels = np.round(page.sides[rows], 1)
        units = (("px", pixels, space), ("of the image", fractions, space / page.page.width))
        for unit, sizes, unit_space in units:
            keys = np.column_stack((labels, sizes))
            unique, first, counts = np.unique(keys, axis=0, return_index=True, return_counts=True)
            for (label, width, height), i, n in zip(
                unique.tolist(), first.tolist(), counts.tolist(), strict=True
            ):
                group = int(label), page.source, unit
                entry = self._sizes.setdefault(group, {}).setdefault((width, height), _Size())
                self._totals[group] = self._totals.get(group, 0) + n
                entry.count += n
                entry.n_unusual += n * bool(is_unusual[i])
                entry.smallest_space = min(entry.smallest_space, unit_space)
                entry.largest_space = max(entry.largest_space, unit_space)
                if len(entry.examples) < N_EXAMPLES:
                    entry.examples.append(box_example(page, int(rows[i])))
        self._drop_rare_sizes()

    def _drop_rare_sizes(self) -> None:
        for group, sizes in self._sizes.items():
            if len(sizes) > MAX_SIZES:
                kept = sorted(sizes.items(), key=lambda item: -item[1].count)[: MAX_SIZES // 2]
                self._sizes[group] = dict(kept)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the most frequent size of each class and source that staves do not explain."""
        reported: set[tuple[int, str]] = set()
        for group, sizes in self._sizes.items():
            label, source, unit = group
            name, total = self._names[label], self._totals[group]
            constant = [item for item in sizes.items() if self._is_constant(name, item[1], total)]
            if constant and (label, source) not in reported:
                (width, height), entry = max(constant, key=lambda item: item[1].count)
                reported.add((label, source))
                yield Occurrence(
                    class_name=name,
                    source=source,
                    count=entry.count,
                    share=entry.count / total,
                    examples=tuple(entry.examples),
                    detail=f"{width:g} x {height:g} {unit}, on pages whose staff spaces differ by "
                    f"a factor of {entry.largest_space / entry.smallest_space:.2g}",
                )

    def _is_constant(self, name: str, entry: _Size, total: int) -> bool:
        """Return whether too many boxes have a size on pages with too different staff spaces.

        Boxes of the usual size count only if they are a large part of all, because the glyphs of
        two fonts may have the same size in pixels on two pages.
        """
        limits, size = self._thresholds, symbol_sizes().get(name)
        is_glyph = size is not None and _spread(size) <= limits["glyph_spread"]
        has_range = entry.largest_space >= limits["min_range"] * entry.smallest_space
        is_frequent = entry.count >= max(limits["min_share_if_usual"] * total, limits["min_count"])
        is_unusual = entry.n_unusual >= max(limits["min_share"] * total, limits["min_count"])
        return has_range and (is_frequent or (is_glyph and is_unusual))


def _is_unusual(
    labels: NDArray[np.int64], sides: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    """Return which boxes of a page differ in a side from the median of their class, ``(N,)``."""
    result = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        of_class = labels == label
        ratios = sides[of_class] / np.maximum(np.median(sides[of_class], axis=0), 1e-9)
        result[of_class] = ((ratios > 1 + tolerance) | (ratios < 1 / (1 + tolerance))).any(axis=1)
    return result


def _spread(size: SymbolSize) -> float:
    """Return by which factor the sides of a class differ between engraved pages."""
    return max(size.width.high / size.width.low, size.height.high / size.height.low)
