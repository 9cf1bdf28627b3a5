"""Rule ``near-duplicate``: two boxes of a class that are nearly, but not exactly, the same."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eval.lint.checks.similar_boxes import page_pairs
from eval.lint.findings import Occurrence
from eval.lint.pages import LintPage
from eval.lint.tally import BoxTally


class NearDuplicates:
    """Counts boxes that nearly equal an earlier box of the image and of their class."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image, without those that the border of a tile may have cut."""
        pairs = page_pairs(page, self._thresholds["min_iou"], same_class=True)
        is_distinct = np.zeros(len(page.rows), bool)
        is_distinct[page.distinct] = True
        flagged = np.zeros(len(page.rows), bool)
        flagged[pairs[is_distinct[pairs].all(axis=1), 1]] = True
        self._tally.add(page, flagged, page.is_complete)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with near duplicates."""
        yield from self._tally.occurrences(self._thresholds)
