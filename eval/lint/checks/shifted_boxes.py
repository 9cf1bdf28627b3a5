"""Rule ``shifted-boxes``: boxes that would contain more ink a few pixels away.

A tight box contains most ink where it is. Ink nearby attracts the boxes of some classes, such as
flags; noteheads hardly ever are, so that even a few shifted ones stand out.

Shapes: N boxes of a page, S shifts.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from eval.lint.checks.note_parts import starts_with
from eval.lint.findings import Occurrence
from eval.lint.ink import shifted_shares
from eval.lint.ink_check import InkCheck
from eval.lint.pages import LintPage
from eval.lint.tally import BoxTally

REACH = 0.6
"""Largest shift that is tried, in staff spaces."""
MIN_SPACE_PX = 8.0
"""Smallest staff space of the images that are checked; in smaller ones, symbols nearly touch."""
MIN_SIDE, MAX_SIDE = 0.4, 4.0
"""Sides of the boxes that are checked, in staff spaces; others may slide along their own ink."""
NOTEHEAD = "notehead"
"""Start of the names of classes that other ink does not attract."""
BLOCK = 1000
"""Boxes that are moved at once, which limits memory."""
ATTRACTED = "flag", "timeSig1"
"""Start of the names of classes that are not checked, because stems, noteheads or the next digit
attract most of their boxes."""


class ShiftedBoxes(InkCheck[NDArray[np.bool_]]):
    """Counts the boxes that contain clearly more ink elsewhere."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds
        self._is_checked = ~starts_with(names, *ATTRACTED)

    def measure(self, page: LintPage) -> NDArray[np.bool_] | None:
        """Return which boxes of an image with staves are checked, and shifted, shape ``(2, N)``."""
        if not len(page.rows) or (ink := page.ink) is None or (space := page.staff_space) is None:
            return None
        if space < MIN_SPACE_PX:
            return None
        sides = page.sides / space
        compact = ((sides >= MIN_SIDE) & (sides <= MAX_SIDE)).all(1) & page.is_complete
        compact &= self._is_checked[page.page.labels]
        flagged = np.zeros(len(page.rows), bool)
        flagged[compact] = self._is_shifted(ink.sums, page.page.boxes_xyxy[compact], space)
        return np.stack((compact, flagged))

    def count(self, page: LintPage, measured: NDArray[np.bool_]) -> None:
        """Add the boxes of an image."""
        compact, flagged = measured
        self._tally.add(page, flagged, compact)

    def _is_shifted(
        self, ink: NDArray[np.int32], boxes_xyxy: Boxes, space: float
    ) -> NDArray[np.bool_]:
        """Return which boxes contain clearly more ink a certain distance away, shape ``(N,)``."""
        reach = max(3, round(REACH * space))
        shifts = np.arange(-reach, reach + 1)
        distances = np.hypot(shifts[:, None], shifts).reshape(-1)  # (S * S,)
        blocks = []
        for start in range(0, len(boxes_xyxy), BLOCK):
            shares = shifted_shares(ink, boxes_xyxy[start : start + BLOCK], shifts)
            shares = shares.reshape(len(distances), -1)
            best, here = shares.argmax(axis=0), shares[len(shares) // 2]
            most = shares[best, np.arange(shares.shape[1])]
            is_far = distances[best] >= self._thresholds["min_shift"] * space
            blocks.append(is_far & (here < self._thresholds["max_ink"] * most))
        return np.concatenate(blocks) if blocks else np.zeros(0, bool)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with enough shifted boxes."""
        for occurrence in self._tally.occurrences(self._thresholds):
            is_notehead = occurrence.class_name.startswith(NOTEHEAD)
            if is_notehead or occurrence.share >= self._thresholds["min_share_of_others"]:
                yield occurrence
