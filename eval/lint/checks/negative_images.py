"""Rule ``negative-image``: images with light ink on dark paper."""

from collections.abc import Iterator, Mapping, Sequence

from eval.lint.findings import Occurrence
from eval.lint.ink_check import InkCheck
from eval.lint.pages import LintPage
from eval.lint.tally import ImageTally


class NegativeImages(InkCheck[bool]):
    """Counts the negatives among the images."""

    def __init__(self, _names: Sequence[str], _thresholds: Mapping[str, float]) -> None:
        self._tally = ImageTally()

    def measure(self, page: LintPage) -> bool | None:
        """Return whether an image is a negative."""
        return page.is_negative if page.may_be_read else None

    def count(self, page: LintPage, measured: bool) -> None:
        """Add an image."""
        self._tally.add(page, flagged=measured)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the sources with negatives."""
        yield from self._tally.occurrences(lambda _source: "light ink on dark paper")
