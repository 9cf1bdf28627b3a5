"""Counts of symbols that were read, written, changed, or dropped, by reason."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from class_maps import short_list, shortened, shown

MOST_NAMES = 5
"""Maximum number of categories to name in a message."""
NOT_IN_CLASS_MAP = "not in class map"
NO_ID_IN_SET = "no id in the annotation set"
CROWD = "crowd region"
NO_BOX = "no box"
NO_SIZE = "no width and no height"
EXACT_DUPLICATE = "exact duplicate"
NEAR_DUPLICATE = "near duplicate"
OUTSIDE_PAGE = "outside the page"
HIDDEN_BY_TILES = "under min-visible in every tile"

REMEDIES = {
    NOT_IN_CLASS_MAP: "choose another class map, or add the categories to this one",
    NO_ID_IN_SET: "choose another annotation set, or correct cat_id",
    CROWD: "if each box encloses one symbol only, set iscrowd to 0",
    NO_BOX: "add a bbox to each annotation",
    NO_SIZE: "correct the width and height of the boxes",
    OUTSIDE_PAGE: "correct the coordinates, or the sizes of the images",
    HIDDEN_BY_TILES: "use a lower --min-visible or larger tiles",
}
"""Remedy to suggest if all symbols were dropped for a reason. Duplicates need none, because the
first of them is kept."""

WIDENED = "widened to min-side"
CLIPPED = "clipped to the page"
ROTATED = "rotated by the angle in its attributes"
POLYGON = "box around a polygon"
PARTS = "box around several parts"
RENAMED = "category of another release"


@dataclass(kw_only=True)
class Tally:
    """Numbers of symbols read, dropped and written, for a page or a whole data set.

    Readers count the symbols that they drop by category; later stages count by class.
    """

    read: int = 0
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Dropped symbols by reason and category or class."""
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Symbols with a changed box or category, by change and class."""
    two_classes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Pairs of symbols with the same box, by their two classes; they are reported, never merged."""
    written: Counter[str] = field(default_factory=Counter)
    """Symbols in at least one image, by class."""
    labels: Counter[str] = field(default_factory=Counter)
    """Number of labels in all images, by class; more than ``written`` if tiles overlap."""
    cut: Counter[str] = field(default_factory=Counter)
    """Labels of symbols that are cut at the border of a tile, by class."""
    warnings: list[str] = field(default_factory=list)

    def update(self, other: "Tally") -> None:
        """Add the counts of ``other``."""
        self.read += other.read
        for name in ("dropped", "changed", "two_classes", "written", "labels", "cut"):
            getattr(self, name).update(getattr(other, name))
        self.warnings += other.warnings

    def drop(self, reason: str, indices: NDArray[np.int64], names: Sequence[str]) -> None:
        """Count dropped symbols.

        Args:
            reason: Why they were dropped.
            indices: Index of each symbol's category or class in ``names``, shape ``(N,)``.
            names: Names of all categories or classes.
        """
        self.dropped.update({(reason, name): n for name, n in count(indices, names).items()})

    def by_reason(self) -> dict[str, int]:
        """Return the numbers of dropped symbols by reason, most frequent first."""
        totals: Counter[str] = Counter()
        for (reason, _), n in self.dropped.items():
            totals[reason] += n
        return most_frequent_first(totals)

    def reasons(self) -> str:
        """Return the reasons in a line, such as ``crowd region (3), no box (1)``."""
        return ", ".join(f"{reason} ({n})" for reason, n in self.by_reason().items())

    def unmapped(self) -> dict[str, int]:
        """Return the numbers of symbols by category without a class, most frequent first."""
        return most_frequent_first(
            {name: n for (why, name), n in self.dropped.items() if why == NOT_IN_CLASS_MAP}
        )

    def similar(self, mapped: Iterable[str]) -> str:
        """Name the unmapped categories that equal a mapped one but for spaces and letter case.

        Args:
            mapped: Categories in the class map.

        Returns:
            A sentence for a message; empty without such categories.
        """
        known = {_plain(name): name for name in mapped}
        similar = [
            f"{shown(name)} ({n}; mapped: {shown(known[_plain(name)])})"
            for name, n in self.unmapped().items()
            if _plain(name) in known
        ]
        if not similar:
            return ""
        return (
            "dropped categories that differ from mapped ones only in spaces or letter case: "
            f"{short_list(similar, MOST_NAMES)}; add them to the class map"
        )

    def check(self) -> None:
        """Check that every symbol read was either written or dropped.

        Raises:
            RuntimeError: The numbers differ, which is a bug; the data set must not be used.
        """
        written, dropped = self.written.total(), self.dropped.total()
        if self.read != written + dropped:
            raise RuntimeError(
                f"{self.read} symbols read, but {written} written, {dropped} dropped"
            )


def most_frequent_first(counts: Mapping[str, int]) -> dict[str, int]:
    """Sort numbers by name, the highest number first; equal numbers by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def with_counts(counts: Mapping[str, int]) -> str:
    """List the first categories with their numbers of symbols: ``tie (7), slur (3) and 2 more``."""
    return short_list([f"{_named(name)} ({n})" for name, n in counts.items()], MOST_NAMES)


def _named(name: str) -> str:
    """Return a category for a message, quoted if it begins or ends with a space."""
    return shown(name) if name != name.strip() else shortened(name)


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()


def count(labels: NDArray[np.int64], names: Sequence[str]) -> Counter[str]:
    """Count labels by class name, omitting unused names; several labels may share a name."""
    counts: Counter[str] = Counter()
    for name, n in zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True):
        if n:
            counts[name] += n
    return counts
