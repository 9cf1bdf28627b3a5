"""Tests of tiling: which pixels are ink, and tiles that cover all of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from engraved import engraved_pages
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from converters import images
from converters.prepare.tiles import TileOptions
from reading.tiling import MARGIN_PX, TileGrid, ink_of, tiles_of

LINE = np.s_[100, 60:240]


def paper(level: int = 255) -> NDArray[np.uint8]:
    return np.full((200, 300), level, np.uint8)


def noisy(level: int, deviation: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(level, deviation, (200, 300))
    return noise.round().clip(0, 255).astype(np.uint8)


def shaded() -> NDArray[np.uint8]:
    """Paper that gets darker towards a corner."""
    rows, columns = np.mgrid[:200, :300]
    return np.asarray(255 - rows / 4 - columns / 5, np.uint8)


@pytest.mark.parametrize(
    "page", [paper(), paper(180), noisy(200, 1), shaded()], ids=["white", "grey", "noisy", "shaded"]
)
def test_paper_is_not_ink_but_a_faint_line_is(page: NDArray[np.uint8]) -> None:
    assert not ink_of(page).any()
    page[LINE] -= 20
    ink = ink_of(page)
    assert ink[LINE].mean() > 0.95
    ink[LINE] = False
    assert not ink.any()


def test_noise_of_a_scan_is_not_ink() -> None:
    page = noisy(200, 3)
    page[80:120:4, 40:260] = 10
    expected = page < 100
    assert (ink_of(page) == expected).mean() > 0.999


def test_large_patches_are_ink() -> None:
    page = paper()
    page[50:150, 50:250] = 60
    assert (ink_of(page) == (page < 255)).all()


def test_ink_of_any_colour() -> None:
    for channel in range(3):
        page = np.stack([paper()] * 3, axis=2)
        page[(*LINE, channel)] = 0
        assert ink_of(page)[LINE].all()


OPTIONS = TileOptions(size=64, overlap=16)


@settings(deadline=None, max_examples=200)
@given(
    ink=hnp.arrays(
        np.bool_, st.tuples(st.integers(1, 200), st.integers(1, 200)), fill=st.just(False)
    ),
)
@example(ink=np.zeros((150, 150), np.bool_))
def test_tiles_show_all_ink(ink: NDArray[np.bool_]) -> None:
    grid = TileGrid.of(ink, OPTIONS)
    assert (grid.width, grid.height) == ink.shape[::-1]
    is_shown = np.zeros_like(ink)
    for (x, y), has_ink in zip(grid.corners_xy.tolist(), grid.has_ink, strict=True):
        assert 0 <= x <= max(ink.shape[1] - OPTIONS.size, 0)
        assert 0 <= y <= max(ink.shape[0] - OPTIONS.size, 0)
        is_shown[y : y + OPTIONS.size, x : x + OPTIONS.size] |= has_ink
    assert is_shown[ink].all()


def test_tiles_cover_the_ink_with_a_margin() -> None:
    ink = np.zeros((300, 400), np.bool_)
    ink[100:150, 90:250] = True
    grid = TileGrid.of(ink, OPTIONS)
    assert grid.corners_xy[0].tolist() == [90 - MARGIN_PX, 100 - MARGIN_PX]
    assert (grid.corners_xy[-1] + grid.size).tolist() == [250 + MARGIN_PX, 150 + MARGIN_PX]
    assert grid.is_inner.tolist() == [
        [column > 0, row > 0, column < 3, row < 1] for row in range(2) for column in range(4)
    ]


def test_tiles_without_ink_are_skipped() -> None:
    ink = np.zeros((64, 400), np.bool_)
    ink[:, :10] = ink[:, -10:] = True
    page = np.where(ink, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    batches = list(tiles_of(page, TileGrid.of(ink, OPTIONS), 1))
    assert [indices for indices, _ in batches] == [[0], [7]]
    assert all(pixels.shape == (1, 64, 64, 3) and (pixels == 0).any() for _, pixels in batches)
    assert list(tiles_of(page, TileGrid.of(np.zeros_like(ink), OPTIONS), 1)) == []


@pytest.mark.parametrize("degrade", ["none", "scan"])
def test_no_symbol_of_engraved_pages_is_lost(degrade: str, tmp_path: Path) -> None:
    folder = engraved_pages(tmp_path, pages=2, degrade=degrade)
    content = json.loads((folder / "deepscores_train.json").read_text())
    n_blank = 0
    for entry in content["images"]:
        grid = TileGrid.of(ink_of(images.read(folder / "images" / entry["filename"])), OPTIONS)
        is_shown = np.zeros((entry["height"], entry["width"]), np.bool_)
        for x, y in grid.corners_xy[grid.has_ink].tolist():
            is_shown[y : y + OPTIONS.size, x : x + OPTIONS.size] = True
        n_blank += int((~is_shown).sum())
        for symbol in entry["ann_ids"]:
            x0, y0, x1, y1 = np.round(content["annotations"][symbol]["a_bbox"]).astype(int)
            assert is_shown[y0:y1, x0:x1].all()
    assert n_blank > 10_000
