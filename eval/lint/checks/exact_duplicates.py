"""Rule ``exact-duplicate``: the same row more than once in a label file."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eval.lint.findings import Occurrence
from eval.lint.pages import LintPage
from eval.lint.tally import BoxTally


class ExactDuplicates:
    """Counts rows that are equal to an earlier row of the image in class and box."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image."""
        is_repeated = np.ones(len(page.rows), bool)
        is_repeated[page.distinct] = False
        self._tally.add(page, is_repeated)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with duplicates."""
        yield from self._tally.occurrences(self._thresholds)
