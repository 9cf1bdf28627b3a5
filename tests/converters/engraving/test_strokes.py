"""Outlines of strokes against hand-worked ones and against OpenCV's drawing."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from converters.engraving import strokes


def box(contour: np.ndarray) -> list[float]:
    return [*contour.min(0).round(6).tolist(), *contour.max(0).round(6).tolist()]


@pytest.mark.parametrize(
    ("line", "square", "expected"),
    [
        ((0, 0, 10, 0), False, [0, -1, 10, 1]),
        ((0, 0, 10, 0), True, [-1, -1, 11, 1]),
        ((5, 20, 5, 10), False, [4, 10, 6, 20]),
        ((5, 20, 5, 10), True, [4, 9, 6, 21]),
    ],
)
def test_a_bar(
    line: tuple[float, float, float, float], square: bool, expected: list[float]
) -> None:
    contour = strokes.bar(*line, 2.0, square=square)
    assert box(contour) == expected
    assert strokes.signed_area(contour) > 0


def test_dashes_are_cut_at_the_end() -> None:
    line = np.array([[0.0, 0.0], [10.0, 0.0]])
    found = strokes.dashed(line, 1.0, [3, 2], square=False)
    assert [box(c)[::2] for c in found] == [[0, 3], [5, 8]]
    assert strokes.dashed(line, 1.0, [4, 4], square=False)[-1].max(0).tolist() == [10, 0.5]
    assert strokes.dashed(line[:1].repeat(2, 0), 1.0, [3, 2], square=False) == []
    assert strokes.dashed(line, 1.0, [0.0], square=False) == []


def test_a_right_angle_has_its_corner() -> None:
    contour = strokes.polyline(np.array([[0, 0], [10, 0], [10, 10.0]]), 2.0, square=False)
    assert box(contour) == [0, -1, 11, 10]
    assert strokes.signed_area(contour) == pytest.approx(20 + 20)


def test_a_wedge_is_pointed_and_a_needle_is_cut_off() -> None:
    wedge = strokes.polyline(np.array([[0, 5], [10, 0], [0, -5.0]]), 1.0, square=False)
    half = math.atan2(5, 10)
    assert wedge[:, 0].max() == pytest.approx(10 + 0.5 / math.sin(half))
    needle = strokes.polyline(np.array([[0, 1], [10, 0], [0, -1.0]]), 1.0, square=False)
    assert needle[:, 0].max() < 10 + 0.5


def test_repeated_points_change_nothing() -> None:
    line = np.array([[0, 0], [5, 5], [5, 5], [9, 0.0]])
    assert np.array_equal(
        strokes.polyline(line, 1.0, square=True),
        strokes.polyline(line[[0, 1, 3]], 1.0, square=True),
    )


def test_growing_rounds_a_square_and_shrinks_its_hole() -> None:
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10.0]])
    hole = (square[::-1] - 5) / 2 + 5
    outer, inner = strokes.grown([square, hole], 1.0)
    assert box(outer) == [-1, -1, 11, 11]
    assert strokes.signed_area(outer) == pytest.approx(100 + 40 + math.pi, abs=0.2)
    assert strokes.signed_area(inner) == pytest.approx(-9)
    turned = strokes.grown([square[::-1], hole[::-1]], 1.0)
    assert [round(strokes.signed_area(c), 6) for c in turned] == [
        round(strokes.signed_area(c), 6) for c in (outer, inner)
    ]


def test_nothing_grows_to_nothing() -> None:
    assert strokes.grown([], 1.0) == []
    assert strokes.grown([np.zeros((5, 2))], 1.0) == []


points = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=3, max_size=7)


@given(points, st.floats(0.5, 4))
def test_a_grown_hull_reaches_as_far_as_a_thick_pen(
    corners: list[tuple[int, int]], by: float
) -> None:
    hull = cv2.convexHull(np.array(corners, np.int32))[:, 0].astype(np.float64)
    assume(len(hull) > 2 and abs(strokes.signed_area(hull)) > 5)
    [grown] = strokes.grown([hull], by)
    low, high = hull.min(0) - by, hull.max(0) + by
    inside = np.array(box(grown))
    # sharp corners are rounded with a few points, blunt ones a little pointed
    assert np.allclose(inside, [*low, *high], atol=0.05 * by)
    assert strokes.signed_area(grown) > abs(strokes.signed_area(hull))
