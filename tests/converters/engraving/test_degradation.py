"""Appearance of pages: every effect changes what its parameter describes."""

import math
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from converters.engraving.captures import Binarisation, Capture, Degradation, px_at_300_dpi
from converters.engraving.degradation import Sheet, degrade
from converters.engraving.distributions import draw_degradation
from converters.engraving.outlines import outline
from converters.engraving.raster import rasterise

CAPTURES: tuple[Capture, ...] = ("scan", "photo", "fax", "worn")
every_capture = pytest.mark.parametrize("capture", CAPTURES)
LINES_Y = [20 + 20.25 * n for n in range(8)]
SPACE_PX = 14.0
DPI = SPACE_PX * 25.4 / 1.75
SHAPE = (300, 400)
UNMARKED = {"handwriting": 0, "stamps": 0}
"""Parameters of pages without marks, which would hide a large part of a small page."""


def bar(x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float64]:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(
    page: NDArray[np.uint8],
    seed: int = 1,
    verso: NDArray[np.uint8] | None = None,
    **more: Any,  # noqa: ANN401
) -> NDArray[np.uint8]:
    """Degrade a page with parameters that are neutral except for those given."""
    sheet = Sheet(page=page, staff_space=SPACE_PX, verso=verso)
    return degrade(sheet, Degradation(capture="scan", **more), rng(seed))


def drawn(
    page: NDArray[np.uint8],
    capture: Capture,
    seed: int,
    **more: Any,  # noqa: ANN401
) -> NDArray[np.uint8]:
    """Degrade a page with parameters drawn for a capture, as grey levels."""
    sheet = Sheet(page=page, staff_space=SPACE_PX, verso=255 - (255 - page) // 2)
    degradation = replace(draw_degradation(capture, Random(seed)), **more)
    result = degrade(sheet, degradation, rng(seed))
    return result if result.ndim == 2 else np.asarray(cv2.cvtColor(result, cv2.COLOR_BGR2GRAY))


def seeds(capture: Capture, *, lost_lines: bool) -> list[int]:
    """List seeds of pictures with and without the effect that hides thin lines."""
    drawn_effects = ((seed, draw_degradation(capture, Random(seed)).effects) for seed in range(130))
    return [seed for seed, effects in drawn_effects if ("lost-lines" in effects) == lost_lines][
        :100
    ]


@pytest.fixture(scope="module")
def page() -> NDArray[np.uint8]:
    """Draw lines of one pixel at four subpixel offsets, and a bar."""
    ink = [bar(20, y, 380, y + 1) for y in LINES_Y] + [bar(50, 200.3, 350, 240.3)]
    return rasterise([outline([contour]) for contour in ink], 400, 300, rasteriser="numpy")


@pytest.fixture(scope="module")
def blank() -> NDArray[np.uint8]:
    return np.full(SHAPE, 255, np.uint8)


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore the number of threads."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.mark.parametrize("capture", get_args(Capture))
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 2), (33, 65)])
@pytest.mark.parametrize("level", [0, 255])
def test_uniform_pages_of_any_size(capture: Capture, shape: tuple[int, int], level: int) -> None:
    for seed in range(8):
        clean = np.full(shape, level, np.uint8)
        sheet = Sheet(page=clean, staff_space=6.0, verso=clean)
        result = degrade(sheet, draw_degradation(capture, Random(seed)), rng(seed))
        assert result.dtype == np.uint8
        assert result.shape in (shape, (*shape, 3))
        assert (clean == level).all()


@given(page=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_none_returns_the_page_unchanged(page: NDArray[np.uint8]) -> None:
    generator = rng()
    sheet = Sheet(page=page, staff_space=SPACE_PX)
    assert degrade(sheet, Degradation(), generator).tobytes() == page.tobytes()
    assert generator.random() == rng().random()


@pytest.mark.usefixtures("threads")
@every_capture
def test_seed_determines_the_picture_for_any_number_of_threads(
    capture: Capture, page: NDArray[np.uint8]
) -> None:
    large = np.tile(page, (3, 3))
    pictures = set()
    for n_threads in (1, 2, 5):
        cv2.setNumThreads(n_threads)
        pictures.add(b"".join(drawn(large, capture, seed).tobytes() for seed in range(6)))
    assert len(pictures) == 1
    assert not np.array_equal(drawn(large, capture, 6), drawn(large, capture, 7))


# ---- legibility --------------------------------------------------------------------------------


def dark_share(result: NDArray[np.uint8]) -> float:
    """Compute the fraction of line columns that are clearly darker than the paper nearby."""
    shares = []
    for y in map(int, LINES_Y):
        line = result[y - 1 : y + 3, 25:375].min(0).astype(int)
        paper = np.median(np.concatenate((result[y - 7 : y - 3], result[y + 5 : y + 9])), axis=0)
        shares.append((paper[25:375] - line >= 12).mean())
    return float(np.mean(shares))


@every_capture
def test_thin_lines_remain_visible(capture: Capture, page: NDArray[np.uint8]) -> None:
    legible = seeds(capture, lost_lines=False)
    shares = [dark_share(drawn(page, capture, seed, **UNMARKED)) for seed in legible]
    assert dark_share(page) == 1
    assert min(shares) > 0.5
    assert np.mean(shares) > 0.93


@pytest.mark.parametrize("capture", ["scan", "fax"])
def test_lines_are_lost_but_not_bars(capture: Capture, page: NDArray[np.uint8]) -> None:
    results = [drawn(page, capture, n, **UNMARKED) for n in seeds(capture, lost_lines=True)]
    shares = [dark_share(result) for result in results]
    assert min(shares) < 0.6
    assert 0.2 < np.mean(shares) < 0.9
    assert all(result[210:230, 70:330].mean() < 70 for result in results)


@every_capture
def test_edges_stay_in_place(capture: Capture) -> None:
    """Locate the upper and lower edge of a bar at half contrast, averaged over columns."""
    page = rasterise([outline([bar(50, 150.3, 350, 164.3)])], 400, 300, rasteriser="numpy")
    for seed in seeds(capture, lost_lines=False):
        rows = drawn(page, capture, seed, **UNMARKED)[140:175, 80:320].mean(axis=1)
        half = (rows[14:21].mean() + (rows[:4].mean() + rows[-4:].mean()) / 2) / 2
        centres = np.arange(140, 175) + 0.5
        upper = np.interp(-half, -rows[:17], centres[:17])
        lower = np.interp(half, rows[17:], centres[17:])
        most = 1.35 if capture == "fax" else 0.75
        assert upper == pytest.approx(150.3, abs=most)
        assert lower == pytest.approx(164.3, abs=most)
        assert (upper + lower) / 2 == pytest.approx(157.3, abs=0.6 * most)


# ---- single effects ----------------------------------------------------------------------------


def test_neutral_parameters_keep_the_page(
    page: NDArray[np.uint8], blank: NDArray[np.uint8]
) -> None:
    assert (picture(blank) == 255).all()
    same = picture(page)
    assert ((same == 255) == (page == 255)).all()
    assert ((same == 0) == (page == 0)).all()


@pytest.mark.parametrize(
    ("change", "darker"),
    [
        ({"paper": 0.8}, 0.2),
        ({"stains": 8, "stain_depth": 0.4}, 0.001),
        ({"specks": 40}, 0.001),
        ({"shade": 0.4}, 0.05),
        ({"gutter": 0.5}, 0.005),
        ({"shadow": 0.5}, 0.01),
        ({"creases": 3}, 0.001),
        ({"handwriting": 6}, 0.001),
        ({"stamps": 2}, 0.002),
        ({"gamma": 1.5, "paper": 0.8}, 0.25),
        ({"exposure": 0.9}, 0.1),
    ],
)
def test_parameters_that_darken_a_blank_page(
    change: dict[str, Any], darker: float, blank: NDArray[np.uint8]
) -> None:
    result = picture(blank, seed=2, **change)
    assert 0.6 > 1 - result.mean() / 255 >= darker - 0.002


def test_verso_shows_through_where_it_has_ink(blank: NDArray[np.uint8]) -> None:
    verso = rasterise([outline([bar(250, 120, 310, 180)])], 400, 300, rasteriser="numpy")
    result = picture(blank, verso=verso, show_through=0.2)
    rows, columns = np.nonzero(result < 230)
    assert (columns.min(), columns.max() + 1) == pytest.approx((250, 310), abs=3)
    assert (rows.min(), rows.max() + 1) == pytest.approx((120, 180), abs=3)
    assert result.min() == pytest.approx(255 * 0.8, abs=2)


def test_noise_and_grain_have_the_requested_deviation(blank: NDArray[np.uint8]) -> None:
    noisy = picture(blank, paper=0.6, noise=5.0)
    assert noisy.std() == pytest.approx(5, rel=0.05)
    assert noisy.mean() == pytest.approx(0.6 * 255, abs=0.5)
    grained = picture(blank, paper=0.6, grain=0.02)
    assert grained.std() == pytest.approx(0.02 * 0.6 / 0.6 * 255, rel=0.4)  # enlarging reduces it
    mottled = picture(np.full((1200, 1600), 255, np.uint8), paper=0.6, mottle=0.03)
    assert mottled.std() == pytest.approx(0.03 * 0.6 * 255, rel=0.4)


def test_motion_blurs_but_moves_nothing(page: NDArray[np.uint8]) -> None:
    for seed in range(10):
        moved, still = (picture(page, seed=seed, motion_px=motion) for motion in (5.0, 0.0))
        assert not np.array_equal(moved, still)
        rows = [
            (255.0 - p[190:250]).sum(1) @ np.arange(60) / (255.0 - p[190:250]).sum()
            for p in (moved, still)
        ]
        assert rows[0] == pytest.approx(rows[1], abs=0.02)


@pytest.mark.parametrize("blur_px", [1.0, 2.5, 4.0])
def test_blur_has_the_requested_deviation(blur_px: float) -> None:
    """Measure the spread of the derivative of an edge."""
    edge = rasterise([outline([bar(-9, -9, 409, 150)])], 400, 300, rasteriser="numpy")
    rows = picture(edge, blur_px=blur_px)[:, 100:300].astype(float).mean(axis=1)
    slope = np.diff(rows)
    at = np.arange(len(slope)) @ slope / slope.sum()
    deviation = math.sqrt((np.arange(len(slope)) - at) ** 2 @ slope / slope.sum())
    own = math.sqrt(1 / 12)  # of the pixels themselves
    expected = math.hypot(blur_px * px_at_300_dpi(SPACE_PX), own)
    assert deviation == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("dpi", [75.0, 120.0])
def test_low_resolution_removes_details_finer_than_its_pixels(dpi: float) -> None:
    """Compare the contrast of stripes of twice and of half the pixel size of the sensor."""
    contrasts = []
    for pixels in (4.0, 0.5):
        period = 2 * pixels * DPI / dpi
        stripes = [outline([bar(x, 0, x + period / 2, 300)]) for x in np.arange(0, 400, period)]
        striped = rasterise(stripes, 400, 300, rasteriser="numpy")
        columns = picture(striped, dpi=dpi)[100:200, 50:350].mean(axis=0)
        contrasts.append(np.ptp(columns) / 255)
    assert contrasts[0] > 0.9
    assert contrasts[1] < 0.3


def test_resolution_of_the_page_changes_nothing(page: NDArray[np.uint8]) -> None:
    assert np.array_equal(picture(page, dpi=DPI), picture(page))
    finer = picture(page, dpi=1.5 * DPI)
    assert np.abs(finer.astype(int) - picture(page)).mean() < 3


METHODS = [method for method in get_args(Binarisation) if method != "none"]


@pytest.mark.parametrize("dpi", [0.0, 180.0, 350.0])
@pytest.mark.parametrize("method", METHODS)
def test_binarised_pages_have_two_levels(
    method: Binarisation, dpi: float, page: NDArray[np.uint8]
) -> None:
    settings: dict[str, Any] = {"paper": 0.8, "ink": 0.2, "noise": 3.0, "threshold": 0.4}
    assert len(np.unique(picture(page, dpi=dpi, **settings))) > 50
    result = picture(page, binarisation=method, dpi=dpi, **settings)
    assert np.unique(result).tolist() == [0, 255]
    inner, outer = result[205:235, 60:340], result[250:290, 60:340]
    if method != "adaptive":  # which compares a pixel with a neighbourhood smaller than the bar
        assert (inner == 0).mean() > 0.99
    assert (outer == 255).mean() > 0.99


def test_fixed_threshold_darkens_pixels_below_its_level(page: NDArray[np.uint8]) -> None:
    settings: dict[str, Any] = {"paper": 0.8, "ink": 0.2, "blur_px": 1.0}
    grey = picture(page, **settings)
    for threshold in (0.25, 0.5):
        level = 255 * (0.8 - threshold * (0.8 - 0.16))
        result = picture(page, binarisation="fixed", threshold=threshold, **settings)
        assert np.array_equal(result == 0, grey <= level)


@pytest.mark.parametrize(("paper", "ink"), [(0.4, 0.3), (1.0, 0.7)])
def test_otsu_finds_a_threshold_for_any_levels(
    paper: float, ink: float, page: NDArray[np.uint8]
) -> None:
    result = picture(page, binarisation="otsu", paper=paper, ink=ink, noise=2.0)
    assert ((result < 128) != (page < 128)).mean() < 0.03


def test_adaptive_threshold_copes_with_any_light(page: NDArray[np.uint8]) -> None:
    uneven: dict[str, Any] = {"shade": 0.5, "gutter": 0.4, "noise": 3.0, "ink": 0.2}
    lines = np.s_[:195]  # above the bar
    result = picture(page, binarisation="adaptive", threshold=0.25, **uneven)
    assert ((result < 128) != (page < 128))[lines].mean() < 0.03


@pytest.mark.parametrize(("edge", "grows"), [(0.4, True), (0.65, False)])
def test_edge_makes_lines_thicker_or_thinner(
    edge: float, grows: bool, page: NDArray[np.uint8]
) -> None:
    ink = [255 - picture(page, ink_blur_px=0.6, edge=e)[:195].mean() for e in (edge, 0.5)]
    assert (ink[0] > 1.15 * ink[1]) if grows else (ink[0] < 0.7 * ink[1])


def test_gaps_remove_a_fraction_of_the_ink() -> None:
    black = np.zeros((600, 800), np.uint8)
    for gaps in (0.03, 0.1):
        assert picture(black, gaps=gaps).mean() / 255 == pytest.approx(gaps, rel=0.25)


def test_fading_lightens_ink(page: NDArray[np.uint8]) -> None:
    inside = np.s_[205:235, 60:340]
    faded = picture(page, fade=0.6)[inside].mean() / 255
    assert 0.15 < faded < 0.45
    assert picture(page)[inside].max() == 0


def test_warmth_removes_blue_or_red(blank: NDArray[np.uint8]) -> None:
    assert picture(blank, warmth=0.2)[0, 0].tolist() == [204, 240, 255]
    assert picture(blank, warmth=-0.1)[0, 0].tolist() == [255, 247, 230]
    compressed = picture(blank, warmth=0.2, jpeg_quality=30)
    assert compressed[150, 200] == pytest.approx([204, 240, 255], abs=4)


def test_compression_leaves_the_blocks_of_jpeg(page: NDArray[np.uint8]) -> None:
    clean = picture(page, blur_px=1.0)
    errors = [
        np.abs(picture(page, blur_px=1.0, jpeg_quality=q).astype(int) - clean).mean()
        for q in (20, 50, 95)
    ]
    assert errors[0] > 1.3 * errors[1] > 1.3 * errors[2] > 0
    _, data = cv2.imencode(".jpg", clean, [cv2.IMWRITE_JPEG_QUALITY, 20])
    expected = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    assert np.array_equal(picture(page, blur_px=1.0, jpeg_quality=20), expected)


def test_salt_replaces_a_fraction_of_the_pixels(blank: NDArray[np.uint8]) -> None:
    dirty = picture(blank, binarisation="fixed", threshold=0.3, salt=0.02)
    assert (dirty == 0).mean() == pytest.approx(0.01, rel=0.2)  # half of them become white


def test_streaks_are_vertical_lines(page: NDArray[np.uint8]) -> None:
    settings: dict[str, Any] = {"binarisation": "fixed", "threshold": 0.3}
    clean = picture(page, **settings)
    for seed in range(10):
        changed = picture(page, seed=seed, streaks=3, **settings) != clean
        assert 0 < changed.any(axis=0).sum() <= 6


def test_surroundings_begin_at_the_edge_of_the_paper(blank: NDArray[np.uint8]) -> None:
    sheet = Sheet(page=blank, staff_space=SPACE_PX, paper_xy=bar(30, 20, 500, 500))
    result = degrade(sheet, Degradation(capture="scan", surroundings=0.1), rng())
    assert (result[22:, 32:] == 255).all()
    outside = np.concatenate((result[:18].ravel(), result[:, :28].ravel()))
    assert outside.mean() / 255 == pytest.approx(0.1, abs=0.03)
    assert np.interp(128, result[150, 25:36], np.arange(25, 36) + 0.5) == pytest.approx(30, abs=1)
