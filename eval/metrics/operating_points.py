"""Precision, recall and F1 of each class at a threshold, and the errors on each page.

Shapes: C classes, N predictions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eval.metrics.f1 import Matches, of_hits
from eval.metrics.hits import Hits
from eval.reports.evaluation import OperatingPoint, PageErrors


def operating_point(matches: Matches, threshold: float) -> OperatingPoint:
    """Return the point of the predictions from a threshold on; precision is 0 without any."""
    score = matches.score(threshold)
    n_kept, n_truths = score.n_found + score.n_false, score.n_found + score.n_missed
    return OperatingPoint(
        threshold=threshold,
        precision=score.n_found / n_kept if n_kept else 0.0,
        recall=score.n_found / n_truths if n_truths else 0.0,
        f1=score.f1,
    )


def best_points(hits: Hits) -> tuple[OperatingPoint | None, ...]:
    """Return the point with the highest F1 of each class, shape ``(C,)``.

    The threshold is chosen on the same pages, so that the F1 of a rare class is optimistic. None
    without ground truth or predictions.
    """
    return tuple(
        operating_point(matches, matches.best_threshold())
        if len(matches.scores) and matches.n_truths.any()
        else None
        for matches in _by_class(hits)
    )


def chosen_points(hits: Hits, threshold: float) -> tuple[OperatingPoint | None, ...]:
    """Return the point of each class at a threshold, shape ``(C,)``; None without ground truth."""
    return tuple(
        operating_point(matches, threshold) if matches.n_truths.any() else None
        for matches in _by_class(hits)
    )


def _by_class(hits: Hits) -> list[Matches]:
    """Return the matches of each class, length C."""
    n_truths = hits.n_truths.sum(axis=0)
    return [
        Matches(
            scores=hits.scores[hits.rows(label)],
            labels=np.zeros(hits.rows(label).stop - hits.rows(label).start, np.int64),
            is_found=hits.is_hit[0, hits.rows(label)],
            n_truths=n_truths[[label]],
        )
        for label in range(hits.n_classes)
    ]


def class_thresholds(hits: Hits, points: Sequence[OperatingPoint | None]) -> NDArray[np.float64]:
    """Return the threshold of each class's point; without one, the best for all classes.

    Args:
        hits: Matched predictions.
        points: Point of each class, length C.
    """
    common = of_hits(hits).best_threshold()
    return np.array([common if point is None else point.threshold for point in points])


def page_errors(
    hits: Hits, thresholds: NDArray[np.float64], images: Sequence[str]
) -> tuple[PageErrors, ...]:
    """Count the errors on each page.

    Args:
        hits: Matched predictions.
        thresholds: Threshold of each class, shape ``(C,)``.
        images: Name of each page.

    Returns:
        Pages, those with the most errors first, then by name.
    """
    is_kept = hits.scores >= thresholds[hits.labels]  # (N,)
    n_kept, n_found = (
        np.bincount(hits.pages[rows], minlength=len(images)).tolist()
        for rows in (is_kept, is_kept & hits.is_hit[0])
    )
    pages = [
        PageErrors(
            image=image,
            n_truths=int(hits.n_truths[i].sum()),
            n_found=n_found[i],
            n_false=n_kept[i] - n_found[i],
            n_missed=int(hits.n_truths[i].sum()) - n_found[i],
        )
        for i, image in enumerate(images)
    ]
    return tuple(sorted(pages, key=lambda page: (-page.n_false - page.n_missed, page.image)))
