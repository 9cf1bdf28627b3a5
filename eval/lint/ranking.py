"""Ranking of the labels that predictions contradict, for the rules that need predictions.

Shapes: K labels or predictions of an image.
"""

import heapq
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from eval.lint.findings import N_EXAMPLES, Example, Occurrence, RankedLabel
from eval.lint.label_scores import LabelScores, Predictions
from eval.lint.pages import LintPage

MOST_RANKED = 500
"""Maximum number of labels per rule that are kept for the worklist."""


class RankingCheck(ABC):
    """Counts labels or predictions with a low score per class and source, and keeps the worst."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self.names, self._thresholds = names, thresholds
        self._checked: Counter[tuple[str, str]] = Counter()
        self._flagged: Counter[tuple[str, str]] = Counter()
        self._predicted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._worst: dict[tuple[str, str], _Worst] = defaultdict(lambda: _Worst(N_EXAMPLES))
        self._ranking = _Worst(MOST_RANKED)

    @abstractmethod
    def add_scores(self, page: LintPage, scores: LabelScores, predictions: Predictions) -> None:
        """Add the scores of an image with :meth:`rank`."""

    def add(self, page: LintPage) -> None:
        """Add an image with predictions."""
        predictions, scores = page.predictions, page.label_scores
        if predictions is not None and scores is not None:
            self.add_scores(page, scores, predictions)

    def rank(
        self,
        page: LintPage,
        labels: NDArray[np.int64],
        scores: NDArray[np.float64],
        row: Callable[[int], RankedLabel],
    ) -> None:
        """Count labels or predictions of an image, and keep those with the lowest scores.

        Args:
            page: Image.
            labels: Label of each, shape ``(K,)``.
            scores: Score of each, shape ``(K,)``; NaN counts as checked.
            row: Function that returns the entry of one of them.
        """
        for label, count in Counter(labels.tolist()).items():
            self._checked[self.names[label], page.source] += count
        for index in np.flatnonzero(scores < self._thresholds["max_score"]).tolist():
            entry = row(index)
            self._flagged[entry.group] += 1
            self._predicted[entry.group][entry.predicted_class] += 1
            self._worst[entry.group].add(entry)
            self._ranking.add(entry)

    def rank_labels(
        self,
        page: LintPage,
        predictions: Predictions,
        scores: NDArray[np.float64],
        contradicting: NDArray[np.int64],
    ) -> None:
        """Rank the labels whose class the network knows; those that a tile cuts are skipped.

        Args:
            page: Image with N labels.
            predictions: Symbols found in it.
            scores: Score of each label, shape ``(N,)``.
            contradicting: Prediction that contradicts each label, shape ``(N,)``.
        """
        labels = page.page.labels
        rows = np.flatnonzero(predictions.is_known[labels] & page.is_complete)

        def entry(index: int) -> RankedLabel:
            row = int(rows[index])
            return ranked_label(
                page,
                predictions,
                self.names,
                float(scores[row]),
                label=row,
                prediction=int(contradicting[row]),
            )

        self.rank(page, labels[rows], scores[rows], entry)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes and sources with enough low scores, the worst as examples."""
        for group, count in self._flagged.items():
            share = count / self._checked[group]
            limits = self._thresholds
            if count < limits["min_count"] or share < limits["min_share"]:
                continue
            worst = self._worst[group].lowest_first()
            yield Occurrence(
                class_name=group[0],
                source=group[1],
                count=count,
                share=share,
                examples=tuple(entry.example for entry in worst),
                detail=self._detail(group, worst[0].score),
            )

    def ranked(self) -> list[RankedLabel]:
        """Return the entries with the lowest scores, at most ``MOST_RANKED``."""
        return self._ranking.lowest_first()

    def _detail(self, group: tuple[str, str], lowest: float) -> str:
        ((name, count),) = self._predicted[group].most_common(1)
        others = "" if name == group[0] else f"; {count:,} found as {name}"
        return f"lowest score {lowest:.2f}{others}"


class _Worst:
    """Entries with the lowest scores; the first of equal ones."""

    def __init__(self, most: int) -> None:
        self._most, self._n_added = most, 0
        self._heap: list[tuple[float, int, RankedLabel]] = []

    def add(self, entry: RankedLabel) -> None:
        self._n_added += 1
        item = -entry.score, -self._n_added, entry
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, item)
        else:
            heapq.heappushpop(self._heap, item)

    def lowest_first(self) -> list[RankedLabel]:
        return [entry for *_, entry in sorted(self._heap, key=lambda item: item[:2], reverse=True)]


def ranked_label(
    page: LintPage,
    predictions: Predictions,
    names: Sequence[str],
    score: float,
    *,
    label: int | None,
    prediction: int,
) -> RankedLabel:
    """Return the entry of a label or prediction.

    Args:
        page: Image.
        predictions: Symbols found in it.
        names: Names of the classes.
        score: Score, 0 to 1.
        label: Index of the label; None for a prediction without one.
        prediction: Index of the prediction that contradicts it.
    """
    predicted = box_of(predictions.boxes_xyxy, prediction)
    box = predicted if label is None else box_of(page.page.boxes_xyxy, label)
    return RankedLabel(
        score=score,
        example=Example(split=page.split, page=page.page.image, box_xyxy=box),
        class_name="" if label is None else names[page.page.labels[label]],
        predicted_class=names[predictions.labels[prediction]],
        confidence=float(predictions.confidences[prediction]),
        predicted_xyxy=predicted,
        source=page.source,
        path=page.path,
        staff_space=predictions.staff_space,
    )


def box_of(boxes_xyxy: Boxes, row: int) -> tuple[float, float, float, float]:
    """Return a box as four numbers."""
    x_min, y_min, x_max, y_max = boxes_xyxy[row].tolist()
    return x_min, y_min, x_max, y_max
