import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbol_sets import N_CLASSES, NAMES, sized, symbols, symbols_at
from ultralytics.utils.tal import TaskAlignedAssigner, make_anchors

from class_maps import ConfigError
from eval.reports.density_figures import ClassCollision
from settings.head_config import BoxBranch, Group, HeadConfig
from training.density.anchors import (
    CandidateShares,
    anchor_competition,
    anchor_rows,
    points_by_level,
)
from training.grouping.statistics import Symbols

IMGSZ = 64
LEVELS = [(8, 16, 32), (4, 8, 16, 32), (16,)]


def heads_of(box: BoxBranch, *groups: str) -> HeadConfig:
    return HeadConfig(
        groups=tuple(Group(name=name, classes=tuple(name)) for name in groups), box=box
    )


def points_of_ultralytics(of: Symbols, strides: Sequence[int]) -> np.ndarray:
    """Return the candidate mask of Ultralytics' assigner, bool, ``(N, A)``."""
    maps = [torch.zeros(1, 1, IMGSZ // stride, IMGSZ // stride) for stride in strides]
    points, stride_of = make_anchors(maps, torch.tensor(strides), 0.5)
    boxes = torch.from_numpy(of.boxes_xyxy).float()[None]  # (1, N, 4)
    assigner = TaskAlignedAssigner(num_classes=N_CLASSES, stride=list(strides))
    mask = torch.ones(1, len(of), 1)
    result: np.ndarray = assigner.select_candidates_in_gts(points * stride_of, boxes, mask)[
        0
    ].numpy()
    return result.astype(bool)


@given(symbols(most=12), st.sampled_from(LEVELS))
@settings(max_examples=60, deadline=None)
def test_point_counts_match_ultralytics(of: Symbols, strides: tuple[int, ...]) -> None:
    cells = [(IMGSZ // stride) ** 2 for stride in strides]
    levels = np.split(points_of_ultralytics(of, strides), np.cumsum(cells)[:-1], axis=1)
    expected = np.stack([inside.sum(axis=1) for inside in levels], axis=1)
    assert (points_by_level(of, strides) == expected).all()


def test_many_boxes_are_counted_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    of = sized(np.linspace(0.1, 60, 15)[:, None].repeat(2, axis=1))
    whole = points_by_level(of, (8, 16))
    monkeypatch.setattr("training.density.anchors.BOXES_AT_ONCE", 4)
    assert (points_by_level(of, (8, 16)) == whole).all()


@pytest.mark.parametrize(
    ("box", "n_default", "n_inside"),
    [
        # Points at 4, 12, ... and 8, 24, ...; a short side counts as 16 px.
        pytest.param([8, 8, 8.01, 8.01], 5, 0, id="a hundredth of a pixel"),
        pytest.param([3.9, 3.9, 4.1, 4.1], 2, 1, id="dot on a point"),
        pytest.param([-9, -9, 99, 99], 80, 80, id="larger than the image"),
        pytest.param([70, 70, 80, 80], 0, 0, id="out of the image"),
    ],
)
def test_points_worked_by_hand(box: list[float], n_default: int, n_inside: int) -> None:
    of = symbols_at([box])
    assert points_by_level(of, (8, 16)).sum() == n_default
    assert points_by_level(of, (8, 16), "none").sum() == n_inside


def test_shares_of_symbols_without_a_point() -> None:
    dots = [[3, 3, 5, 5], [3, 3, 13, 5], [3, 3, 13, 13], [0, 0, 1, 1], [70, 70, 71, 71]]
    with_symbols, without = anchor_rows(symbols_at(dots, [0] * 5), ["dot", "stem"], (8,))
    # A side of less than 8 px counts as 8: one point each, but two for 10 px, and four.
    assert with_symbols.candidates == CandidateShares(none=0.2, one=0.4, two=0.2)
    assert with_symbols.inside == CandidateShares(none=0.4, one=0.2, two=0.2)
    assert (without.count, without.candidates, without.inside) == (0, None, None)
    json.dumps(asdict(with_symbols))


def test_no_symbols() -> None:
    assert anchor_rows(symbols_at([]), ["a"], (8,))[0].candidates is None
    result = anchor_competition(symbols_at([]), ["a"], (8,))
    assert result.contested_share is None
    assert asdict(result) == {
        "points": 0,
        "contested": 0,
        "without_candidate": 0,
        "max_recall_single_head": None,
        "max_recall_heads": None,
        "collisions": (),
        "matrix": ((0,),),
    }


def test_input_size_must_be_a_multiple_of_every_stride() -> None:
    of = sized([8, 8], imgsz=100)
    for measure in (anchor_rows, anchor_competition):
        with pytest.raises(ValueError, match=r"\(100, 100\) is not a multiple"):
            measure(of, ["a"], (8, 16, 32))


def test_four_dots_at_one_point() -> None:
    crowded = symbols_at([[4, 4, 6, 6]] * 3 + [[4, 4, 5, 5]], [0, 0, 1, 2])
    single = anchor_competition(crowded, NAMES, (32,))
    assert (single.points, single.contested, single.contested_share) == (1, 1, 1)
    assert (single.max_recall_single_head, single.max_recall_heads) == (0.25, 0.25)
    assert single.matrix == ((1, 1, 1), (1, 0, 1), (1, 1, 0))
    assert single.collisions == (
        ClassCollision(a="a", b="a", points=1),
        ClassCollision(a="a", b="b", points=1),
        ClassCollision(a="a", b="c", points=1),
        ClassCollision(a="b", b="c", points=1),
    )
    cases: tuple[tuple[BoxBranch, float], ...] = (("separate", 0.5), ("shared", 0.25))
    for box, recall in cases:
        two = anchor_competition(crowded, NAMES, (32,), heads_of(box, "ab", "c"))
        assert (two.max_recall_single_head, two.max_recall_heads) == (0.25, recall)
    assert (
        anchor_competition(crowded, NAMES, (32,), heads_of("separate", *NAMES)).max_recall_heads
        == 0.75
    )


def test_pairs_that_share_most_come_first() -> None:
    dots = [[4, 4, 6, 6], [4, 4, 6, 6], [36, 4, 38, 6], [36, 4, 38, 6], [36, 36, 38, 38]]
    result = anchor_competition(symbols_at([*dots, dots[4]], [0, 1, 1, 2, 1, 2]), NAMES, (32,))
    assert result.collisions == (
        ClassCollision(a="b", b="c", points=2),
        ClassCollision(a="a", b="b", points=1),
    )


def test_heads_for_other_classes() -> None:
    boxes: tuple[BoxBranch, ...] = ("shared", "separate")
    for box in boxes:
        with pytest.raises(ConfigError, match="heads: in no group: c"):
            anchor_competition(sized([8, 8]), NAMES, (8,), heads_of(box, "a", "b"))


def most_matched(wanted: list[set[int]]) -> int:
    """Try every assignment of points to boxes."""
    if not wanted:
        return 0
    first, *rest = wanted
    taken = [1 + most_matched([own - {point} for own in rest]) for point in first]
    return max([most_matched(rest), *taken])


@given(symbols(most=5), st.sampled_from([("abc",), ("ab", "c"), ("b", "a", "c")]))
@settings(max_examples=40, deadline=None)
def test_competition_matches_exhaustive_search(of: Symbols, groups: tuple[str, ...]) -> None:
    strides = (16, 32)
    inside = points_of_ultralytics(of, strides)
    wanted = [
        {int(image) * 1000 + int(point) for point in np.flatnonzero(row)}
        for image, row in zip(of.images, inside, strict=True)
    ]
    result = anchor_competition(of, NAMES, strides, heads_of("separate", *groups))
    takers = Counter(point for own in wanted for point in own)
    assert result.points == len(takers)
    assert result.contested == sum(n > 1 for n in takers.values())
    assert result.without_candidate == sum(not own for own in wanted)
    most = most_matched(wanted)
    of_groups = sum(
        most_matched([p for p, label in zip(wanted, of.labels, strict=True) if NAMES[label] in own])
        for own in groups
    )
    n = len(of)
    assert result.max_recall_single_head == (pytest.approx(most / n) if n else None)
    assert result.max_recall_heads == (pytest.approx(of_groups / n) if n else None)
    both: dict[tuple[int, int], set[int]] = {}
    for (i, first), (k, second) in combinations(list(enumerate(wanted)), 2):
        pair = tuple(sorted((int(of.labels[i]), int(of.labels[k]))))
        both.setdefault((pair[0], pair[1]), set()).update(first & second)
    assert {
        (NAMES.index(pair.a), NAMES.index(pair.b)): pair.points for pair in result.collisions
    } == {pair: len(points) for pair, points in both.items() if points}
