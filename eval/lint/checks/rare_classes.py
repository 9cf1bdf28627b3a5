"""Rule ``rare-class``: classes with few boxes, or none, to learn from."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eval.lint.findings import Occurrence
from eval.lint.pages import LintPage


class RareClasses:
    """Counts the boxes of every class in all splits."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._names, self._thresholds = names, thresholds
        self._counts = np.zeros(len(names), np.int64)

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image."""
        self._counts += np.bincount(page.page.labels, minlength=len(self._names))

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield one occurrence for all absent classes, and one for all rare ones."""
        minimum = int(self._thresholds["min_boxes"])
        is_rare = (self._counts > 0) & (self._counts < minimum)
        for rows, detail in (
            (self._counts == 0, "no box"),
            (is_rare, f"fewer than {minimum} boxes"),
        ):
            if rows.any():
                names = [self._names[label] for label in np.flatnonzero(rows).tolist()]
                yield Occurrence(
                    class_name=", ".join(names),
                    source="",
                    count=len(names),
                    share=len(names) / len(self._names),
                    detail=f"classes with {detail}",
                )
