"""Rule ``one-box-two-classes``: a box that two classes share."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eval.lint.checks.similar_boxes import page_pairs
from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.pages import LintPage
from eval.lint.tally import box_example


class OneBoxTwoClasses:
    """Counts the pairs of boxes of different classes with a high IoU, by pair of classes."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._names, self._thresholds = names, thresholds
        self._n_pairs: Counter[tuple[str, int, int]] = Counter()
        self._n_boxes: Counter[tuple[str, int]] = Counter()
        self._examples: dict[tuple[str, int, int], list[Example]] = defaultdict(list)

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image, without those that the border of a tile may have cut."""
        labels = page.page.labels
        for label, n in enumerate(np.bincount(labels[page.is_complete]).tolist()):
            self._n_boxes[page.source, label] += n
        pairs = page_pairs(page, self._thresholds["min_iou"], same_class=False)
        if not len(pairs):
            return
        classes = np.sort(labels[pairs], axis=1)  # (P, 2)
        differ = classes[:, 0] != classes[:, 1]
        unique, counts = np.unique(classes[differ], axis=0, return_counts=True)
        for (a, b), n in zip(unique.tolist(), counts.tolist(), strict=True):
            key = page.source, a, b
            self._n_pairs[key] += n
            of_classes = pairs[(classes == [a, b]).all(1), 1]
            for row in of_classes[: N_EXAMPLES - len(self._examples[key])].tolist():
                self._examples[key].append(box_example(page, row))

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the pairs of classes with enough common boxes."""
        limits = self._thresholds
        for (source, a, b), count in sorted(self._n_pairs.items()):
            share = min(1.0, count / min(self._n_boxes[source, a], self._n_boxes[source, b]))
            if count >= limits["min_count"] and share >= limits["min_share"]:
                yield Occurrence(
                    class_name=f"{self._names[a]} + {self._names[b]}",
                    source=source,
                    count=count,
                    share=share,
                    examples=tuple(self._examples[source, a, b]),
                    detail="share of the boxes of the rarer class",
                )
