import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.pictures.label_placement import PlacedText, Rectangle, place_labels

SIDE = 100


def measure(text: str) -> tuple[int, int]:
    return 6 * len(text), 8


def clean() -> NDArray[np.bool_]:
    return np.zeros((SIDE, SIDE), bool)


def texts_of(boxes: list[Rectangle], names: list[str], ink: NDArray[np.bool_]) -> list[str | None]:
    tags = place_labels(boxes, names, ["1"] * len(boxes), ink, measure)
    return [tag.text if tag else None for tag in tags]


def window(tag: PlacedText) -> tuple[slice, slice]:
    return slice(tag.top, tag.top + tag.height), slice(tag.left, tag.left + tag.width)


def test_no_boxes() -> None:
    assert place_labels([], [], [], clean(), measure) == []


def test_no_picture() -> None:
    assert place_labels([(0, 0, 1, 1)], ["a"], ["1"], np.zeros((0, 0), bool), measure) == [None]


def test_a_box_with_room_gets_its_name_beside_it() -> None:
    [tag] = place_labels([(10, 20, 20, 30)], ["stem"], ["1"], clean(), measure)
    assert tag == PlacedText(text="stem", left=23, top=20, width=24, height=8)


def test_at_the_right_border_the_name_goes_elsewhere() -> None:
    [tag] = place_labels([(90, 40, 100, 50)], ["stem"], ["1"], clean(), measure)
    assert tag is not None
    assert (tag.text, tag.top) == ("stem", 40 - 3 - 8)  # above, flush with the right edge
    assert tag.left + tag.width == 100


def test_a_number_replaces_a_name_that_would_hide_ink() -> None:
    ink = clean()
    ink[:, ::10] = True  # gaps of nine pixels: a digit fits, a name does not
    assert texts_of([(31, 40, 38, 50)], ["stem"], ink) == ["1"]


def test_a_number_hides_as_little_ink_as_it_can() -> None:
    ink = np.ones((SIDE, SIDE), bool)
    ink[60:80] = False  # all is ink but for a strip below the box
    [tag] = place_labels([(40, 40, 50, 58)], ["a long name for a strip"], ["1"], ink, measure)
    assert tag is not None
    assert (tag.text, tag.top) == ("1", 61)


def test_no_room_for_anything() -> None:
    boxes = [(0, 0, SIDE, SIDE)] * 2
    assert texts_of(boxes, ["a", "b"], clean()) == [None, None]


def test_equal_boxes_share_the_room() -> None:
    tags = place_labels([(40, 40, 50, 50)] * 3, ["a"] * 3, ["1"] * 3, clean(), measure)
    assert len({(tag.left, tag.top) for tag in tags if tag}) == 3


def test_the_rarer_name_is_written_out_first() -> None:
    ink = np.ones((SIDE, SIDE), bool)
    ink[10:19, 30:80] = False  # between the two is room for a name and a number
    boxes = [(28, 10, 30, 20), (80, 10, 82, 20), (40, 80, 50, 90)]
    assert texts_of(boxes, ["often", "rare", "often"], ink)[:2] == ["1", "rare"]
    assert texts_of(boxes, ["rare", "often", "often"], ink)[:2] == ["rare", "1"]


@st.composite
def boxes(draw: st.DrawFn) -> Rectangle:
    (x0, x1), (y0, y1) = (
        sorted(draw(st.tuples(st.integers(-5, SIDE + 5), st.integers(-5, SIDE + 5))))
        for _ in range(2)
    )
    return x0, y0, x1, y1


@given(
    rectangles=st.lists(boxes(), max_size=25),
    seed=st.integers(0, 9),
    share=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_texts_are_inside_the_picture_and_do_not_overlap(
    rectangles: list[Rectangle], seed: int, share: float
) -> None:
    ink = np.random.default_rng(seed).random((SIDE, SIDE)) < share
    names = [("stem", "notehead", "x")[i % 3] for i in range(len(rectangles))]
    numbers = [str(i % 3) for i in range(len(rectangles))]
    tags = place_labels(rectangles, names, numbers, ink, measure)
    written = np.zeros((SIDE, SIDE), int)
    for tag, name, number in zip(tags, names, numbers, strict=True):
        if tag is None:
            continue
        assert tag.text in {name, number}
        assert (tag.width, tag.height) == measure(tag.text)
        assert min(tag.left, tag.top) >= 0
        assert max(tag.left + tag.width, tag.top + tag.height) <= SIDE
        written[window(tag)] += 1
        if tag.text == name:
            assert not ink[window(tag)].any()
    assert written.max() <= 1


@pytest.mark.parametrize("n", [1, 40])
def test_the_same_page_has_the_same_texts(n: int) -> None:
    rectangles = [(i % 90, i * 7 % 90, i % 90 + 4, i * 7 % 90 + 4) for i in range(n)]
    first, second = (
        place_labels(rectangles, ["a"] * n, ["1"] * n, clean(), measure) for _ in range(2)
    )
    assert first == second


def test_many_boxes_in_one_place_take_little_time() -> None:
    n = 20_000
    start = time.process_time()
    labels = place_labels([(40, 40, 60, 60)] * n, ["stem"] * n, ["1"] * n, clean(), measure)
    assert time.process_time() - start < 1.5  # with a search for each box: 4 s
    assert 0 < n - labels.count(None) < 50
