"""Tests of candidates for contact sheets."""

from pathlib import PurePosixPath

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from converters.page import Page
from converters.prepare.candidates import (
    MOST_OF_AN_IMAGE,
    RANDOM,
    REASONS,
    CandidateLimits,
    find_candidates,
    position_in_run,
)
from converters.prepare.tiles import TileOptions, cut

LIMITS = CandidateLimits(n_random=8, n_extreme=2)
TILES = TileOptions(size=100, overlap=40)


@st.composite
def pages(draw: st.DrawFn) -> Page:
    side = st.integers(1, 60)
    symbol = st.tuples(st.integers(0, 3), st.integers(0, 200), st.integers(0, 200), side, side)
    symbols = draw(st.lists(symbol, max_size=30))
    rows = np.array(symbols, float).reshape(-1, 5)
    return Page(
        image=PurePosixPath(draw(st.sampled_from(["a.png", "b.png"]))),
        width=260,
        height=260,
        labels=rows[:, 0].astype(np.int64),
        boxes_xyxy=np.hstack([rows[:, 1:3], rows[:, 1:3] + rows[:, 3:]]),
        staff_space=draw(st.sampled_from([None, 5.0])),
    )


@given(pages(), st.booleans())
def test_candidates_are_symbols_within_the_limits(page: Page, tiled: bool) -> None:
    images = [tile.page for tile in cut(page, TILES)] if tiled else [page]
    candidates = find_candidates(images, LIMITS)
    for one in candidates:
        image = images[one["image"]]
        same = (image.boxes_xyxy == one["box_xyxy"]).all(axis=1) & (image.labels == one["label"])
        assert same.any()
        if REASONS[one["reason"]] != RANDOM and image.cut is not None:
            assert not image.cut[same].all()
    for label in range(4):
        present = any((image.labels == label).any() for image in images)
        of_class = candidates[candidates["label"] == label]
        assert present == bool(len(of_class))
        for number, reason in enumerate(REASONS):
            part = of_class[of_class["reason"] == number]
            limit = LIMITS.n_random if reason == RANDOM else LIMITS.n_extreme
            assert len(part) <= limit
            if reason == RANDOM:
                per_image = np.bincount(part["image"], minlength=1)
                assert per_image.max() <= MOST_OF_AN_IMAGE
            if reason in {"largest", "smallest"} and page.staff_space is None:
                assert not len(part)


@given(pages())
def test_extremes_are_the_first_by_size_and_ratio(page: Page) -> None:
    candidates = find_candidates([page], CandidateLimits(n_random=0, n_extreme=1))
    sides = np.maximum(page.boxes_xyxy[:, 2:] - page.boxes_xyxy[:, :2], 1e-6)
    measures = {
        "largest": -sides.max(axis=1),
        "smallest": sides.max(axis=1),
        "widest": -sides[:, 0] / sides[:, 1],
        "tallest": sides[:, 0] / sides[:, 1],
    }
    for one in candidates:
        measure = measures[REASONS[one["reason"]]]
        boxes = (page.boxes_xyxy == one["box_xyxy"]).all(axis=1)
        assert measure[boxes].min() == measure[page.labels == one["label"]].min()


def test_a_symbol_in_several_tiles_is_an_extreme_once() -> None:
    page = Page(
        image=PurePosixPath("a.png"), width=160, height=100, labels=np.zeros(2, np.int64),
        boxes_xyxy=np.array([[70.0, 10, 90, 30], [5, 5, 10, 10]]), staff_space=10.0,
    )  # fmt: skip
    tiles = [tile.page for tile in cut(page, TILES)]
    assert [len(tile.labels) for tile in tiles] == [2, 1]  # the first symbol is in both
    candidates = find_candidates(tiles, LIMITS)
    largest = candidates[candidates["reason"] == REASONS.index("largest")]
    assert largest["box_xyxy"].tolist() == [[5, 5, 10, 10], [70, 10, 90, 30]]
    assert largest["rank"].tolist() == [-0.5, -2.0]


def test_no_images() -> None:
    assert len(find_candidates([], LIMITS)) == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=12))
def test_positions_count_equal_neighbours(rows: list[tuple[int, int]]) -> None:
    first, second = np.array(rows, int).reshape(-1, 2).T
    expected: list[int] = []
    for i, row in enumerate(rows):
        expected.append(expected[-1] + 1 if i and rows[i - 1] == row else 0)
    assert position_in_run(first, second).tolist() == expected
