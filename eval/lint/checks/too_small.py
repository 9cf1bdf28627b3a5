"""Rule ``too-small``: boxes of too few pixels at the size of training."""

from collections.abc import Iterator, Mapping, Sequence

from eval.lint.findings import Occurrence
from eval.lint.pages import LintPage
from eval.lint.tally import BoxTally


class TooSmall:
    """Counts the boxes whose shorter side is too short."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image, scaled to ``imgsz`` unless this is 0."""
        imgsz = self._thresholds["imgsz"]
        scale = imgsz / max(page.page.width, page.page.height) if imgsz else 1.0
        shorter = page.sides.min(1) * scale
        rounding = 1e-6 * max(page.page.width, page.page.height)
        is_small = shorter < self._thresholds["min_side_px"] - rounding
        self._tally.add(page, is_small, page.is_complete)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with enough small boxes."""
        yield from self._tally.occurrences(self._thresholds)
