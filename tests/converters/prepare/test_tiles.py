from dataclasses import replace
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import pages

from converters.page import Page
from converters.prepare.cleaning import CleaningOptions, clean
from converters.prepare.tiles import TileOptions, cut, starts
from converters.tally import Tally


def page_of(*boxes: list[float], width: int = 1000, height: int = 100) -> Page:
    return Page(
        image=PurePosixPath("a.png"),
        width=width,
        height=height,
        boxes_xyxy=np.array(boxes, np.float64).reshape(-1, 4),
        labels=np.zeros(len(boxes), np.int64),
    )


def clean_pages() -> st.SearchStrategy[Page]:
    """Draw cleaned pages, whose boxes have an area."""
    return pages(max_symbols=8).map(lambda p: clean(p, ("a", "b"), CleaningOptions(), Tally()))


@pytest.mark.parametrize(
    ("length", "expected"),
    [(1, [0]), (100, [0]), (101, [0, 1]), (180, [0, 80]), (181, [0, 40, 81]), (1000, None)],
)
def test_starts(length: int, expected: list[int] | None) -> None:
    positions = starts(length, TileOptions(size=100, overlap=20))
    assert expected is None or positions == expected


@given(length=st.integers(1, 5000), size=st.integers(1, 700), share=st.floats(0, 0.99))
def test_tiles_cover_the_page_and_share_the_overlap(length: int, size: int, share: float) -> None:
    overlap = int(size * share)
    positions = starts(length, TileOptions(size=size, overlap=overlap))
    assert positions[0] == 0
    assert positions[-1] + size == max(length, size)
    assert all(b - a <= size - overlap for a, b in pairwise(positions))


def test_a_page_without_symbols_gives_tiles_without_symbols() -> None:
    tiles = list(cut(page_of(), TileOptions(size=100, overlap=20)))
    assert [len(tile.page.labels) for tile in tiles] == [0] * 13
    assert {tile.page.width for tile in tiles} == {100}


def test_a_page_of_one_pixel() -> None:
    [tile] = cut(page_of([0, 0, 1, 1], width=1, height=1), TileOptions(size=100, overlap=20))
    assert (tile.page.width, tile.page.height) == (1, 1)
    assert tile.page.boxes_xyxy.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("box", "belongs"),
    [
        pytest.param([90, 10, 110, 20], True, id="half of it is visible"),
        pytest.param([91, 10, 111, 20], False, id="less than half"),
        pytest.param([0, 10, 1000, 20], True, id="long: visible part as wide as the tile"),
        pytest.param([88, 10, 1000, 20], False, id="long: visible part too short"),
        pytest.param([87, 10, 1000, 20], True, id="long: visible part just long enough"),
    ],
)
def test_symbols_of_the_first_tile(box: list[float], belongs: bool) -> None:
    first = next(cut(page_of(box), TileOptions(size=100, overlap=20)))
    assert len(first.page.labels) == belongs


def test_cut_symbols_are_marked() -> None:
    tiles = list(
        cut(page_of([0, 10, 1000, 20], [10, 10, 20, 20]), TileOptions(size=100, overlap=20))
    )
    first, second = tiles[0].page, tiles[1].page
    assert first.boxes_xyxy.tolist() == [[0, 10, 100, 20], [10, 10, 20, 20]]
    assert first.cut is not None
    assert first.cut.tolist() == [True, False]
    assert second.boxes_xyxy.tolist() == [[0, 10, 100, 20]]
    assert second.placement is not None
    assert (second.placement.page, second.placement.x) == (PurePosixPath("a.png"), 75)
    assert second.image == PurePosixPath("a__x00075_y00000.png")


@given(page=clean_pages(), size=st.integers(300, 900))
def test_every_symbol_no_longer_than_the_overlap_is_complete_in_a_tile(
    page: Page, size: int
) -> None:
    options = TileOptions(size=size, overlap=size // 3)
    whole = {
        row
        for tile in cut(page, options)
        for row, is_cut in zip(tile.rows.tolist(), tile.page.cut, strict=True)  # type: ignore[arg-type]
        if not is_cut
    }
    sides = page.boxes_xyxy[:, 2:] - page.boxes_xyxy[:, :2]
    short = (sides > 0).all(1) & (sides <= options.overlap).all(1)
    assert set(np.flatnonzero(short).tolist()) <= whole


@given(page=clean_pages(), size=st.integers(300, 900))
def test_boxes_map_back_to_the_page(page: Page, size: int) -> None:
    for tile in cut(page, TileOptions(size=size, overlap=size // 5)):
        placed = tile.page.placement
        assert placed is not None
        back = tile.page.boxes_xyxy + np.array([placed.x, placed.y] * 2)
        original = page.boxes_xyxy[tile.rows]
        assert ((back[:, :2] >= original[:, :2]) & (back[:, 2:] <= original[:, 2:])).all()
        assert tile.page.cut is not None
        np.testing.assert_array_equal(back[~tile.page.cut], original[~tile.page.cut])


def test_the_oriented_box_of_a_cut_symbol_is_its_visible_part() -> None:
    page = page_of([0, 10, 1000, 20], [10, 10, 20, 20])
    corners = np.array(
        [[[1000, 20], [1000, 10], [0, 10], [0, 20]], [[20, 16], [14, 10], [10, 14], [16, 20]]]
    )
    tiles = cut(replace(page, corners=corners.astype(float)), TileOptions(size=100, overlap=20))
    first = next(tiles).page.corners
    assert first is not None
    assert first.tolist() == [[[100, 20], [100, 10], [0, 10], [0, 20]], corners[1].tolist()]


def test_the_overlap_must_be_smaller_than_a_tile() -> None:
    with pytest.raises(ValueError, match="overlap must be from 0 to 99, got 100"):
        TileOptions(size=100, overlap=100)
