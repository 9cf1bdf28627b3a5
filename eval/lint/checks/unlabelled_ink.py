"""Rule ``unlabelled-ink``: images of which far less ink is in boxes than usual for these classes.

Most ink in and close to staves is that of symbols. How much of it the boxes of a class contain has
been learnt from engraved pages, so that a class map without slurs or stems is not a
finding.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.ink_check import InkCheck
from eval.lint.ink_shares import ink_shares
from eval.lint.pages import LintPage

MIN_USUAL = 0.1
"""Share of the ink that the boxes of all classes together usually contain, below which images are
not checked."""
MIN_CELLS = 100.0
"""Least ink in staves of an image that is checked, in cells of half a staff space."""


class UnlabelledInk(InkCheck[tuple[float, float]]):
    """Counts the images most of whose ink in staves is in no box."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._thresholds = thresholds
        table = ink_shares()
        self._usual = min(1.0, sum(table.get(name, 0.0) for name in names))
        self._n_images: Counter[str] = Counter()
        self._n_flagged: Counter[str] = Counter()
        self._ink: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        self._examples: dict[str, list[Example]] = defaultdict(list)

    def measure(self, page: LintPage) -> tuple[float, float] | None:
        """Return the ink in staves, and the part of it that is in no box, in cells."""
        if self._usual < MIN_USUAL or (unlabelled := page.unlabelled) is None:
            return None
        return unlabelled.amounts()

    def count(self, page: LintPage, measured: tuple[float, float]) -> None:
        """Add the ink of an image."""
        total, rest = measured
        if total < MIN_CELLS:
            return
        all_total, all_rest = self._ink[page.source]
        self._ink[page.source] = all_total + total, all_rest + rest
        self._n_images[page.source] += 1
        if total - rest < self._thresholds["min_covered"] * self._usual * total:
            self._n_flagged[page.source] += 1
            if len(self._examples[page.source]) < N_EXAMPLES:
                example = Example(split=page.split, page=page.page.image)
                self._examples[page.source].append(example)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the sources with enough such images."""
        for source, count in self._n_flagged.items():
            share = count / self._n_images[source]
            total, rest = self._ink[source]
            if count >= self._thresholds["min_count"] and share >= self._thresholds["min_share"]:
                yield Occurrence(
                    class_name="",
                    source=source,
                    count=count,
                    share=share,
                    examples=tuple(self._examples[source]),
                    detail=f"{rest / total:.0%} of the ink in all staves is in no box; usual for "
                    f"these classes: {1 - self._usual:.0%}",
                )
