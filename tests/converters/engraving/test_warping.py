import math
from dataclasses import replace
from random import Random
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters.engraving.captures import Capture, Degradation
from converters.engraving.distributions import draw_degradation
from converters.engraving.outlines import Outline, Points, outline
from converters.engraving.warping import Bend, Warp, densified, draw_paper, draw_warp, warped

seeds = st.integers(0, 2**32)
captures: st.SearchStrategy[Capture] = st.sampled_from(["scan", "photo", "fax", "worn"])
coordinates = st.floats(-100, 100, allow_subnormal=False)
contours = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=6).map(np.array)
drawings = st.lists(contours, min_size=1, max_size=3).map(outline)

WIDTH, HEIGHT = 1960, 2772


def warp_of(
    capture: Capture, seed: int, content: tuple[float, ...] = (100, 100, 1860, 2672)
) -> Warp:
    rng = Random(seed)
    return warp_with(draw_degradation(capture, rng), rng, content)


def warp_with(
    degradation: Degradation, rng: Random, content: tuple[float, ...] = (100, 100, 1860, 2672)
) -> Warp:
    return draw_warp(degradation, rng, width=WIDTH, height=HEIGHT, content_xyxy=content)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def turned(degrees: float) -> Warp:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return Warp(width=WIDTH, height=HEIGHT, matrix=matrix, bend=None)


def area(drawn: Outline) -> float:
    x, y = (
        np.concatenate(
            [np.append(c, c[0]) for c in np.split(values, np.cumsum(drawn.lengths)[:-1])]
        )
        for values in drawn.points_xy.T
    )
    ends = np.cumsum(drawn.lengths + 1)[:-1] - 1
    steps = np.delete(x[:-1] * y[1:] - x[1:] * y[:-1], ends)  # skip the steps between contours
    return float(steps.sum() / 2)


@pytest.mark.parametrize("capture", get_args(Capture))
def test_no_outlines(capture: Capture) -> None:
    assert warped([], warp_of(capture, 1)) == []
    assert warp_of(capture, 1)(np.empty((0, 2))).shape == (0, 2)


def test_none_moves_nothing() -> None:
    points_xy = np.array([[-0.0, 0.1 + 0.2], [1e300, -5e-324], [1960, 2772]])
    warp = warp_of("none", 1)
    assert warp(points_xy).tobytes() == points_xy.tobytes()
    [same] = warped([outline([points_xy])], warp)
    assert same.points_xy.tobytes() == points_xy.tobytes()
    assert same.lengths.tolist() == [3]


@given(capture=captures, seed=seeds)
def test_seed_determines_the_warp(capture: Capture, seed: int) -> None:
    points_xy = np.array([[10.0, 20], [1900, 2700]])
    one, two = warp_of(capture, seed)(points_xy), warp_of(capture, seed)(points_xy)
    assert one.tobytes() == two.tobytes()
    assert not np.array_equal(one, warp_of(capture, seed + 1)(points_xy))


def jacobians(warp: Warp, points_xy: Points) -> NDArray[np.float64]:
    """Compute how steps of one pixel in x and in y are mapped, shape ``(N, 2, 2)``."""
    return np.stack([warp(points_xy + step) - warp(points_xy) for step in np.eye(2)], axis=2)


@given(capture=captures, seed=seeds)
def test_warps_keep_orientation_and_approximate_shape(capture: Capture, seed: int) -> None:
    grid = np.stack(np.meshgrid(np.linspace(0, WIDTH, 40), np.linspace(0, HEIGHT, 40)), axis=2)
    stretches = np.linalg.svd(jacobians(warp_of(capture, seed), grid.reshape(-1, 2)))[1]
    assert (np.linalg.det(jacobians(warp_of(capture, seed), grid.reshape(-1, 2))) > 0).all()
    assert stretches.min() > 0.8
    assert stretches.max() < 1.2


@given(capture=captures, seed=seeds)
def test_warps_rotate_by_up_to_three_degrees(capture: Capture, seed: int) -> None:
    rng = Random(seed)
    degradation = draw_degradation(capture, rng)
    left, right = warp_with(degradation, rng)(np.array([[200.0, 1386], [1760, 1386]]))
    degrees = math.degrees(math.atan2(*(right - left)[::-1]))
    assert abs(degradation.rotation) <= 3
    assert degrees == pytest.approx(degradation.rotation, abs=1.5)  # tilt, shear and bend add


boxes = st.tuples(
    st.floats(-300, 1000), st.floats(-300, 1000), st.floats(0, 1500), st.floats(0, 2200)
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@given(capture=captures, seed=seeds, content=boxes)
def test_content_stays_on_the_page(capture: Capture, seed: int, content: tuple[float, ...]) -> None:
    warp = warp_of(capture, seed, content)
    x0, y0, x1, y1 = content
    grid = np.stack(np.meshgrid(np.linspace(x0, x1, 83), np.linspace(y0, y1, 83)), axis=2)
    moved = warp(grid.reshape(-1, 2))
    assert (moved >= 0).all()
    assert (moved <= [WIDTH, HEIGHT]).all()


def test_pages_with_wide_margins_are_not_shrunk() -> None:
    middle = rectangle(800, 1300, 1000, 1500)
    for seed in range(20):
        degradation = replace(draw_degradation("scan", Random(seed)), rotation=0.0)
        warp = warp_with(degradation, Random(seed), (700, 1200, 1100, 1600))
        box = outline([warp(middle)]).box_xyxy()
        assert (np.abs(box[2:] - box[:2] - 200) < 8).all()


@pytest.mark.parametrize("capture", get_args(Capture))
def test_page_of_one_pixel_with_empty_content(capture: Capture) -> None:
    degradation = draw_degradation(capture, Random(1))
    content = (0.5, 0.5, 0.5, 0.5)
    warp = draw_warp(degradation, Random(1), width=1, height=1, content_xyxy=content)
    assert warp(np.array([[0.5, 0.5]])) == pytest.approx(0.5, abs=0.02)


def test_box_of_a_rotated_outline() -> None:
    [moved] = warped([outline([rectangle(0, 0, 100, 10)])], turned(30))
    cos, sin = math.sqrt(3) / 2, 1 / 2
    expected = [-10 * sin, 0, 100 * cos, 100 * sin + 10 * cos]
    np.testing.assert_allclose(moved.box_xyxy(), expected, atol=1e-9)
    assert len(moved.points_xy) == 4


@given(drawn=st.lists(drawings, min_size=1, max_size=4), seed=seeds, capture=captures)
def test_outlines_are_moved_independently(
    drawn: list[Outline], seed: int, capture: Capture
) -> None:
    warp = warp_of(capture, seed)
    together = warped(drawn, warp)
    assert [len(o.lengths) for o in together] == [len(o.lengths) for o in drawn]
    for one, moved in zip(drawn, together, strict=True):
        [alone] = warped([one], warp)
        np.testing.assert_array_equal(moved.lengths, alone.lengths)
        np.testing.assert_allclose(moved.points_xy, alone.points_xy, rtol=0, atol=1e-9)


def test_straight_edges_follow_a_bend() -> None:
    """Compare a warped staff line with one drawn with many more points."""
    line = outline([rectangle(100, 500, 1860, 502)])
    farthest = 0.0
    for seed in range(30):
        degradation = replace(draw_degradation("photo", Random(seed)), pinch=0.015, bow=0.01)
        warp = warp_with(degradation, Random(seed))
        [moved] = warped([line], warp)
        finely = densified(line, 0.5).moved(warp).points_xy
        upper, upper_finely = moved.points_xy[: len(moved.points_xy) // 2], finely[:3500]
        expected = np.interp(upper_finely[:, 0], *upper.T)
        farthest = max(farthest, np.abs(expected - upper_finely[:, 1])[:-30].max())
    assert 0 < farthest < 0.05


@given(drawn=drawings, max_px=st.floats(1, 300))
def test_densifying_keeps_points_extent_and_area(drawn: Outline, max_px: float) -> None:
    dense = densified(drawn, max_px)
    assert len(dense.lengths) == len(drawn.lengths)
    assert dense.lengths.sum() == len(dense.points_xy)
    assert {tuple(p) for p in drawn.points_xy} <= {tuple(p) for p in dense.points_xy}
    np.testing.assert_array_equal(dense.box_xyxy().round(9), drawn.box_xyxy().round(9))
    assert area(dense) == pytest.approx(area(drawn), abs=1e-6)
    for contour in np.split(dense.points_xy, np.cumsum(dense.lengths)[:-1]):
        steps = np.roll(contour, -1, axis=0) - contour
        assert (np.hypot(*steps.T) <= max_px * (1 + 1e-9)).all()


def test_densifying_keeps_short_edges() -> None:
    drawn = outline([rectangle(0, 0, 10, 4), rectangle(5, 5, 6, 30)])
    assert densified(drawn, 25).points_xy.tolist() == drawn.points_xy.tolist()
    dense = densified(drawn, 5)
    assert dense.lengths.tolist() == [6, 12]
    assert dense.points_xy[:6].tolist() == [[0, 0], [5, 0], [10, 0], [10, 4], [5, 4], [0, 4]]


def test_spine_pulls_nearby_points() -> None:
    bend = Bend(spine=1, reach=0.1, pull=0.004, pinch=0.002, bow=0.0, waves=np.zeros((0, 5)))
    warp = Warp(width=1000, height=2000, matrix=None, bend=bend)
    points_xy = np.array([[1000.0, 0], [1000, 1000], [900, 2000], [0, 0]])
    expected = np.array([[996, 2], [996, 1000], [900 - 4 / math.e, 2000 - 2 / math.e], [0, 0]])
    np.testing.assert_allclose(warp(points_xy), expected, atol=1e-3)


def test_bow_arches_horizontal_lines() -> None:
    bend = Bend(spine=0, reach=0.1, pull=0.0, pinch=0.0, bow=0.01, waves=np.zeros((0, 5)))
    warp = Warp(width=1000, height=2000, matrix=None, bend=bend)
    points_xy = np.array([[0.0, 700], [500, 700], [1000, 700]])
    np.testing.assert_allclose(warp(points_xy)[:, 1], [700, 690, 700])


@given(capture=captures, seed=seeds, content=boxes)
def test_surroundings_never_cover_the_content(
    capture: Capture, seed: int, content: tuple[float, ...]
) -> None:
    rng = Random(seed)
    degradation = replace(draw_degradation(capture, rng), edges=0.8)
    warp = warp_with(degradation, rng, content)
    paper = draw_paper(warp, degradation.edges, rng, content_xyxy=content)
    assert paper is not None
    x0, y0, x1, y1 = np.clip(content, 0, (WIDTH, HEIGHT, WIDTH, HEIGHT)).tolist()
    sides = densified(outline([rectangle(x0, y0, x1, y1)]), 40).points_xy
    for x, y in warp(sides).tolist():
        assert cv2.pointPolygonTest(paper.astype(np.float32), (x, y), True) > -0.1


def test_only_paper_is_visible_without_edges() -> None:
    warp = warp_of("scan", 1)
    assert draw_paper(warp, 0.0, Random(1), content_xyxy=(100, 100, 1860, 2672)) is None
