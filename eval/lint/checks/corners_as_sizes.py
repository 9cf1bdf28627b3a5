"""Rule ``corners-as-sizes``: corners ``x1 y1 x2 y2`` that were read as ``x y width height``.

Such a box is at least as wide as its distance from the left edge, unless it was clamped at the
right edge; likewise in height. Its largest side, clamped, is about half of the page.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eval.lint.findings import Occurrence
from eval.lint.pages import LintPage
from eval.lint.tally import BoxTally


class CornersAsSizes:
    """Counts the boxes of whole pages that look like corners read as sizes."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds

    def add(self, page: LintPage) -> None:
        """Add the boxes of a page."""
        limits, size = self._thresholds, np.array([page.page.width, page.page.height])
        boxes, sides = page.page.boxes_xyxy, page.sides
        reaches_edge = boxes[:, 2:] >= size - 1  # clamped
        is_swapped = ((sides >= boxes[:, :2]) | reaches_edge).all(1)
        shares = sides / size
        fits = (shares >= limits["min_side"]).all(1) & (shares <= limits["max_side"]).all(1)
        self._tally.add(page, is_swapped & fits)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with enough such boxes."""
        yield from self._tally.occurrences(self._thresholds)
