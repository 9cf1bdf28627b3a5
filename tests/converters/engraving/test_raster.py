import sys
import tracemalloc
from importlib.metadata import version

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from class_maps import MissingExtraError
from converters.engraving.outlines import Outline, Points, outline
from converters.engraving.pages import PageOptions
from converters.engraving.raster import Rasteriser, description, installed_rasteriser, rasterise

RASTERISERS: tuple[Rasteriser, ...] = ("numpy", "blend2d")
every_rasteriser = pytest.mark.parametrize("rasteriser", RASTERISERS)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def grey(coverage: float) -> float:
    return 255 * (1 - coverage)


@every_rasteriser
@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 5)])
def test_a_page_without_ink_is_white(width: int, height: int, rasteriser: Rasteriser) -> None:
    page = rasterise([], width, height, rasteriser=rasteriser)
    assert page.dtype == np.uint8
    assert page.tolist() == [[255] * width] * height


@every_rasteriser
@pytest.mark.parametrize(
    "contour",
    [
        pytest.param(rectangle(-20, 1, -3, 4), id="left"),
        pytest.param(rectangle(8, 1, 30, 4), id="right, touching"),
        pytest.param(rectangle(1, -9, 4, 0), id="above, touching"),
        pytest.param(rectangle(1, 7, 4, 9), id="below"),
        pytest.param(rectangle(1, 2, 7, 2), id="no height"),
        pytest.param(rectangle(2, 1, 2, 5), id="no width"),
        pytest.param(rectangle(3, 3, 3, 3), id="a point"),
        pytest.param(rectangle(-1e9, -1e9, 1e9, -1), id="far away"),
    ],
)
def test_outlines_without_ink_on_the_page(contour: Points, rasteriser: Rasteriser) -> None:
    assert (rasterise([outline([contour])], 8, 6, rasteriser=rasteriser) == 255).all()


@every_rasteriser
def test_page_of_one_pixel(rasteriser: Rasteriser) -> None:
    page = rasterise([outline([rectangle(0.25, -3, 0.75, 0.5)])], 1, 1, rasteriser=rasteriser)
    assert page.tolist() == [[pytest.approx(grey(0.25), abs=1)]]


@every_rasteriser
def test_ink_far_beyond_the_page(rasteriser: Rasteriser) -> None:
    far = np.array([[-1e6, -1e6], [3e6, -1e6], [-1e6, 3e6]])
    assert (rasterise([outline([far])], 9, 5, rasteriser=rasteriser) == 0).all()


@every_rasteriser
def test_rectangle_at_quarter_pixels(rasteriser: Rasteriser) -> None:
    page = rasterise([outline([rectangle(1.25, 1.5, 4.75, 3.25)])], 6, 5, rasteriser=rasteriser)
    columns = np.array([0, 0.75, 1, 1, 0.75, 0])
    rows = np.array([0, 0.5, 1, 0.25, 0])
    np.testing.assert_allclose(page, grey(0) - 255 * np.outer(rows, columns), atol=1)


@every_rasteriser
def test_triangle_across_the_left_edge(rasteriser: Rasteriser) -> None:
    triangle = np.array([[-2.0, 0], [2, 0], [-2, 4]])  # its slope meets x = 0 at y = 2
    page = rasterise([outline([triangle])], 3, 4, rasteriser=rasteriser)
    coverage = [[1, 0.5, 0], [0.5, 0, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(page, grey(0) - 255 * np.array(coverage), atol=1)


@every_rasteriser
def test_holes_by_winding_number(rasteriser: Rasteriser) -> None:
    """Check that only contours of opposite orientation are holes."""
    outer, inner = rectangle(0, 0, 6, 6), rectangle(2, 2, 4, 4)
    hole = rasterise([outline([outer, inner[::-1]])], 6, 6, rasteriser=rasteriser)
    assert (hole == 0).sum() == 36 - 4
    for contours in ([outer, inner], [outer[::-1], inner[::-1]]):
        assert (rasterise([outline(contours)], 6, 6, rasteriser=rasteriser) == 0).all()


@every_rasteriser
def test_outlines_of_opposite_orientation_both_leave_ink(rasteriser: Rasteriser) -> None:
    """Check a self-intersecting slur with a lobe of each orientation, crossed by a staff line."""
    twisted = np.array([[0.0, 0], [12, 6], [12, 0], [0, 6]])
    staff_line = rectangle(-1, 2, 13, 4)
    page = rasterise([outline([twisted]), outline([staff_line])], 12, 6, rasteriser=rasteriser)
    assert (page[2:4] == 0).all()
    assert (page[:, [0, 11]] < 100).all()


@every_rasteriser
def test_outlines_sharing_a_pixel(rasteriser: Rasteriser) -> None:
    half = outline([rectangle(0, 0, 0.5, 1)])
    assert rasterise([half] * 3, 1, 1, rasteriser=rasteriser)[0, 0] == pytest.approx(255 / 8, abs=2)
    assert rasterise([half] * 300, 1, 1, rasteriser=rasteriser)[0, 0] <= 1
    one = outline([rectangle(0, 0, 0.5, 1)] * 3)
    assert rasterise([one], 1, 1, rasteriser=rasteriser)[0, 0] == 0


def test_points_must_be_finite_and_near() -> None:
    for value in (np.nan, np.inf, -1.1e9):
        with pytest.raises(ValueError, match=r"points of outlines must lie within 1e\+09 pixels"):
            rasterise([outline([rectangle(0, 0, value, 1)])], 4, 4)


@pytest.mark.parametrize("rasteriser", RASTERISERS)
def test_description_contains_the_version_of_the_package(rasteriser: Rasteriser) -> None:
    package = {"numpy": "numpy", "blend2d": "blend2d-py"}[rasteriser]
    assert description(rasteriser) == f"{rasteriser} {version(package)}"


def test_blend2d_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed_rasteriser() == PageOptions().rasteriser == "blend2d"
    default = rasterise(page_of_shapes(), 400, 300)
    explicit = rasterise(page_of_shapes(), 400, 300, rasteriser="blend2d")
    np.testing.assert_array_equal(default, explicit)
    monkeypatch.setattr("converters.engraving.raster.find_spec", lambda name: None)
    assert installed_rasteriser() == "numpy"


def test_blend2d_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blend2d", None)
    monkeypatch.delitem(sys.modules, "converters.engraving.raster_blend2d", raising=False)
    with pytest.raises(MissingExtraError) as error:
        rasterise([], 4, 4, rasteriser="blend2d")
    assert str(error.value) == (
        "blend2d is not installed; run pip install 'omr-toolkit[engrave]', "
        "or use the numpy rasteriser"
    )
    assert (rasterise([], 4, 4, rasteriser="numpy") == 255).all()


def winding_numbers(contours: list[Points], x: Points, y: Points) -> NDArray[np.int64]:
    """Compute winding numbers of points by counting the edges to the right of each."""
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.int64)
    for contour in contours:
        for (x0, y0), (x1, y1) in zip(contour, np.roll(contour, -1, axis=0), strict=True):
            if y0 != y1:
                with np.errstate(all="ignore"):
                    crossing = x0 + (y - y0) * ((x1 - x0) / (y1 - y0))
                within = (np.minimum(y0, y1) <= y) & (y < np.maximum(y0, y1))
                total += np.where(within & (x < crossing), np.sign(y1 - y0).astype(int), 0)
    return total


def sampled(outlines: list[list[Points]], width: int, height: int, n: int = 32) -> Points:
    """Estimate the light left on a page, 0 to 1, from ``n`` by ``n`` samples per pixel."""
    light = np.ones((height, width))
    x = (np.arange(width * n) + 0.5) / n
    y = (np.arange(height * n) + 0.5)[:, None] / n
    for contours in outlines:
        winding = winding_numbers(contours, x, y).reshape(height, n, width, n).mean((1, 3))
        light *= 1 - np.abs(winding).clip(0, 1)
    return light


coordinates = st.integers(-6 * 16, 18 * 16).map(lambda n: n / 16) | st.floats(-6, 18)
contours = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=6).map(np.array)


@every_rasteriser
@given(outlines=st.lists(st.lists(contours, min_size=1, max_size=2), max_size=3))
def test_coverage_agrees_with_sampling(
    outlines: list[list[Points]], rasteriser: Rasteriser
) -> None:
    page = rasterise([outline(contours) for contours in outlines], 12, 10, rasteriser=rasteriser)
    difference = page / 255 - sampled(outlines, 12, 10)
    assert np.abs(difference).max() < 0.1
    assert np.abs(difference).mean() < 0.01


def page_of_shapes() -> list[Outline]:
    """Draw staff lines, slanted strokes, discs and rings off the pixel grid."""
    rng = np.random.default_rng(3)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    disc = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    shapes = [outline([rectangle(5.3, y, 395.2, y + 1.3)]) for y in np.arange(20.15, 280, 8.37)]
    for x, y, dx, dy in rng.uniform((0, 0, -50, -50), (400, 300, 50, 50), (60, 4)):
        across = np.array([-dy, dx]) / np.hypot(dx, dy)
        start, end = np.array([x, y]), np.array([x + dx, y + dy])
        shapes.append(outline([np.array([start, end, end + across, start + across])]))
        shapes.append(outline([disc * (6, 4) + start]))
        shapes.append(outline([disc * 7 + end, disc[::-1] * (5, 3) + end]))
    return shapes


def test_rasterisers_agree() -> None:
    pages = [rasterise(page_of_shapes(), 400, 300, rasteriser=r) for r in RASTERISERS]
    difference = np.abs(pages[0].astype(int) - pages[1])
    assert 0.1 < (pages[0] < 255).mean() < 0.9
    assert difference.max() <= 6
    assert difference.mean() < 0.5


@pytest.mark.parametrize("cells", [1, 1000])
def test_result_does_not_depend_on_bands(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rasterise(page_of_shapes(), 400, 300, rasteriser="numpy")
    monkeypatch.setattr("converters.engraving.raster.BAND_CELLS", cells)
    banded = rasterise(page_of_shapes(), 400, 300, rasteriser="numpy")
    np.testing.assert_array_equal(banded, whole)


def test_many_tall_edges_need_little_memory() -> None:
    """Rasterise two million pieces of edges, which would take 8 bytes in about 20 arrays at once."""
    n = 2000
    zigzag = np.stack((np.linspace(0, 100, n), np.where(np.arange(n) % 2, 1000, 0)), axis=1)
    tracemalloc.start()
    try:
        page = rasterise([outline([zigzag])], 100, 1000, rasteriser="numpy")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert page.min() < 255
    assert peak_bytes < 40e6
