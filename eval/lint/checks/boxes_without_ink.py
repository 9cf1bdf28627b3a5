"""Rule ``box-without-ink``: boxes that contain paper, or only staff lines."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eval.lint.findings import Occurrence
from eval.lint.ink import ink_shares
from eval.lint.pages import LintPage
from eval.lint.tally import BoxTally

MAX_WIDTH, MIN_HEIGHT = 8.0, 0.35
"""Size in staff spaces from which, or below which, staff lines count as ink of the symbol."""


class BoxesWithoutInk:
    """Counts the boxes with less ink than symbols have, apart from staff lines."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image with staves."""
        if not len(page.rows) or (ink := page.ink) is None or page.staff_space is None:
            return
        sides, boxes = page.sides / page.staff_space, page.page.boxes_xyxy
        may_be_lines = (sides[:, 0] > MAX_WIDTH) | (sides[:, 1] < MIN_HEIGHT)
        shares = np.where(
            may_be_lines,
            ink_shares(ink.all_sums, boxes),
            ink_shares(ink.sums, boxes),
        )
        self._tally.add(page, shares < self._thresholds["max_ink"])

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with enough boxes without ink."""
        yield from self._tally.occurrences(self._thresholds)
