"""Rule ``swapped-classes``: symbols that look like another class than their distance.

Shapes: N boxes of a page.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.ink import integral
from eval.lint.pages import LintPage
from eval.lint.symbol_shapes import distances, features, symbol_shapes
from eval.lint.tally import box_example


class SwappedClasses:
    """Counts the boxes whose ink has the shape of another class, by pair of classes."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._names, self._thresholds = names, thresholds
        table = symbol_shapes()
        self._known = {i: table[name] for i, name in enumerate(names) if name in table}
        self._shapes = {i: np.array(known.shapes) for i, known in self._known.items()}
        self._n_boxes: Counter[tuple[str, int]] = Counter()
        self._n_swapped: Counter[tuple[str, int, int]] = Counter()
        self._examples: dict[tuple[str, int, int], list[Example]] = defaultdict(list)

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image with staves."""
        is_known = np.isin(page.page.labels, list(self._known)) & page.is_complete
        if not is_known.any() or (ink := page.ink) is None or (space := page.staff_space) is None:
            return
        rows = np.flatnonzero(is_known)
        labels = page.page.labels[rows]
        described = features(integral(ink.without_lines), page.page.boxes_xyxy[rows], space)
        for label in np.unique(labels).tolist():
            of_class = np.flatnonzero(labels == label)
            self._n_boxes[page.source, label] += len(of_class)
            distance = distances(described[of_class], self._shapes[label])
            unlike = of_class[distance > self._thresholds["factor"] * self._known[label].far]
            for row in unlike.tolist():
                other = self._most_similar(described[row : row + 1])
                if other is not None and other != label:
                    key = page.source, label, other
                    self._n_swapped[key] += 1
                    if len(self._examples[key]) < N_EXAMPLES:
                        self._examples[key].append(box_example(page, int(rows[row])))

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
        limits = self._thresholds
        for (source, label, other), count in sorted(self._n_swapped.items()):
            share = count / self._n_boxes[source, label]
            if count >= limits["min_count"] and share >= limits["min_share"]:
                yield Occurrence(
                    class_name=self._names[label],
                    source=source,
                    count=count,
                    share=share,
                    examples=tuple(self._examples[source, label, other]),
                    detail=f"look like {self._names[other]}",
                )
