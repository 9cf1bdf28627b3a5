"""Tests of the skew of pages, with drawn staves and OpenCV's rotation."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from converters.boxes import Boxes, corner_bounds, upright_corners
from reading.skew import MAX_DEGREES, MIN_DEGREES, Rotation, measure_skew

WIDTH, HEIGHT = 900, 700


def staves(degrees: float) -> NDArray[np.uint8]:
    """Draw five staves whose lines have an angle, clockwise as the page is seen."""
    image = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for line in range(25):
        y = 120 + (line // 5) * 100 + (line % 5) * 12
        cv2.line(image, (120, y), (780, y), 0, 2)
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), -degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (WIDTH, HEIGHT), borderValue=255), np.uint8)


@pytest.mark.parametrize("degrees", [-4.5, -2, -0.5, 0.3, 1, 2.37, 4.9])
def test_the_angle_of_staves_is_measured(degrees: float) -> None:
    assert measure_skew(staves(degrees) < 128) == pytest.approx(degrees, abs=0.06)


@pytest.mark.parametrize("degrees", [0, MIN_DEGREES / 2, MAX_DEGREES + 3])
def test_upright_pages_and_those_that_are_turned_further_stay(degrees: float) -> None:
    assert measure_skew(staves(degrees) < 128) is None


@pytest.mark.parametrize("kind", ["blank", "black", "one pixel", "noise", "squares"])
def test_pages_without_staves_stay(kind: str) -> None:
    ink = np.zeros((HEIGHT, WIDTH), np.bool_)
    if kind == "black":
        ink[:] = True
    elif kind == "one pixel":
        ink[300, 400] = True
    elif kind == "noise":
        ink = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.05
    elif kind == "squares":
        for x, y in np.random.default_rng(1).integers(0, 600, (40, 2)):
            ink[y : y + 30, x : x + 30] = True
    assert measure_skew(ink) is None


@pytest.mark.parametrize("degrees", [-3.0, 0.4, 5.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_turned_pages_are_upright_and_boxes_come_back(degrees: float, channels: int) -> None:
    page = staves(degrees)
    rotation = Rotation.of(WIDTH, HEIGHT, degrees)
    turned = rotation.turned(page if channels == 1 else np.dstack([page] * 3))
    assert turned.shape[:2] == (rotation.height, rotation.width)
    assert measure_skew(turned.reshape(*turned.shape[:2], -1)[..., 0] < 128) is None
    angle = np.radians(degrees)
    spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    boxes = np.array([[0.0, 0.0, 10.0, 4.0], [400.0, 100.0, 402.0, 300.0]])
    middle = np.array([rotation.width, rotation.height]) / 2
    expected: Boxes = (upright_corners(boxes) - middle) @ spin.T + np.array([WIDTH, HEIGHT]) / 2
    np.testing.assert_allclose(rotation.back(boxes), corner_bounds(expected), atol=1e-9)


def test_ink_of_a_turned_page_is_where_its_box_comes_back() -> None:
    page = np.full((HEIGHT, WIDTH), 255, np.uint8)
    page[200:500, 400:404] = 0
    rotation = Rotation.of(WIDTH, HEIGHT, 3.0)
    ys, xs = np.nonzero(rotation.turned(page) < 200)
    on_turned = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], float)
    [box] = rotation.back(on_turned)
    assert (box[:2] <= [400, 200]).all()
    assert (box[2:] >= [404, 500]).all()
