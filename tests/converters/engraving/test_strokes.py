"""Outlines of strokes compared with examples worked out by hand and with OpenCV."""

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
    ("line", "ends", "expected"),
    [
        ((0, 0, 10, 0), "butt", [0, -1, 10, 1]),
        ((0, 0, 10, 0), "square", [-1, -1, 11, 1]),
        ((0, 0, 10, 0), "round", [-1, -1, 11, 1]),
        ((5, 20, 5, 10), "butt", [4, 10, 6, 20]),
        ((5, 20, 5, 10), "square", [4, 9, 6, 21]),
        ((5, 20, 5, 10), "round", [4, 9, 6, 21]),
    ],
)
def test_straight_stroke(line: list[float], ends: strokes.Ends, expected: list[float]) -> None:
    contour = strokes.polyline(np.array(line, np.float64).reshape(2, 2), 2.0, ends=ends)
    assert box(contour) == expected
    area = {"butt": 20, "square": 24, "round": 20 + math.pi}[ends]
    assert strokes.signed_area(contour) == pytest.approx(area, abs=0.1)


def test_last_dash_is_cut_off() -> None:
    line = np.array([[0.0, 0.0], [10.0, 0.0]])
    result = strokes.dashed(line, 1.0, [3, 2])
    assert [box(c)[::2] for c in result] == [[0, 3], [5, 8]]
    assert strokes.dashed(line, 1.0, [4, 4])[-1].max(0).tolist() == [10, 0.5]
    assert strokes.dashed(line[:1].repeat(2, 0), 1.0, [3, 2]) == []
    assert strokes.dashed(line, 1.0, [0.0]) == []


def test_a_dash_shorter_than_the_precision_of_coordinates_is_skipped() -> None:
    line = np.array([(1e4, 0.0), (1e4 + 10, 0.0)])
    assert len(strokes.dashed(line, 1.0, [0.1, 0.1], ends="square")) == 50


def test_dashes_follow_corners() -> None:
    line = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 10.0]])
    result = strokes.dashed(line, 2.0, [6, 3, 1])
    assert [box(c) for c in result] == [[0, -1, 5, 2], [3, 5, 5, 6]]
    dots = strokes.dashed(line, 2.0, [0.1, 6.8], ends="round")
    assert [box(c) for c in dots] == [[-1, -1, 1.1, 1], [3, 1.9, 5, 4], [3, 8.8, 5, 10.9]]


def test_right_angle_is_mitred() -> None:
    contour = strokes.polyline(np.array([[0, 0], [10, 0], [10, 10.0]]), 2.0)
    assert box(contour) == [0, -1, 11, 10]
    assert strokes.signed_area(contour) == pytest.approx(20 + 20)


def test_sharp_corners_are_mitred_and_very_sharp_ones_bevelled() -> None:
    wedge = strokes.polyline(np.array([[0, 5], [10, 0], [0, -5.0]]), 1.0)
    half = math.atan2(5, 10)
    assert wedge[:, 0].max() == pytest.approx(10 + 0.5 / math.sin(half))
    needle = strokes.polyline(np.array([[0, 1], [10, 0], [0, -1.0]]), 1.0)
    assert needle[:, 0].max() < 10 + 0.5


def test_repeated_points_change_nothing() -> None:
    line = np.array([[0, 0], [5, 5], [5, 5], [9, 0.0]])
    assert np.array_equal(
        strokes.polyline(line, 1.0, ends="square"),
        strokes.polyline(line[[0, 1, 3]], 1.0, ends="square"),
    )


def test_expanding_rounds_a_square_and_shrinks_its_hole() -> None:
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


def test_expanding_nothing() -> None:
    assert strokes.grown([], 1.0) == []
    assert strokes.grown([np.zeros((5, 2))], 1.0) == []


points = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=3, max_size=7)


@given(points, st.floats(0.5, 4))
def test_expanded_hull_agrees_with_opencv(corners: list[tuple[int, int]], by: float) -> None:
    hull = cv2.convexHull(np.array(corners, np.int32))[:, 0].astype(np.float64)
    assume(len(hull) > 2 and abs(strokes.signed_area(hull)) > 5)
    [grown] = strokes.grown([hull], by)
    low, high = hull.min(0) - by, hull.max(0) + by
    inside = np.array(box(grown))
    # sharp corners are rounded with a few points, blunt ones are slightly mitred
    assert np.allclose(inside, [*low, *high], atol=0.05 * by)
    assert strokes.signed_area(grown) > abs(strokes.signed_area(hull))
