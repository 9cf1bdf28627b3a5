"""Rule ``box-without-ink``: boxes that contain paper, or only staff lines.

Shapes: N boxes of a page.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.lint.findings import Occurrence
from eval.lint.ink import counted_shares, ink_shares
from eval.lint.ink_check import InkCheck
from eval.lint.pages import LintPage
from eval.lint.tally import BoxTally

MAX_WIDTH, MIN_HEIGHT = 8.0, 0.35
"""Size in staff spaces from which, or below which, staff lines count as ink of the symbol."""


class BoxesWithoutInk(InkCheck[NDArray[np.bool_]]):
    """Counts the boxes with less ink than symbols have, apart from staff lines."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds

    def measure(self, page: LintPage) -> NDArray[np.bool_] | None:
        """Return which boxes of an image with staves have no ink, shape ``(N,)``."""
        if not len(page.rows) or (ink := page.ink) is None or page.staff_space is None:
            return None
        sides, boxes = page.sides / page.staff_space, page.page.boxes_xyxy
        may_be_lines = (sides[:, 0] > MAX_WIDTH) | (sides[:, 1] < MIN_HEIGHT)
        shares = ink_shares(ink.sums, boxes)
        shares[may_be_lines] = counted_shares(ink.all, boxes[may_be_lines])
        return shares < self._thresholds["max_ink"]

    def count(self, page: LintPage, measured: NDArray[np.bool_]) -> None:
        """Add the boxes of an image."""
        self._tally.add(page, measured)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with enough boxes without ink."""
        yield from self._tally.occurrences(self._thresholds)
