"""Rule ``size-differs-between-sources``: a class whose size depends on where a page comes from."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.pages import LintPage
from eval.lint.tally import box_example

BINS_PER_OCTAVE = 16
_OCTAVES = 24
_LOWEST = -10
"""Binary logarithm of the smallest size that is counted separately, in staff spaces."""


class SizeDifferences:
    """Compares the median size of a class, in staff spaces, between sources."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._names, self._thresholds = names, thresholds
        self._counts: dict[int, dict[str, NDArray[np.int64]]] = defaultdict(dict)
        self._examples: dict[tuple[int, str], list[Example]] = defaultdict(list)

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image whose staff space is known."""
        rows = np.flatnonzero(page.is_complete & (page.sides > 0).all(1))
        if not len(rows) or (space := page.staff_space) is None:
            return
        labels = page.page.labels[rows]
        sizes = np.log2(np.sqrt(page.sides[rows].prod(1)) / space)
        n_bins = _OCTAVES * BINS_PER_OCTAVE
        bins = np.clip((sizes - _LOWEST) * BINS_PER_OCTAVE, 0, n_bins - 1).astype(np.int64)
        for label in np.unique(labels).tolist():
            of_class = labels == label
            counts = self._counts[label].setdefault(page.source, np.zeros(n_bins, np.int64))
            counts += np.bincount(bins[of_class], minlength=n_bins)
            examples = self._examples[label, page.source]
            for row in rows[of_class][: N_EXAMPLES - len(examples)].tolist():
                examples.append(box_example(page, row))

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the sources whose sizes differ from those of the source with the most boxes."""
        for label, by_source in sorted(self._counts.items()):
            total = sum(int(counts.sum()) for counts in by_source.values())
            enough = {
                source: counts
                for source, counts in by_source.items()
                if counts.sum() >= self._thresholds["min_count"]
            }
            if len(enough) < 2:
                continue
            largest = max(enough, key=lambda source: int(enough[source].sum()))
            for source, counts in enough.items():
                ratio = _median(counts) / _median(enough[largest])
                if max(ratio, 1 / ratio) > self._thresholds["factor"]:
                    yield Occurrence(
                        class_name=self._names[label],
                        source=source,
                        count=int(counts.sum()),
                        share=int(counts.sum()) / total,
                        examples=tuple(self._examples[label, source]),
                        detail=f"{ratio:.2g} times the median size in {largest or '.'}",
                    )


def _median(counts: NDArray[np.int64]) -> float:
    """Return the median of a histogram in staff spaces."""
    middle = int(np.searchsorted(np.cumsum(counts), (counts.sum() + 1) // 2))
    return float(2.0 ** ((middle + 0.5) / BINS_PER_OCTAVE + _LOWEST))
