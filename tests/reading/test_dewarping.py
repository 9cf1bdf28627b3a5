"""Tests of the map between a page and the upright page."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.boxes import corner_bounds, upright_corners
from reading.dewarping import Dewarping, Slopes

WIDTH, HEIGHT = 900, 700
small = st.floats(-0.05, 0.05)
any_slopes = st.builds(
    Slopes, across=small, across_change=small, bend=small, down=small, down_change=small
)


def shear(slopes: Slopes) -> np.ndarray:
    """Return the matrix from the upright page to the page, for slopes that do not change."""
    return np.array([[1, slopes.down], [slopes.across, 1]])


def test_a_page_without_slopes_stays() -> None:
    page = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    same = Dewarping.of(WIDTH, HEIGHT, Slopes())
    assert np.array_equal(same.dewarp(page), page)
    boxes = np.array([[0.0, 0.0, 10.0, 4.0], [400.0, 100.0, 402.0, 300.0]])
    np.testing.assert_array_equal(same.back(boxes), boxes)
    assert same.back(np.empty((0, 4))).shape == (0, 4)


@pytest.mark.parametrize(("across", "down"), [(0.05, -0.05), (0.0, 0.04), (-0.03, -0.01)])
def test_boxes_come_back_as_by_a_shear(across: float, down: float) -> None:
    slopes = Slopes(across=across, down=down)
    dewarping = Dewarping.of(WIDTH, HEIGHT, slopes)
    boxes = np.array([[0.0, 0.0, 10.0, 4.0], [400.0, 100.0, 402.0, 300.0]])
    centre = np.array([WIDTH, HEIGHT]) / 2
    offset = centre + dewarping.margins_xy
    expected = (upright_corners(boxes) - offset) @ shear(slopes).T + centre
    np.testing.assert_allclose(dewarping.back(boxes), corner_bounds(expected), atol=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_slanted_and_bent_lines_become_straight(channels: int) -> None:
    ys, xs = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    right, below = xs - WIDTH / 2, ys - HEIGHT / 2
    slope = 0.03 + 0.03 * right / (WIDTH / 2)
    page = np.where(np.abs(below - slope * right) < 3, 0, 255).astype(np.uint8)
    page = page if channels == 1 else np.dstack([page] * 3)
    dewarping = Dewarping.of(WIDTH, HEIGHT, Slopes(across=0.03, bend=0.03))
    flat = dewarping.dewarp(page)
    assert flat.shape[:2] == (dewarping.height, dewarping.width)
    ys_of_ink = np.nonzero(flat.reshape(*flat.shape[:2], -1)[..., 0] < 128)[0]
    assert np.ptp(ys_of_ink) <= 6
    assert np.ptp(np.nonzero(page.reshape(HEIGHT, WIDTH, -1)[..., 0] < 128)[0]) > 20


@given(slopes=any_slopes, x=st.floats(20, 860), y=st.floats(20, 660))
def test_ink_is_where_its_box_comes_back(slopes: Slopes, x: float, y: float) -> None:
    page = np.full((HEIGHT, WIDTH), 255, np.uint8)
    left, top, right, bottom = int(x), int(y), int(x) + 20, int(y) + 20
    page[top:bottom, left:right] = 0
    dewarping = Dewarping.of(WIDTH, HEIGHT, slopes)
    ys, xs = np.nonzero(dewarping.dewarp(page) < 250)
    on_upright = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], float)
    [box] = dewarping.back(on_upright)
    assert (box[:2] <= [left + 0.5, top + 0.5]).all()
    assert (box[2:] >= [right - 0.5, bottom - 0.5]).all()
    assert (box[2:] - box[:2] < 30).all()


@given(slopes=any_slopes)
def test_no_part_is_cut_off(slopes: Slopes) -> None:
    dewarping = Dewarping.of(WIDTH, HEIGHT, slopes)
    whole = np.array([[0.0, 0.0, dewarping.width, dewarping.height]])
    [box] = dewarping.back(whole)
    assert (box[:2] <= 1).all()
    assert (box[2:] >= [WIDTH - 1, HEIGHT - 1]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3000, 100), (100, 3000)])
def test_pages_of_any_shape(size: tuple[int, int]) -> None:
    width, height = size
    aspect = max(width / height, height / width)
    change = 0.08 / aspect
    slopes = Slopes(across=0.08, across_change=change, bend=-0.08, down=0.08, down_change=change)
    assert slopes.distortion(width, height) <= 0.081
    dewarping = Dewarping.of(width, height, slopes)
    assert dewarping.dewarp(np.zeros((height, width), np.uint8)).max() == 0
    [box] = dewarping.back(np.array([[0.0, 0.0, dewarping.width, dewarping.height]]))
    assert (box[:2] <= 1).all()
    assert (box[2:] >= np.array(size) - 1).all()


@given(slopes=any_slopes, x=st.floats(0, WIDTH), y=st.floats(0, HEIGHT))
def test_points_go_to_the_upright_page_and_back(slopes: Slopes, x: float, y: float) -> None:
    dewarping = Dewarping.of(WIDTH, HEIGHT, slopes)
    place = dewarping.upright(np.array([[x, y]]))
    back = dewarping.back(np.concatenate([place, place], axis=1))
    np.testing.assert_allclose(back, [[x, y, x, y]], atol=1e-6)
