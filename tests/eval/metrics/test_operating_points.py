import numpy as np
import pytest

from eval.metrics.hits import Hits
from eval.metrics.operating_points import (
    best_points,
    chosen_points,
    class_thresholds,
    page_errors,
)
from eval.reports.evaluation import OperatingPoint, PageErrors

HITS = Hits(
    scores=np.array([0.9, 0.8, 0.4, 0.3, 0.7]),
    labels=np.array([0, 0, 0, 0, 1]),
    pages=np.array([0, 1, 1, 0, 1]),
    is_hit=np.array([[True, True, False, True, False]]),
    n_truths=np.array([[2, 0, 1], [3, 0, 0]]),
)
"""Five heads, of which three are found; a false stem; a missed clef."""


def point(threshold: float, precision: float, recall: float, f1: float) -> OperatingPoint:
    return OperatingPoint(
        threshold=pytest.approx(threshold),
        precision=pytest.approx(precision),
        recall=pytest.approx(recall),
        f1=pytest.approx(f1),
    )


def test_best_points() -> None:
    # F1 of the heads: 2/6, 4/7, 4/8, 6/9.
    assert best_points(HITS) == (point(0.15, 3 / 4, 3 / 5, 6 / 9), None, None)


def test_chosen_points() -> None:
    assert chosen_points(HITS, 0.5) == (
        point(0.5, 1, 2 / 5, 4 / 7),
        None,
        point(0.5, 0, 0, 0),
    )


def test_classes_without_a_point_have_the_best_threshold_of_all() -> None:
    # F1 of all: 2/7, 4/8, 4/9, 4/10, 6/11.
    assert class_thresholds(HITS, best_points(HITS)) == pytest.approx([0.15, 0.15, 0.15])
    points = [point(0.85, 1, 0.2, 0.3), None, None]
    assert class_thresholds(HITS, points)[1:] == pytest.approx([0.15, 0.15])


def test_pages_with_the_most_errors_come_first() -> None:
    first = PageErrors(image="b", n_truths=3, n_found=1, n_false=1, n_missed=2)
    second = PageErrors(image="a", n_truths=3, n_found=1, n_false=0, n_missed=2)
    assert page_errors(HITS, np.array([0.5, 0.5, 0.5]), ["a", "b"]) == (first, second)
    third = PageErrors(image="b", n_truths=3, n_found=1, n_false=0, n_missed=2)
    assert page_errors(HITS, np.array([0.5, 0.9, 0.5]), ["a", "b"]) == (second, third)
