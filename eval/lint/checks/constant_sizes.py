"""Rule ``constant-size``: boxes of one size, whatever the size of the staves.

Labels that were guessed have a constant size, in pixels or as a fraction of the image. Glyphs of
one class have a constant size only in staff spaces.

Shapes: N boxes of a page, R rows of the table of sizes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.pages import LintPage
from eval.lint.symbol_sizes import SymbolSize, symbol_sizes

UNITS = (("px", 0.1), ("of the image", 1e-5))
"""Units of a size, and their resolution."""
MAX_SIZES = 100_000
"""Maximum number of sizes in memory; rare sizes are dropped."""
MAX_WAITING = 200_000
"""Rows from which those of the last pages are added to the table."""
KEY = ("label", "source", "unit", "width", "height")
_ROW = np.dtype(
    [
        *((name, np.int64) for name in KEY),
        ("count", np.int64),
        ("n_unusual", np.int64),  # boxes whose sides differ from the medians of class and page
        ("smallest_space", np.float64),  # of the pages of these boxes, in the unit
        ("largest_space", np.float64),
        ("page", np.int64),
        ("box_xyxy", np.float64, 4),
    ]
)
"""Boxes of one size. Up to three rows of a size are examples; the first one has the counts."""


class ConstantSizes:
    """Counts the boxes of equal size, and the range of staff spaces on their pages."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._names, self._thresholds = names, thresholds
        self._sources: list[str] = []
        self._pages: list[tuple[str, PurePosixPath]] = []
        self._totals: Counter[tuple[int, int]] = Counter()
        self._sizes = np.empty(0, _ROW)
        self._waiting: list[NDArray[Any]] = []

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image whose staff space is known."""
        rows = np.flatnonzero(page.is_complete)
        if not len(rows) or (space := page.staff_space) is None:
            return
        if page.source not in self._sources:
            self._sources.append(page.source)
        source, labels = self._sources.index(page.source), page.page.labels[rows]
        for label, n in enumerate(np.bincount(labels).tolist()):
            self._totals[label, source] += n
        units = ((page.sides[rows], space), (page.rows[rows, 3:], space / page.page.width))
        for unit, (sides, unit_space) in enumerate(units):
            table = np.empty(len(rows), _ROW)
            table["label"], table["source"], table["unit"] = labels, source, unit
            table["width"], table["height"] = np.rint(sides / UNITS[unit][1]).T
            table["count"] = 1
            table["n_unusual"] = _is_unusual(labels, page.sides[rows], self._thresholds["unusual"])
            table["smallest_space"] = table["largest_space"] = unit_space
            table["page"], table["box_xyxy"] = len(self._pages), page.page.boxes_xyxy[rows]
            self._waiting.append(table)
        self._pages.append((page.split, page.page.image))
        if sum(map(len, self._waiting)) >= MAX_WAITING:
            self._combine()

    def _combine(self) -> None:
        self._sizes = _combined(np.concatenate((self._sizes, *self._waiting)))
        self._waiting = []

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the most frequent size of each class and source that staves do not explain."""
        self._combine()
        starts = np.flatnonzero(self._sizes["count"])
        starts = starts[np.argsort(-self._sizes["count"][starts], kind="stable")]
        limits, first = self._thresholds, self._sizes[starts]
        has_range = first["largest_space"] >= limits["min_range"] * first["smallest_space"]
        reported: set[tuple[int, int]] = set()
        for start in starts[has_range & (first["count"] >= limits["min_count"])].tolist():
            size = self._sizes[start]
            group = int(size["label"]), int(size["source"])
            if group not in reported and self._is_constant(size, self._totals[group]):
                reported.add(group)
                yield self._occurrence(start)

    def _is_constant(self, size: NDArray[Any], total: int) -> bool:
        """Return whether too many boxes have a size on pages with too different staff spaces.

        Boxes of the usual size count only if they are a large part of all, because the glyphs of
        two fonts may have the same size in pixels on two pages.
        """
        limits, known = self._thresholds, symbol_sizes().get(self._names[int(size["label"])])
        is_glyph = known is not None and _spread(known) <= limits["glyph_spread"]
        is_frequent = size["count"] >= limits["min_share_if_usual"] * total
        is_unusual = size["n_unusual"] >= max(limits["min_share"] * total, limits["min_count"])
        return bool(is_frequent or (is_glyph and is_unusual))

    def _occurrence(self, start: int) -> Occurrence:
        """Describe the size in a row of the table, and its examples in the rows after it."""
        size, label, source = self._sizes[start], *map(int, self._sizes[start][["label", "source"]])
        alike = self._sizes[start : start + N_EXAMPLES]
        examples = alike[(alike[list(KEY)] == size[list(KEY)])]
        unit, resolution = UNITS[int(size["unit"])]
        width, height = resolution * int(size["width"]), resolution * int(size["height"])
        return Occurrence(
            class_name=self._names[label],
            source=self._sources[source],
            count=int(size["count"]),
            share=int(size["count"]) / self._totals[label, source],
            examples=tuple(map(self._example, examples)),
            detail=f"{width:g} x {height:g} {unit}, on pages whose staff spaces differ by "
            f"a factor of {size['largest_space'] / size['smallest_space']:.2g}",
        )

    def _example(self, row: NDArray[Any]) -> Example:
        split, image = self._pages[int(row["page"])]
        x_min, y_min, x_max, y_max = row["box_xyxy"].tolist()
        return Example(split=split, page=image, box_xyxy=(x_min, y_min, x_max, y_max))


def _combined(rows: NDArray[Any]) -> NDArray[Any]:
    """Sort the rows by size, add up those of one size, and keep three of them, shape ``(R,)``."""
    if not len(rows):
        return rows
    rows = rows[np.lexsort([rows[name] for name in reversed(KEY)])]  # stable
    is_first = np.ones(len(rows), bool)
    is_first[1:] = np.any([rows[name][1:] != rows[name][:-1] for name in KEY], axis=0)
    starts, size = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    totals = {
        name: total.reduceat(rows[name], starts)
        for name, total in (
            ("count", np.add),
            ("n_unusual", np.add),
            ("smallest_space", np.minimum),
            ("largest_space", np.maximum),
        )
    }
    rows["count"] = rows["n_unusual"] = 0
    for name, values in totals.items():
        rows[name][starts] = values
    is_kept = np.arange(len(rows)) - starts[size] < N_EXAMPLES
    if len(starts) > MAX_SIZES:
        is_frequent = np.zeros(len(starts), bool)
        is_frequent[np.argsort(-totals["count"], kind="stable")[: MAX_SIZES // 2]] = True
        is_kept &= is_frequent[size]
    return np.asarray(rows[is_kept])


def _is_unusual(
    labels: NDArray[np.int64], sides: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    """Return which boxes of a page differ in a side from the median of their class, ``(N,)``."""
    counts = np.bincount(labels)
    ends = np.cumsum(counts)
    result = np.zeros(len(labels), bool)
    for side in sides.T:
        ordered = side[np.lexsort((side, labels))]
        lower, upper = (ends - counts + (counts - 1) // 2), (ends - counts + counts // 2)
        last = len(ordered) - 1  # for classes that the page lacks
        medians = (ordered[lower.clip(0, last)] + ordered[upper.clip(0, last)]) / 2
        ratios = side / np.maximum(medians, 1e-9)[labels]
        result |= (ratios > 1 + tolerance) | (ratios < 1 / (1 + tolerance))
    return result


def _spread(size: SymbolSize) -> float:
    """Return by which factor the sides of a class differ between engraved pages."""
    return max(size.width.high / size.width.low, size.height.high / size.height.low)
