"""F1 score of predicted symbols at a confidence threshold, and the threshold with the highest F1.

Unlike average precision, it describes what a user gets: the symbols above one threshold.

Shapes: C classes, N predictions of all pages.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.page import Page
from eval.metrics.batches import batches_of
from eval.metrics.hits import Hits, find_hits
from eval.metrics.matching import pair_pages

MIN_IOU = 0.5
"""Least IoU of a prediction with the symbol that it finds."""
ENOUGH_SYMBOLS = 30
"""Symbols of a class from which a threshold is chosen for it alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class F1Score:
    """Counts of found, false and missed symbols."""

    n_found: int
    """Predictions that find a symbol, each another one."""
    n_false: int
    """Predictions that find none."""
    n_missed: int
    """Symbols that no prediction finds."""

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 without symbols and predictions."""
        n = 2 * self.n_found + self.n_false + self.n_missed
        return 2 * self.n_found / n if n else 1.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Matches:
    """Predictions of all pages, each compared with the ground truth, highest score first."""

    scores: NDArray[np.float64]
    """Confidence, shape ``(N,)``."""
    labels: NDArray[np.signedinteger[Any]]
    """Class of each prediction, shape ``(N,)``."""
    is_found: NDArray[np.bool_]
    """Whether each prediction finds a symbol that no better one finds, shape ``(N,)``."""
    n_truths: NDArray[np.int64]
    """Ground-truth symbols by class, shape ``(C,)``."""

    def only(self, labels: Sequence[int]) -> "Matches":
        """Return the matches of some classes."""
        rows = np.isin(self.labels, labels)
        n_truths = np.zeros_like(self.n_truths)
        n_truths[list(labels)] = self.n_truths[list(labels)]
        return Matches(
            scores=self.scores[rows],
            labels=self.labels[rows],
            is_found=self.is_found[rows],
            n_truths=n_truths,
        )

    def score(self, threshold: float | NDArray[np.float64]) -> F1Score:
        """Count what is found.

        Args:
            threshold: Score below which predictions are dropped; one for all classes, or one for
                each, shape ``(C,)``.
        """
        limits = np.broadcast_to(threshold, self.n_truths.shape)
        kept = self.is_found[self.scores >= limits[self.labels]]
        n_found = int(kept.sum())
        return F1Score(
            n_found=n_found,
            n_false=len(kept) - n_found,
            n_missed=int(self.n_truths.sum()) - n_found,
        )

    def best_threshold(self) -> float:
        """Return the threshold with the highest F1 over all classes, the highest of equal ones.

        It is in the middle between the scores of the last prediction kept and the first dropped.
        """
        if not len(self.scores):
            return 1.0
        n_kept = np.arange(1, len(self.scores) + 1)
        f1 = 2 * np.cumsum(self.is_found) / (n_kept + self.n_truths.sum())
        is_last = np.append(np.diff(self.scores) < 0, True)  # equal scores are kept together
        last = int(np.where(is_last, f1, -1).argmax())
        below = self.scores[last + 1] if last + 1 < len(self.scores) else 0.0
        return float((self.scores[last] + below) / 2)

    def class_thresholds(self) -> NDArray[np.float64]:
        """Return the threshold of each class with the highest F1, shape ``(C,)``.

        Classes with fewer than ``ENOUGH_SYMBOLS`` have the best threshold of all classes together.
        """
        result = np.full(len(self.n_truths), self.best_threshold())
        for label in np.flatnonzero(self.n_truths >= ENOUGH_SYMBOLS):
            result[label] = self.only([int(label)]).best_threshold()
        return result


def joined(parts: Sequence[Matches]) -> Matches:
    """Return the matches of several sets of pages as those of one set."""
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")
    return Matches(
        scores=scores[order],
        labels=np.concatenate([part.labels for part in parts])[order],
        is_found=np.concatenate([part.is_found for part in parts])[order],
        n_truths=np.sum([part.n_truths for part in parts], axis=0),
    )


def match(truths: Iterable[Page], predictions: Iterable[Page], n_classes: int) -> Matches:
    """Compare predictions with ground truth, as COCO's evaluator does at an IoU of ``MIN_IOU``.

    Args:
        truths: Pages with ground truth, one per image.
        predictions: Pages with scores, one per image of ``truths``.
        n_classes: Number of classes.

    Raises:
        ConfigError: Ground truth and predictions are not for the same images.
        ValueError: A label is out of range, or a prediction page has no scores.
    """
    pairs = pair_pages(truths, predictions, n_classes)
    return of_hits(find_hits(batches_of(pairs, n_classes), iou_thresholds=(MIN_IOU,)))


def of_hits(hits: Hits) -> Matches:
    """Return the matches at the first IoU threshold."""
    order = np.argsort(-hits.scores, kind="stable")
    return Matches(
        scores=hits.scores[order],
        labels=hits.labels[order],
        is_found=hits.is_hit[0, order],
        n_truths=hits.n_truths.sum(axis=0),
    )
