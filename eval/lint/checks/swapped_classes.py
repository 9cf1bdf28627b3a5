"""Rule ``swapped-classes``: symbols that look like another class than their distance.

Shapes: N boxes of a page.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.lint.findings import Occurrence
from eval.lint.ink_check import InkCheck
from eval.lint.pages import LintPage
from eval.lint.symbol_shapes import are_alike, distances, features, symbol_shapes
from eval.lint.tally import BoxTally

MIN_FAR = 0.15
"""Distance from the shapes of its class at which a symbol may be typical of the class, whatever the
pages show from which the shapes were learnt."""


class SwappedClasses(InkCheck[NDArray[np.int64]]):
    """Counts the boxes whose ink has the shape of another class, by pair of classes."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._names, self._thresholds = names, thresholds
        table = symbol_shapes()
        self._known = {i: table[name] for i, name in enumerate(names) if name in table}
        self._shapes = {i: np.array(known.shapes) for i, known in self._known.items()}
        self._tally = BoxTally(names=names)

    def measure(self, page: LintPage) -> NDArray[np.int64] | None:
        """Return the class that each box of an image with staves looks like, shape ``(N,)``."""
        is_known = self._is_known(page)
        if not is_known.any() or (ink := page.ink) is None or (space := page.staff_space) is None:
            return None
        rows = np.flatnonzero(is_known)
        labels = page.page.labels[rows]
        described = features(ink.sums, page.page.boxes_xyxy[rows], space)
        looks_like = page.page.labels.copy()
        for label in np.unique(labels).tolist():
            of_class = np.flatnonzero(labels == label)
            distance = distances(described[of_class], self._shapes[label])
            far = max(self._known[label].far, MIN_FAR)
            for row in of_class[distance > self._thresholds["factor"] * far].tolist():
                other = self._most_similar(described[row : row + 1])
                if other is not None and not self._alike(label, other):
                    looks_like[rows[row]] = other
        return looks_like

    def count(self, page: LintPage, measured: NDArray[np.int64]) -> None:
        """Add the boxes of an image."""
        self._tally.check(page, self._is_known(page))
        is_swapped = measured != page.page.labels
        for other in np.unique(measured[is_swapped]).tolist():
            detail = f"look like {self._names[other]}"
            self._tally.flag(page, is_swapped & (measured == other), detail)

    def _is_known(self, page: LintPage) -> NDArray[np.bool_]:
        """Return the boxes of a class with a known shape, shape ``(N,)``."""
        return np.isin(page.page.labels, list(self._known)) & page.is_complete

    def _alike(self, first: int, second: int) -> bool:
        """Return whether two classes have the same glyph, such as accidentals by their role."""
        return are_alike(self._names[first], self._names[second])

    def _most_similar(self, described: NDArray[np.float64]) -> int | None:
        """Return the class that features ``(1, F)`` are typical of; None if they fit no class."""
        ratios = {
            label: float(distances(described, self._shapes[label])[0]) / known.near
            for label, known in self._known.items()
        }
        best = min(ratios, key=lambda label: ratios[label])
        return best if ratios[best] <= 1 else None

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the pairs of classes with enough such boxes."""
        yield from self._tally.occurrences(self._thresholds)
