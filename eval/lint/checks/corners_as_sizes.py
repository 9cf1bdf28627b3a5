"""Rule ``corners-as-sizes``: corners ``x1 y1 x2 y2`` that were read as ``x y width height``.

Such a box is wider than its distance from the left edge, by the width of the symbol, unless it was
clamped at the right edge; likewise in height. Large objects, as in photographs, have all sizes.
Corners lie all over the page, so boxes of similar sizes, as on small images, do not count.

Shapes: N boxes of a page, C classes, S steps of ``SIZE_STEP``.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.lint.findings import Occurrence
from eval.lint.pages import LintPage
from eval.lint.tally import BoxTally

SIZE_STEP = 0.05
"""Difference between sizes that count as different, as a fraction of the page."""


class CornersAsSizes:
    """Counts the boxes of whole pages that look like corners read as sizes."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds
        self._names = list(names)
        self._n_large: dict[str, NDArray[np.int64]] = {}  # by source, shape (C,)
        self._sizes: dict[str, NDArray[np.bool_]] = {}  # by source, shape (C, S, S)

    def add(self, page: LintPage) -> None:
        """Add the boxes of a page."""
        limits, size = self._thresholds, np.array([page.page.width, page.page.height])
        boxes, shares = page.page.boxes_xyxy, page.sides / size
        is_large = (shares >= limits["min_side"]).all(1) & (shares <= limits["max_side"]).all(1)
        symbol_shares = shares - boxes[:, :2] / size  # if the sides are corners, shape (N, 2)
        is_symbol = (symbol_shares >= 0) & (symbol_shares <= limits["max_symbol"])
        is_clamped = boxes[:, 2:] >= size - 1
        is_corner = is_large & (is_symbol | is_clamped).all(1)
        self._tally.add(page, is_corner)
        self._add_sizes(page, shares, is_corner)
        n_large = self._n_large.setdefault(page.source, np.zeros(len(self._names), np.int64))
        n_large += np.bincount(page.page.labels[is_large], minlength=len(self._names))

    def _add_sizes(
        self, page: LintPage, shares: NDArray[np.float64], is_corner: NDArray[np.bool_]
    ) -> None:
        steps = round(1 / SIZE_STEP)
        shape = len(self._names), steps, steps
        sizes = self._sizes.setdefault(page.source, np.zeros(shape, np.bool_))
        width, height = (shares[is_corner] / SIZE_STEP).astype(np.int64).clip(0, steps - 1).T
        sizes[page.page.labels[is_corner], height, width] = True

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with such boxes of enough sizes, if most of their large boxes are."""
        for occurrence in self._tally.occurrences(self._thresholds):
            label = self._names.index(occurrence.class_name)
            n_large = self._n_large[occurrence.source][label]
            n_sizes = self._sizes[occurrence.source][label].sum()
            is_most = occurrence.count >= self._thresholds["min_share_of_large"] * n_large
            if is_most and n_sizes >= self._thresholds["min_sizes"]:
                yield occurrence
