from collections import Counter
from itertools import combinations, combinations_with_replacement
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.page import Page
from training.assigners.assignment import Anchors, Targets
from training.assigners.candidate_pairs import pairs_inside
from training.grouping.matching import NONE, capacity, maximum_matching
from training.grouping.statistics import Symbols, candidates, measure, symbols_of

IMGSZ, STRIDES, N_CLASSES = 64, (8, 16), 3
NAMES = ("a", "b", "c")


def page(
    boxes_xyxy: list[list[float]], labels: list[int], *, width: int = 64, height: int = 64
) -> Page:
    return Page(
        image=PurePosixPath("page.png"),
        width=width,
        height=height,
        boxes_xyxy=np.array(boxes_xyxy, np.float64).reshape(-1, 4),
        labels=np.array(labels, np.int64),
    )


@st.composite
def symbols(draw: st.DrawFn, most: int = 8) -> Symbols:
    """Draw small boxes close together, so that they compete; some images have none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(0, most))
    centres, sides = rng.uniform(0, 30, (n, 2)), 2 ** rng.uniform(-2, 5, (n, 2))
    return Symbols(
        imgsz=IMGSZ,
        images=np.sort(rng.integers(0, 4, n)),
        labels=rng.integers(0, N_CLASSES, n),
        boxes_xyxy=np.concatenate((centres - sides / 2, centres + sides / 2), axis=1),
    )


def points_of_boxes(of: Symbols) -> list[set[tuple[int, int]]]:
    """List image and anchor point of each candidate, box by box."""
    targets = Targets(
        images=torch.from_numpy(of.images),
        labels=torch.from_numpy(of.labels),
        boxes_xyxy=torch.from_numpy(of.boxes_xyxy),
    )
    result: list[set[tuple[int, int]]] = [set() for _ in of.images]
    boxes, points = pairs_inside(Anchors.of_image((IMGSZ, IMGSZ), STRIDES), targets)
    for box, point in zip(boxes.tolist(), points.tolist(), strict=True):
        result[box].add((int(of.images[box]), point))
    return result


def largest_matching(points: list[set[tuple[int, int]]]) -> int:
    """Compute the matching by Ore's formula: the minimum over all subsets of boxes."""
    n = len(points)
    return min(
        n - size + len(set[tuple[int, int]]().union(*(points[i] for i in some)))
        for size in range(n + 1)
        for some in combinations(range(n), size)
    )


def test_symbols_are_scaled_and_centred() -> None:
    result = symbols_of(
        [page([], []), page([[10, 0, 30, 100]], [2], width=50, height=100)], 3, imgsz=200
    )
    assert result.images.tolist() == [1]
    assert result.labels.tolist() == [2]
    assert result.boxes_xyxy.tolist() == [[70, 0, 110, 200]]
    assert len(symbols_of([], 3, imgsz=200)) == 0


def test_symbols_must_be_grouped_by_image() -> None:
    with pytest.raises(ValueError, match="images are not ascending"):
        Symbols(
            imgsz=64,
            images=np.array([1, 0]),
            labels=np.zeros(2, np.int64),
            boxes_xyxy=np.zeros((2, 4)),
        )


def test_measures_by_hand() -> None:
    pages = [
        page([[0, 0, 8, 4], [32, 0, 40, 16], [60, 60, 60, 64]], [0, 0, 2]),
        page([[0, 0, 8, 8]], [0]),
        page([], []),
    ]
    result = measure(symbols_of(pages, 3, 64), NAMES, (8,))
    assert result.n_symbols.tolist() == [3, 0, 1]
    np.testing.assert_allclose(
        result.shapes, [(np.log(2) + np.log(0.5) + 0) / 3, np.nan, np.log(0.1 / 4)]
    )
    assert result.n_images.tolist() == [[2, 0, 1], [0, 0, 0], [1, 0, 1]]
    assert not result.collisions.any()


def test_collisions_by_hand() -> None:
    """The first box has the points of two cells of stride 8, the others those of one."""
    two, one = [0.0, 0, 16, 8], [0.0, 0, 8, 8]
    pages = [page([two, one, one], [0, 1, 1]), page([two, two], [0, 2]), page([one], [1])]
    result = measure(symbols_of(pages, 3, 64), NAMES, (8,))
    assert result.collisions.tolist() == [[0, 1, 2], [1, 1, 0], [2, 0, 0]]


@given(symbols(), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_collisions_match_a_count_box_by_box(of: Symbols, at_once: int) -> None:
    boxes_at = Counter(
        (point, label)
        for points, label in zip(points_of_boxes(of), of.labels.tolist(), strict=True)
        for point in points
    )
    expected = np.zeros((N_CLASSES, N_CLASSES), np.int64)
    for i, j in combinations_with_replacement(range(N_CLASSES), 2):
        points = {point for point, _ in boxes_at}
        both = sum(boxes_at[point, i] > (i == j) and boxes_at[point, j] > 0 for point in points)
        expected[i, j] = expected[j, i] = both
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "__defaults__", (at_once,))
        result = measure(of, NAMES, STRIDES)
        single = capacity(of, np.zeros(N_CLASSES, np.int64), STRIDES)
    assert (result.collisions == expected).all()
    assert single == capacity(of, np.zeros(N_CLASSES, np.int64), STRIDES)


def test_thread_count_is_restored() -> None:
    before = 2
    torch.set_num_threads(before)
    some = symbols_of([page([[0, 0, 8, 8]], [0])], 1, 64)
    for _ in candidates(some, STRIDES):
        assert torch.get_num_threads() == before


@given(symbols(), st.lists(st.integers(0, 2), min_size=N_CLASSES, max_size=N_CLASSES))
@settings(max_examples=80, deadline=None)
def test_capacity_is_the_maximum_matching(of: Symbols, heads: list[int]) -> None:
    points = points_of_boxes(of)
    expected = 0
    for head in set(heads):
        own = [p for p, label in zip(points, of.labels, strict=True) if heads[label] == head]
        expected += largest_matching(own)
    without = sum(not own for own in points)
    assert capacity(of, np.array(heads), STRIDES) == (expected, without)


def test_no_boxes() -> None:
    nothing = symbols_of([], 1, 64)
    assert capacity(nothing, np.zeros(1, np.int64), STRIDES) == (0, 0)
    none = np.empty(0, np.int64)
    assert maximum_matching(none, none).tolist() == []


@given(st.lists(st.sets(st.integers(0, 6)), max_size=8))
@settings(max_examples=150, deadline=None)
def test_matching_is_valid_and_maximum(points: list[set[int]]) -> None:
    wanted = [own for own in points if own]
    boxes = np.array([i for i, own in enumerate(wanted) for _ in own], np.int64)
    result = maximum_matching(boxes, np.array([p for own in wanted for p in sorted(own)], np.int64))
    assert all(p == NONE or p in own for p, own in zip(result.tolist(), wanted, strict=True))
    taken = result[result != NONE]
    assert len(np.unique(taken)) == len(taken)
    assert len(taken) == largest_matching([{(0, p) for p in own} for own in wanted])


def test_a_chain_of_boxes_is_augmented() -> None:
    """In the only complete matching, every box but the first gives up its first point."""
    n = 200
    boxes = np.repeat(np.arange(n), 2)[1:]
    points = np.array([0, *(p for i in range(1, n) for p in (i - 1, i))])
    assert maximum_matching(boxes, points).tolist() == list(range(n))
