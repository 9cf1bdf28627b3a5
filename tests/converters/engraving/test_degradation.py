from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from converters.engraving.degradation import (
    Look,
    apply_look,
    degrade,
    photo_look,
    scan_look,
)
from converters.engraving.outlines import outline
from converters.engraving.raster import rasterise
from converters.engraving.warping import Capture

CAPTURES: tuple[Capture, ...] = ("scan", "photo")
every_capture = pytest.mark.parametrize("capture", CAPTURES)
LINES_Y = [20 + 20.25 * n for n in range(8)]
PLAIN = Look(
    ink_blur_px=0,
    edge=0.5,
    fray=0,
    fade=0,
    ink=0,
    paper=1,
    grain=0,
    stains=0,
    specks=0,
    show_through=0,
    shade=0,
    gutter=0,
    shadow=0,
    blur_px=0,
    motion_px=0,
    noise=0,
    white=1,
    gamma=1,
    black_and_white=0,
    threshold=0,
    jpeg_quality=0,
)


def bar(x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float64]:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


@pytest.fixture(scope="module")
def page() -> NDArray[np.uint8]:
    """Draw lines of one pixel at four subpixel offsets, and a bar."""
    ink = [bar(20, y, 380, y + 1) for y in LINES_Y] + [bar(50, 200.3, 350, 240.3)]
    return rasterise([outline([contour]) for contour in ink], 400, 300, rasteriser="numpy")


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
    for seed in range(4):
        clean = np.full(shape, level, np.uint8)
        picture = degrade(clean, capture, np.random.default_rng(seed))
        assert picture.dtype == np.uint8
        assert picture.shape == shape
        assert (clean == level).all()


@given(page=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_none_returns_the_page_unchanged(page: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(1)
    assert degrade(page, "none", rng).tobytes() == page.tobytes()
    assert rng.random() == np.random.default_rng(1).random()


@pytest.mark.usefixtures("threads")
@every_capture
def test_seed_determines_the_picture_for_any_number_of_threads(
    capture: Capture, page: NDArray[np.uint8]
) -> None:
    large = np.tile(page, (3, 3))
    pictures = set()
    for n_threads in (1, 2, 5):
        cv2.setNumThreads(n_threads)
        pictures.add(
            b"".join(degrade(large, capture, np.random.default_rng(s)).tobytes() for s in range(6))
        )
    assert len(pictures) == 1
    other = degrade(large, capture, np.random.default_rng(6))
    assert not np.array_equal(other, degrade(large, capture, np.random.default_rng(7)))


def dark_share(picture: NDArray[np.uint8]) -> float:
    """Compute the fraction of line columns that are clearly darker than the paper nearby."""
    result = []
    for y in map(int, LINES_Y):
        line = picture[y - 1 : y + 3, 25:375].min(0).astype(int)
        paper = np.median(np.concatenate((picture[y - 7 : y - 3], picture[y + 5 : y + 9])), axis=0)
        result.append((paper[25:375] - line >= 12).mean())
    return float(np.mean(result))


@every_capture
def test_thin_lines_remain_visible(capture: Capture, page: NDArray[np.uint8]) -> None:
    shares = [dark_share(degrade(page, capture, np.random.default_rng(s))) for s in range(100)]
    assert dark_share(page) == 1
    assert min(shares) > 0.5
    assert np.mean(shares) > 0.95


@every_capture
def test_edges_stay_in_place(capture: Capture, page: NDArray[np.uint8]) -> None:
    """Locate the upper and lower edge of the bar at half contrast, averaged over columns."""
    for seed in range(100):
        rows = degrade(page, capture, np.random.default_rng(seed))[190:250, 80:320].mean(1)
        half = (rows[20:40].mean() + (rows[:4].mean() + rows[-4:].mean()) / 2) / 2
        centres = np.arange(190, 250) + 0.5
        upper = np.interp(-half, -rows[:30], centres[:30])
        lower = np.interp(half, rows[30:], centres[30:])
        assert upper == pytest.approx(200.3, abs=0.75)
        assert lower == pytest.approx(240.3, abs=0.75)
        assert (upper + lower) / 2 == pytest.approx(220.3, abs=0.35)


def test_plain_look_keeps_the_page(page: NDArray[np.uint8]) -> None:
    blank = np.full_like(page, 255)
    assert (apply_look(blank, PLAIN, np.random.default_rng(1)) == 255).all()
    same = apply_look(page, PLAIN, np.random.default_rng(1))
    assert ((same == 255) == (page == 255)).all()
    assert ((same == 0) == (page == 0)).all()


@pytest.mark.parametrize(
    ("change", "darker"),
    [
        ({"paper": 0.8}, 0.2),
        ({"stains": 5}, 0.001),
        ({"specks": 40}, 0.001),
        ({"shade": 0.4}, 0.05),
        ({"gutter": 0.5}, 0.005),
        ({"shadow": 0.5}, 0.01),
        ({"gamma": 1.5, "paper": 0.8}, 0.25),
    ],
)
def test_looks_that_darken_a_blank_page(change: dict[str, float], darker: float) -> None:
    look = replace(PLAIN, **change)  # type: ignore[arg-type]
    blank = np.full((300, 400), 255, np.uint8)
    picture = apply_look(blank, look, np.random.default_rng(2))
    assert 0.6 > 1 - picture.mean() / 255 >= darker - 0.002


def test_verso_shows_through_mirrored() -> None:
    page = rasterise([outline([bar(40, 120, 100, 180)])], 400, 300, rasteriser="numpy")
    picture = apply_look(page, replace(PLAIN, show_through=0.2), np.random.default_rng(2))
    rows, columns = np.nonzero((picture < 230) & (picture > 150))
    assert columns.mean() == pytest.approx(330, abs=0.06 * 400)
    assert rows.mean() == pytest.approx(150, abs=0.06 * 300)
    assert picture[:, 200:].min() == pytest.approx(255 * 0.8, abs=2)


def test_noise_and_grain_have_the_requested_deviation() -> None:
    blank = np.full((300, 400), 255, np.uint8)
    noisy = apply_look(blank, replace(PLAIN, paper=0.6, noise=5), np.random.default_rng(1))
    assert noisy.std() == pytest.approx(5, rel=0.05)
    assert noisy.mean() == pytest.approx(0.6 * 255, abs=0.5)
    grained = apply_look(blank, replace(PLAIN, paper=0.6, grain=0.02), np.random.default_rng(1))
    assert grained.std() == pytest.approx(0.02 * 255, rel=0.4)  # enlarging reduces it


def test_motion_blurs_but_moves_nothing(page: NDArray[np.uint8]) -> None:
    for seed in range(10):
        moved = apply_look(page, replace(PLAIN, motion_px=3), np.random.default_rng(seed))
        still = apply_look(page, PLAIN, np.random.default_rng(seed))
        assert not np.array_equal(moved, still)
        rows = [
            (255.0 - p[190:250]).sum(1) @ np.arange(60) / (255.0 - p[190:250]).sum()
            for p in (moved, still)
        ]
        assert rows[0] == pytest.approx(rows[1], abs=0.02)


def test_one_scan_in_four_is_black_and_white() -> None:
    looks = [scan_look(np.random.default_rng(seed)) for seed in range(2000)]
    assert np.mean([look.black_and_white > 0 for look in looks]) == pytest.approx(0.25, abs=0.03)
    assert not any(photo_look(np.random.default_rng(s)).black_and_white for s in range(50))


def test_thresholded_pages_have_two_levels_in_any_light(page: NDArray[np.uint8]) -> None:
    look = replace(PLAIN, black_and_white=1e6, threshold=0.4, shade=0.4, gutter=0.4, noise=3)
    picture = apply_look(page, replace(look, blur_px=0.5, ink=0.2), np.random.default_rng(1))
    assert np.unique(picture).tolist() == [0, 255]
    assert ((picture < 128) != (page < 128)).mean() < 0.03
