"""Tests of merging: the true symbols of tiles, merged, are the true symbols of the page."""

from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.boxes import Boxes
from converters.page import Page
from converters.prepare.tiles import TileOptions, cut
from reading import merging
from reading.merging import merge, merge_by_score
from reading.pieces import Pieces
from reading.tiling import TileGrid


def merged(page: Page, options: TileOptions, *, are_exact: bool = False) -> tuple[Boxes, list[int]]:
    """Cut a page and its symbols into tiles, and merge them."""
    tiles = list(cut(page, options))
    boxes = [tile.page.boxes_xyxy + np.tile(_corner(tile.page), 2) for tile in tiles]
    labels = np.concatenate([tile.page.labels for tile in tiles])
    pieces = Pieces(
        boxes_xyxy=np.concatenate(boxes),
        labels=labels,
        scores=np.ones(len(labels)),
        tiles=np.repeat(np.arange(len(tiles)), [len(tile.page.labels) for tile in tiles]),
    )
    found, found_labels, _ = merge(
        pieces,
        TileGrid.of(np.ones((page.height, page.width), np.bool_), options),
        are_exact=are_exact,
    )
    return found, found_labels.tolist()


def _corner(tile: Page) -> list[int]:
    assert tile.placement
    return [tile.placement.x, tile.placement.y]


def rows_of(boxes_xyxy: Boxes, labels: list[int]) -> list[tuple[float, ...]]:
    rows = np.column_stack([np.array(labels, float), boxes_xyxy])
    return sorted(tuple(row) for row in rows.round(6).tolist())


@st.composite
def symbols(draw: st.DrawFn) -> tuple[Page, TileOptions]:
    size = draw(st.integers(48, 160))
    options = TileOptions(size=size, overlap=draw(st.integers(size // 5, size // 2)))
    width, height = draw(st.integers(20, 400)), draw(st.integers(20, 400))
    boxes: list[list[float]] = []
    labels: list[int] = []
    for _ in range(draw(st.integers(0, 12))):
        x, y = draw(st.floats(0, width - 4)), draw(st.floats(0, height - 4))
        long, short = draw(st.floats(2, 400)), draw(st.floats(2, options.overlap))
        wide, high = draw(st.sampled_from([(long, short), (short, long), (short, short)]))
        box = [x, y, min(x + wide, width), min(y + high, height)]
        label = draw(st.integers(0, 1))
        if all(
            not (other_label == label and overlaps(box, other))
            for other, other_label in zip(boxes, labels, strict=True)
        ):
            boxes.append(box)
            labels.append(label)
    page = Page(
        image=PurePosixPath("page.png"),
        width=width,
        height=height,
        boxes_xyxy=np.array(boxes, float).reshape(-1, 4),
        labels=np.array(labels, np.int64),
    )
    return page, options


def overlaps(a: list[float], b: list[float]) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


@pytest.mark.parametrize("are_exact", [True, False])
@settings(deadline=None, max_examples=50)
@given(case=symbols())
def test_true_symbols_come_back(case: tuple[Page, TileOptions], are_exact: bool) -> None:
    page, options = case
    found, labels = merged(page, options, are_exact=are_exact)
    assert rows_of(found, labels) == rows_of(page.boxes_xyxy, page.labels.tolist())


def test_weak_pieces_do_not_change_the_symbols_of_strong_ones() -> None:
    """A weak piece that agrees with a symbol would lengthen it; elsewhere, it is a symbol."""
    page = Page(
        image=PurePosixPath("page.png"),
        width=180,
        height=100,
        boxes_xyxy=np.empty((0, 4)),
        labels=np.empty(0, np.int64),
    )
    options = TileOptions(size=100, overlap=20)
    grid = TileGrid.of(np.ones((page.height, page.width), np.bool_), options)
    assert len(grid) == 2
    pieces = Pieces(
        boxes_xyxy=np.array([[50, 10, 100, 14], [80, 10, 120, 14], [10, 50, 20, 60.0]]),
        labels=np.zeros(3, np.int64),
        scores=np.array([0.9, 0.05, 0.02]),
        tiles=np.array([0, 1, 0]),
    )
    boxes, _, scores = merge_by_score(pieces, grid, 0.1)
    assert boxes.tolist() == [[50, 10, 100, 14], [80, 10, 120, 14], [10, 50, 20, 60]]
    assert scores.tolist() == [0.9, 0.05, 0.02]
    assert merge(pieces, grid)[0].tolist() == [[50, 10, 120, 14], [10, 50, 20, 60]]
    strong = pieces.only(pieces.scores > 0.1)
    assert merge_by_score(strong, grid, 0.1)[0].tolist() == merge(strong, grid)[0].tolist()


@pytest.mark.parametrize(
    ("second", "n_symbols"),
    [
        pytest.param([10.7, 10, 12.2, 50], 1, id="the same stem, 0.7 px beside it"),
        pytest.param([13.5, 10, 15, 50], 2, id="another stem, 3.5 px beside it"),
        pytest.param([10, 40, 11.5, 80], 2, id="another stem below it"),
    ],
)
def test_thin_symbols_are_found_once(second: list[float], n_symbols: int) -> None:
    found = Pieces(
        boxes_xyxy=np.array([[10, 10, 11.5, 50], second]),
        labels=np.zeros(2, np.int64),
        scores=np.array([0.9, 0.8]),
        tiles=np.zeros(2, np.int64),
    )
    grid = TileGrid.of(np.ones((100, 100), np.bool_), TileOptions(size=100, overlap=20))
    assert len(merge(found, grid)[0]) == n_symbols


@pytest.mark.parametrize(("score", "right"), [(0.1, 50), (0.6, 56)])
def test_a_doubtful_piece_does_not_extend_a_whole_symbol(score: float, right: int) -> None:
    # Two tiles of 64 px, which start at x = 0 and x = 36.
    found = Pieces(
        boxes_xyxy=np.array([[30, 30, 50, 33], [36, 30, 56, 33]], float),
        labels=np.zeros(2, np.int64),
        scores=np.array([0.9, score]),
        tiles=np.array([0, 1]),
    )
    grid = TileGrid.of(np.ones((64, 100), np.bool_), TileOptions(size=64, overlap=20))
    boxes, _, _ = merge(found, grid)
    assert boxes.tolist() == [[30, 30, right, 33]]


def test_ground_truth_may_overlap() -> None:
    """Boxes of the two beams of a slanted group, which a prediction would contain once."""
    boxes = [[10.0, 10, 190, 50], [10, 16, 190, 56], [20, 60, 32, 70], [21, 60, 33, 70]]
    page = Page(
        image=PurePosixPath("page.png"),
        width=200,
        height=100,
        boxes_xyxy=np.array(boxes),
        labels=np.array([0, 0, 1, 1]),
    )
    options = TileOptions(size=96, overlap=32)
    found, labels = merged(page, options, are_exact=True)
    assert rows_of(found, labels) == rows_of(page.boxes_xyxy, [0, 0, 1, 1])
    assert len(merged(page, options)[0]) < 4


def test_the_number_of_weak_pieces_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MOST_WEAK", 2)
    boxes = np.array([[10.0 * i, 10, 10 * i + 5, 15] for i in range(5)])
    pieces = Pieces(
        boxes_xyxy=boxes,
        labels=np.zeros(5, np.int64),
        scores=np.array([0.01, 0.9, 0.03, 0.02, 0.8]),
        tiles=np.zeros(5, np.int64),
    )
    grid = TileGrid.of(np.ones((64, 64), np.bool_), TileOptions(size=64, overlap=20))
    assert merge_by_score(pieces, grid, 0.1)[2].tolist() == [0.9, 0.8, 0.03, 0.02]
