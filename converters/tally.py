"""Counts what becomes of every symbol, so that nothing is dropped without a name."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

NOT_IN_CLASS_MAP = "not in class map"
NO_ID_IN_SET = "no id in the annotation set"
CROWD = "crowd region"
EXACT_DUPLICATE = "exact duplicate"
NEAR_DUPLICATE = "near duplicate"
OUTSIDE_PAGE = "outside the page"
HIDDEN_BY_TILES = "under min-visible in every tile"

WIDENED = "widened to min-side"
CLIPPED = "clipped to the page"


@dataclass(kw_only=True)
class Tally:
    """Symbols read, dropped and written. Tallies of parts add up to that of the whole.

    A symbol that is dropped for want of a class is counted under the data set's category, every
    other one under its class.
    """

    read: int = 0
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By reason and class."""
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Symbols whose box was altered, by what was done and class."""
    two_classes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Pairs of symbols with the same box, by their two classes; reported, never merged."""
    written: Counter[str] = field(default_factory=Counter)
    """Symbols that stand in at least one image, by class."""
    labels: Counter[str] = field(default_factory=Counter)
    """Labels in all images, by class: more than ``written`` where tiles overlap."""
    cut: Counter[str] = field(default_factory=Counter)
    """Labels that end at a tile's border while the symbol goes on, by class."""
    warnings: list[str] = field(default_factory=list)

    def update(self, other: "Tally") -> None:
        """Add the counts of ``other``."""
        self.read += other.read
        for name in ("dropped", "changed", "two_classes", "written", "labels", "cut"):
            getattr(self, name).update(getattr(other, name))
        self.warnings += other.warnings

    def drop(self, reason: str, labels: NDArray[np.int64], names: Sequence[str]) -> None:
        """Count symbols with these labels as dropped for ``reason``."""
        self.dropped.update({(reason, name): n for name, n in count(labels, names).items()})

    def by_reason(self) -> dict[str, int]:
        """Dropped symbols by reason, the commonest first."""
        totals: Counter[str] = Counter()
        for (reason, _), n in self.dropped.items():
            totals[reason] += n
        return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))

    def check(self) -> None:
        """Make sure that read = written + dropped.

        Raises:
            RuntimeError: They differ: a bug, and the data set must not be used.
        """
        written, dropped = self.written.total(), self.dropped.total()
        if self.read != written + dropped:
            raise RuntimeError(
                f"{self.read} symbols read, but {written} written, {dropped} dropped"
            )


def count(labels: NDArray[np.int64], names: Sequence[str]) -> Counter[str]:
    """Count labels by name; names without a label are left out."""
    counts = np.bincount(labels, minlength=len(names)).tolist()
    return Counter({name: n for name, n in zip(names, counts, strict=True) if n})
