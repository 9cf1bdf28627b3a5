"""Rule ``unlabelled-ink``: images of which far less ink is in boxes than usual for these classes.

Most ink in and close to staves is that of symbols. How much of it the boxes of a class contain has
been learnt from engraved pages, so that a class map without slurs or stems is not a
finding.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from eval.lint.findings import Occurrence
from eval.lint.ink_check import InkCheck
from eval.lint.ink_shares import ink_shares
from eval.lint.pages import LintPage
from eval.lint.tally import ImageTally

MIN_USUAL = 0.1
"""Share of the ink that the boxes of all classes together usually contain, below which images are
not checked."""
MIN_CELLS = 100.0
"""Least ink in staves of an image that is checked, in cells of half a staff space."""
MIN_NEAR, NEAR = 0.5, 8
"""Share of the boxes near staves below which an image is not checked, because its staves were not
found; and the distance that is near, in halves of a staff space."""


class UnlabelledInk(InkCheck[tuple[float, float]]):
    """Counts the images most of whose ink in staves is in no box."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._thresholds = thresholds
        table = ink_shares()
        self._usual = min(1.0, sum(table.get(name, 0.0) for name in names))
        self._tally = ImageTally()
        self._ink: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))

    def measure(self, page: LintPage) -> tuple[float, float] | None:
        """Return the ink in staves, and the part of it that is in no box, in cells."""
        if self._usual < MIN_USUAL or (unlabelled := page.unlabelled) is None:
            return None
        boxes = page.page.boxes_xyxy[unlabelled.explains]
        is_near = unlabelled.near_staves((boxes[:, :2] + boxes[:, 2:]) / 2, NEAR)
        if is_near.sum() < MIN_NEAR * len(boxes):
            return None
        return unlabelled.amounts()

    def count(self, page: LintPage, measured: tuple[float, float]) -> None:
        """Add the ink of an image."""
        total, rest = measured
        if total < MIN_CELLS:
            return
        all_total, all_rest = self._ink[page.source]
        self._ink[page.source] = all_total + total, all_rest + rest
        least = self._thresholds["min_covered"] * self._usual * total
        self._tally.add(page, flagged=total - rest < least)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the sources with enough such images."""
        limits = self._thresholds
        yield from self._tally.occurrences(self._detail, limits["min_count"], limits["min_share"])

    def _detail(self, source: str) -> str:
        total, rest = self._ink[source]
        return (
            f"{rest / total:.0%} of the ink in all staves is in no box; usual for these classes: "
            f"{1 - self._usual:.0%}"
        )
