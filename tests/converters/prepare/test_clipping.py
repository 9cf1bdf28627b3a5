"""Tests of clipping: oriented boxes and tiles compared with OpenCV's intersection of polygons."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.boxes import Boxes, corner_bounds, rotated_corners
from converters.prepare.clipping import fitted, visible_parts

WIDTH, HEIGHT = 100, 60


def oriented(x: float, y: float, long: float, short: float, degrees: float) -> Boxes:
    upright = np.array([[x, y, x + long, y + short]])
    return rotated_corners(upright, np.array([degrees]))


@given(
    x=st.floats(-150, 150),
    y=st.floats(-150, 150),
    long=st.floats(1, 300),
    short=st.floats(1, 80),
    degrees=st.floats(-180, 180),
)
def test_the_visible_part_is_the_intersection(
    x: float, y: float, long: float, short: float, degrees: float
) -> None:
    corners = oriented(x, y, long, short, degrees)
    tile = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], np.float32)
    area, polygon = cv2.intersectConvexConvex(corners[0].astype(np.float32), tile)
    parts = visible_parts(corners, WIDTH, HEIGHT)
    [box] = parts.boxes_xyxy
    if np.isnan(box).any():
        assert area < 0.1
    elif area > 0.1:
        points = np.asarray(polygon, float).reshape(-1, 2)
        np.testing.assert_allclose(box, corner_bounds(points[None])[0], atol=0.05)
        angle = np.radians(degrees)
        across, along = [-np.sin(angle), np.cos(angle)], [np.cos(angle), np.sin(angle)]
        extents = [np.ptp(points @ direction) for direction in (across, along)]
        np.testing.assert_allclose(parts.extents[0], extents, atol=0.05)
        np.testing.assert_allclose(parts.sides, [[short, long]])


@pytest.mark.parametrize("turns", range(4))
def test_a_slanted_line_that_two_tiles_share(turns: int) -> None:
    # From (0, 10) to (200, 60), 4 px thick measured vertically: half of it is in the tile.
    line = np.array([[0, 10], [200, 60], [200, 64], [0, 14]], float)
    parts = visible_parts(np.roll(line, turns, axis=0)[None], 100, 60)
    np.testing.assert_allclose(parts.boxes_xyxy, [[0, 10, 100, 39]])
    length = np.hypot(200, 50)
    np.testing.assert_allclose(parts.sides[0, turns % 2], length)
    assert parts.extents[0, turns % 2] == pytest.approx(length / 2, rel=0.01)


@pytest.mark.parametrize(
    "corners",
    [
        pytest.param([[200, 10], [220, 10], [220, 20], [200, 20]], id="outside"),
        pytest.param([[10, 10], [10, 10], [10, 10], [10, 10]], id="a point"),
        pytest.param([[10, 10], [50, 10], [50, 10], [10, 10]], id="without height"),
    ],
)
def test_nothing_is_known_of_boxes_outside_or_without_area(corners: list[list[float]]) -> None:
    parts = visible_parts(np.array([corners], float), WIDTH, HEIGHT)
    assert np.isnan(parts.boxes_xyxy).all()


def test_corners_are_fitted_to_the_upright_box() -> None:
    corners = np.array([[[9, 4], [5, 0], [1, 4], [5, 8]], [[3, 8], [3, 0], [3, 0], [3, 8]]], float)
    moved = fitted(corners, np.array([[1, 0, 10, 10], [3, 0, 4, 9]], float))
    np.testing.assert_allclose(moved[0], [[10.0, 5.0], [5.5, 0.0], [1.0, 5.0], [5.5, 10.0]])
    np.testing.assert_allclose(moved[1, :, 0], 3.0)


def test_no_boxes() -> None:
    parts = visible_parts(np.empty((0, 4, 2)), WIDTH, HEIGHT)
    assert (parts.boxes_xyxy.shape, parts.sides.shape) == ((0, 4), (0, 2))
