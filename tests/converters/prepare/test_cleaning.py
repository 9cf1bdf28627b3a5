import time
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from strategies import pages

from class_maps import ConfigError, InputError
from converters import tally
from converters.page import Page
from converters.prepare.cleaning import CleaningOptions, clean
from converters.tally import Tally

NAMES = ("note", "stem")


def page_of(*symbols: tuple[int, Sequence[float]]) -> Page:
    return Page(
        image=PurePosixPath("a.png"),
        width=100,
        height=50,
        boxes_xyxy=np.array([box for _, box in symbols], np.float64).reshape(-1, 4),
        labels=np.array([label for label, _ in symbols], np.int64),
        symbol_ids=np.arange(len(symbols), dtype=np.int64),
    )


def cleaned(page: Page, **options: float) -> tuple[Page, Tally]:
    counts = Tally(read=len(page.labels))
    page = clean(page, NAMES, CleaningOptions(**options), counts)  # type: ignore[arg-type]
    counts.written.update(tally.count(page.labels, NAMES))
    counts.check()
    return page, counts


BOX = [10, 10, 30, 30]


@pytest.mark.parametrize(
    ("symbols", "left", "dropped"),
    [
        pytest.param([], [], {}, id="no symbols"),
        pytest.param([(0, BOX)], [0], {}, id="one"),
        pytest.param([(0, BOX), (1, BOX), (0, BOX)], [0, 1], {"exact duplicate": 1}, id="exact"),
        pytest.param([(0, BOX), (0, [10, 10, 30, 29.5])], [0], {"near duplicate": 1}, id="near"),
        pytest.param([(0, BOX), (1, [10, 10, 30, 29.5])], [0, 1], {}, id="near, two classes"),
        pytest.param([(0, BOX), (0, [10, 10, 30, 28])], [0, 1], {}, id="IoU .9"),
        pytest.param(
            [(0, BOX), (0, [10, 10, 30, 29.2]), (0, [10, 10, 30, 28.4])],
            [0, 2],
            {"near duplicate": 1},
            id="chain: the third is near the second only, which was dropped",
        ),
        pytest.param([(0, [5, 5, 5, 5]), (0, BOX)], [1], {"no width and no height": 1}, id="point"),
        pytest.param([(0, [0, 0, 0, 0])], [], {"no width and no height": 1}, id="zeros"),
    ],
)  # fmt: skip
def test_duplicates(
    symbols: list[tuple[int, list[float]]], left: list[int], dropped: dict[str, int]
) -> None:
    page, counts = cleaned(page_of(*symbols))
    assert page.symbol_ids is not None
    assert page.symbol_ids.tolist() == left
    assert counts.by_reason() == dropped


def test_one_box_under_two_classes_is_reported_by_its_classes() -> None:
    _, counts = cleaned(page_of((1, BOX), (0, BOX), (0, BOX)))
    assert counts.two_classes == {("note", "stem"): 1}


@pytest.mark.parametrize(
    ("box", "widened"),
    [
        pytest.param([10, 10, 10, 20], [9, 10, 11, 20], id="no width"),
        pytest.param([10, 10, 20, 10], [10, 9, 20, 11], id="no height"),
        pytest.param([10, 10, 10.00004, 20], [9.00002, 10, 11.00002, 20], id="almost no width"),
        pytest.param([0, 0, 0, 5], [0, 0, 2, 5], id="at the left edge"),
        pytest.param([100, 0, 100, 5], [98, 0, 100, 5], id="at the right edge"),
    ],
)
def test_flat_boxes_are_widened_inside_the_page(box: list[float], widened: list[float]) -> None:
    page, counts = cleaned(page_of((1, box)))
    assert page.boxes_xyxy.tolist() == [widened]
    assert counts.changed == {("widened to min-side", "stem"): 1}


def test_reports_of_one_box_under_two_classes_do_not_depend_on_options() -> None:
    half = (1, [10, 10, 30, 22])
    _, counts = cleaned(page_of((0, BOX), half), dedup_iou=0.5)
    assert counts.two_classes == {}
    _, counts = cleaned(page_of((0, BOX), (1, [10, 10, 30, 29.5])), dedup_iou=0.99)
    assert counts.two_classes == {("note", "stem"): 1}


def test_a_thin_box_stays_thin() -> None:
    page, counts = cleaned(page_of((1, [10, 10, 10.4, 20])))
    assert page.boxes_xyxy.tolist() == [[10, 10, 10.4, 20]]
    assert not counts.changed


def test_clipped_boxes_are_counted_and_boxes_outside_are_dropped() -> None:
    page, counts = cleaned(page_of((0, [-5, 10, 5, 20]), (1, [120, 10, 130, 20])), clip=True)
    assert page.boxes_xyxy.tolist() == [[0, 10, 5, 20]]
    assert counts.changed == {("clipped to the page", "note"): 1}
    assert counts.dropped == {("outside the page", "stem"): 1}


@given(page=pages(max_symbols=8))
def test_laws(page: Page) -> None:
    once, _ = cleaned(page)
    twice, counts = cleaned(once)
    np.testing.assert_array_equal(once.boxes_xyxy, twice.boxes_xyxy)
    assert not counts.dropped
    assert (once.boxes_xyxy[:, 2:] > once.boxes_xyxy[:, :2]).all()
    assert (once.boxes_xyxy >= 0).all()
    assert (once.boxes_xyxy <= [page.width, page.height] * 2).all()


def test_too_many_symbols_in_one_place_are_an_error() -> None:
    """Comparing 20 billion pairs would take an hour."""
    offsets = np.arange(200_000)[:, None] * 1e-6
    page = Page(
        image=PurePosixPath("a.png"),
        width=100,
        height=50,
        boxes_xyxy=np.array([10.0, 10, 30, 30]) + offsets,
        labels=np.zeros(200_000, np.int64),
    )
    start = time.perf_counter()
    with pytest.raises(InputError) as raised:
        cleaned(page)
    assert time.perf_counter() - start < 2
    assert str(raised.value) == (
        "a.png: too many of its 200,000 symbols are in the same place; correct its annotations"
    )


@pytest.mark.parametrize("side", [float("inf"), float("nan")])
def test_a_minimum_side_that_the_manifest_cannot_contain(side: float) -> None:
    with pytest.raises(ConfigError, match=f"^--min-side {side}: expected a finite number$"):
        CleaningOptions(min_side=side)
