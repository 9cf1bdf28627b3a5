"""Counts of flagged boxes per class and source, and of images per source, with first examples.

Shapes: N boxes of an image, C classes.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.pages import LintPage


def box_example(page: LintPage, row: int) -> Example:
    """Return a box of an image as an example."""
    x_min, y_min, x_max, y_max = page.page.boxes_xyxy[row].tolist()
    return Example(split=page.split, page=page.page.image, box_xyxy=(x_min, y_min, x_max, y_max))


@dataclass(kw_only=True)
class BoxTally:
    """Numbers of checked and of flagged boxes."""

    names: Sequence[str]
    """Names of the classes."""
    checked: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Number of checked boxes by source, shape ``(C,)`` each."""
    flagged: dict[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict)
    """Number of flagged boxes by source and problem, shape ``(C,)`` each."""
    examples: dict[tuple[str, str, int], list[Example]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """First flagged boxes by source, problem and class."""

    def add(
        self,
        page: LintPage,
        flagged: NDArray[np.bool_],
        checked: NDArray[np.bool_] | None = None,
        detail: str = "",
    ) -> None:
        """Add the boxes of an image.

        Args:
            page: Image.
            flagged: Boxes with the problem, shape ``(N,)``.
            checked: Boxes that could have the problem, shape ``(N,)``; None for all.
            detail: Problem, if there are several.
        """
        self.check(page, checked)
        self.flag(page, flagged if checked is None else flagged & checked, detail)

    def check(self, page: LintPage, checked: NDArray[np.bool_] | None = None) -> None:
        """Add the checked boxes of an image, see :meth:`add`."""
        labels = page.page.labels if checked is None else page.page.labels[checked]
        total = self.checked.setdefault(page.source, np.zeros(len(self.names), np.int64))
        total += np.bincount(labels, minlength=len(self.names))

    def flag(self, page: LintPage, flagged: NDArray[np.bool_], detail: str = "") -> None:
        """Add the flagged boxes of an image, which are also checked, see :meth:`add`."""
        rows = np.flatnonzero(flagged)
        if not len(rows):
            return
        labels = page.page.labels[rows]
        key = page.source, detail
        total = self.flagged.setdefault(key, np.zeros(len(self.names), np.int64))
        total += np.bincount(labels, minlength=len(self.names))
        for label in np.unique(labels).tolist():
            examples = self.examples[(*key, label)]
            for row in rows[labels == label][: N_EXAMPLES - len(examples)].tolist():
                examples.append(box_example(page, row))

    def occurrences(self, thresholds: Mapping[str, float]) -> Iterator[Occurrence]:
        """Yield the classes and sources with enough flagged boxes.

        Args:
            thresholds: Thresholds of a rule, with ``min_share`` and ``min_count``.
        """
        for (source, detail), flagged in self.flagged.items():
            for label in np.flatnonzero(flagged).tolist():
                count = int(flagged[label])
                share = count / int(self.checked[source][label])
                if count >= thresholds["min_count"] and share >= thresholds["min_share"]:
                    yield Occurrence(
                        class_name=self.names[label],
                        source=source,
                        count=count,
                        share=share,
                        examples=tuple(self.examples[source, detail, label]),
                        detail=detail,
                    )


@dataclass(kw_only=True)
class ImageTally:
    """Numbers of checked and of flagged images by source."""

    checked: Counter[str] = field(default_factory=Counter)
    flagged: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=lambda: defaultdict(list))
    """First flagged images."""

    def add(self, page: LintPage, *, flagged: bool) -> None:
        """Add an image that could have the problem."""
        self.checked[page.source] += 1
        self.flagged[page.source] += flagged
        examples = self.examples[page.source]
        if flagged and len(examples) < N_EXAMPLES:
            examples.append(Example(split=page.split, page=page.page.image))

    def occurrences(
        self, detail_of: Callable[[str], str], min_count: float = 1, min_share: float = 0.0
    ) -> Iterator[Occurrence]:
        """Yield the sources with enough flagged images.

        Args:
            detail_of: Returns the details about a source.
            min_count: Minimum number of flagged images.
            min_share: Minimum share of the checked images.
        """
        for source, count in self.flagged.items():
            share = count / self.checked[source]
            if count and count >= min_count and share >= min_share:
                yield Occurrence(
                    class_name="",
                    source=source,
                    count=count,
                    share=share,
                    examples=tuple(self.examples[source]),
                    detail=detail_of(source),
                )
