from dataclasses import astuple

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
    order=np.arange(5),
    n_truths=np.array([[2, 0, 1], [3, 0, 0]]),
)
"""Five heads, of which three are found; a false stem; a missed clef."""


def test_best_points() -> None:
    # F1 of the heads: 2/6, 4/7, 4/8, 6/9.
    heads, *others = best_points(HITS)
    assert heads is not None
    assert astuple(heads) == pytest.approx((0.15, 3 / 4, 3 / 5, 6 / 9))
    assert others == [None, None]


def test_chosen_points() -> None:
    heads, stems, clefs = chosen_points(HITS, 0.5)
    assert heads is not None
    assert astuple(heads) == pytest.approx((0.5, 1, 2 / 5, 4 / 7))
    assert stems is None
    assert clefs == OperatingPoint(threshold=0.5, precision=0, recall=0, f1=0)


def test_classes_without_a_point_have_the_best_threshold_of_all() -> None:
    # F1 of all: 2/7, 4/8, 4/9, 4/10, 6/11.
    assert class_thresholds(HITS, best_points(HITS)) == pytest.approx([0.15, 0.15, 0.15])
    points = [OperatingPoint(threshold=0.85, precision=1, recall=0.2, f1=0.3), None, None]
    assert class_thresholds(HITS, points)[1:] == pytest.approx([0.15, 0.15])


def test_pages_with_the_most_errors_come_first() -> None:
    first = PageErrors(image="b", n_truths=3, n_found=1, n_false=1, n_missed=2)
    second = PageErrors(image="a", n_truths=3, n_found=1, n_false=0, n_missed=2)
    assert page_errors(HITS, np.array([0.5, 0.5, 0.5]), ["a", "b"]) == (first, second)
    third = PageErrors(image="b", n_truths=3, n_found=1, n_false=0, n_missed=2)
    assert page_errors(HITS, np.array([0.8, 0.9, 0.5]), ["a", "b"]) == (second, third)
