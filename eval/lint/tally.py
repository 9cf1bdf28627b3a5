"""Counts of flagged boxes per class and source, with the first examples.

Shapes: N boxes of an image, C classes.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
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
    flagged: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Number of flagged boxes by source, shape ``(C,)`` each."""
    examples: dict[tuple[str, int], list[Example]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """First flagged boxes by source and class."""

    def add(
        self,
        page: LintPage,
        flagged: NDArray[np.bool_],
        checked: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add the boxes of an image.

        Args:
            page: Image.
            flagged: Boxes with the problem, shape ``(N,)``.
            checked: Boxes that could have the problem, shape ``(N,)``; None for all.
        """
        labels, n = page.page.labels, len(self.names)
        if checked is not None:
            flagged = flagged & checked
        for counts, rows in ((self.checked, checked), (self.flagged, flagged)):
            chosen = labels if rows is None else labels[rows]
            total = counts.setdefault(page.source, np.zeros(n, np.int64))
            total += np.bincount(chosen, minlength=n)
        for label in np.unique(labels[flagged]).tolist():
            examples = self.examples[page.source, label]
            rows_of_class = np.flatnonzero(flagged & (labels == label))
            for row in rows_of_class[: N_EXAMPLES - len(examples)].tolist():
                examples.append(box_example(page, row))

    def occurrences(self, *, min_share: float, min_count: float = 1) -> Iterator[Occurrence]:
        """Yield the classes and sources with enough flagged boxes."""
        for source, flagged in self.flagged.items():
            for label in np.flatnonzero(flagged).tolist():
                count = int(flagged[label])
                share = count / int(self.checked[source][label])
                if count >= min_count and share >= min_share:
                    yield Occurrence(
                        class_name=self.names[label],
                        source=source,
                        count=count,
                        share=share,
                        examples=tuple(self.examples[source, label]),
                    )
