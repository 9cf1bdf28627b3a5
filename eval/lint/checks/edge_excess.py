"""Rule ``edge-excess``: more boxes at the border of the page than music has there."""

from collections.abc import Iterator, Mapping, Sequence

from eval.lint.findings import Occurrence
from eval.lint.pages import LintPage
from eval.lint.tally import BoxTally


class EdgeExcess:
    """Counts the boxes of whole pages that touch the border."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds

    def add(self, page: LintPage) -> None:
        """Add the boxes of a page."""
        self._tally.add(page, page.on_edge)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with enough boxes at the border."""
        yield from self._tally.occurrences(self._thresholds)
