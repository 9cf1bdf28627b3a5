import math
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.tal import TaskAlignedAssigner

from training.assigners.assignment import Anchors, SmallBoxes, Targets
from training.assigners.candidate_pairs import pairs_inside, ragged_arange


def targets_of(boxes: list[list[float]]) -> Targets:
    none = torch.zeros(len(boxes), dtype=torch.int64)
    return Targets(
        images=none, labels=none, boxes_xyxy=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    )


@pytest.mark.parametrize(
    ("boxes", "pairs"),
    [
        pytest.param([], [], id="no boxes"),
        pytest.param([[10, 10, 10, 10]], [], id="no size"),
        pytest.param([[-90, -90, -30, -30], [70, 5, 99, 9]], [], id="off the image"),
        pytest.param([[20, 20, 4, 4]], [], id="turned inside out"),
        pytest.param([[math.nan, 0, 32, 32]], [], id="not a number"),
        pytest.param([[8, 0, 40, 16]], [(0, 1)], id="points on the sides are outside"),
        pytest.param([[7.99, 0, 40.01, 16]], [(0, 0), (0, 1), (0, 2)], id="a little wider"),
        pytest.param([[-50, -50, 9, 25]], [(0, 0), (0, 4)], id="partly off the image"),
        pytest.param([[0, 0, math.inf, 16]], [], id="infinite"),
        pytest.param([[40, 20, 1e5, 1e5]], [(0, 7)], id="huge"),
        pytest.param([[1e30, 0, 2e30, 32]], [], id="beyond all integers"),
        pytest.param([[-1e30, -1e30, 1e30, 1e30]], [(0, i) for i in range(8)], id="everything"),
        pytest.param([[0, 0, 9, 9], [0, 0, 9, 9]], [(0, 0), (1, 0)], id="identical"),
    ],
)
def test_pairs(boxes: list[list[float]], pairs: list[tuple[int, int]]) -> None:
    anchors = Anchors.of_image((32, 64), [16])
    gts, points = pairs_inside(anchors, targets_of(boxes), "none")
    assert list(zip(gts.tolist(), points.tolist(), strict=True)) == pairs
    assert gts.dtype == points.dtype == torch.int64


def test_no_levels() -> None:
    anchors = Anchors.of_image((64, 64), [])
    assert len(pairs_inside(anchors, targets_of([[0, 0, 9, 9]]))[0]) == 0


def test_small_boxes_may_have_one_length_per_level() -> None:
    anchors = Anchors.of_image((32, 64), [16, 32])
    dot = targets_of([[15, 15, 17, 17]])
    cases: list[tuple[SmallBoxes, list[int]]] = [
        ("none", [8]),
        ("ultralytics", [0, 1, 4, 5, 8]),
        ((17.0, 0.0), [0, 1, 4, 5, 8]),
        ((0.0, 66.0), [8, 9]),
    ]
    for small_boxes, expected in cases:
        # The dot is between the points of the finer level, on the first point of the coarser one.
        assert pairs_inside(anchors, dot, small_boxes)[1].tolist() == expected


numbers = st.one_of(st.floats(-400, 400, width=32), st.integers(-100, 100).map(lambda i: i * 4.0))
sizes = st.one_of(
    st.floats(0, 300, width=32), st.sampled_from([0.0, 1e-4, 8.0, 16.0, 32.0, 1e6, math.inf])
)
box = st.tuples(numbers, numbers, sizes, sizes).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


@settings(deadline=None)
@given(
    boxes=st.lists(box, max_size=8),
    imgsz=st.sampled_from([(32, 96), (64, 64), (320, 160)]),
    strides=st.sampled_from([[8, 16, 32], [16], [32, 4], [4, 8, 16, 32]]),
)
def test_pairs_equal_ultralytics(
    boxes: list[list[float]], imgsz: tuple[int, int], strides: list[int]
) -> None:
    anchors, targets = Anchors.of_image(imgsz, strides), targets_of(boxes)
    inside = TaskAlignedAssigner(num_classes=1, stride=strides).select_candidates_in_gts(
        anchors.points_xy, targets.boxes_xyxy[None], torch.ones(1, len(boxes), 1)
    )
    gts, points = pairs_inside(anchors, targets)
    assert torch.equal(torch.stack((gts, points), dim=1), inside[0].nonzero())


@settings(deadline=None)
@given(
    boxes=st.lists(box, max_size=8),
    imgsz=st.sampled_from([(32, 96), (64, 64), (320, 160)]),
    strides=st.sampled_from([[8, 16, 32], [16], [32, 4]]),
    small_boxes=st.sampled_from(["ultralytics", "none"]),
    radius=st.sampled_from([0.5, 1.0, 2.5, 40.0]),
)
def test_pairs_are_near_the_centre(
    boxes: list[list[float]],
    imgsz: tuple[int, int],
    strides: list[int],
    small_boxes: Literal["ultralytics", "none"],
    radius: float,
) -> None:
    anchors, targets = Anchors.of_image(imgsz, strides), targets_of(boxes)
    least = {"none": 0, "ultralytics": strides[min(1, len(strides) - 1)]}[small_boxes]
    expected = []
    for gt, (x1, y1, x2, y2) in enumerate(targets.boxes_xyxy.numpy()):
        for point, (x, y) in enumerate(anchors.points_xy.numpy()):
            inside = True
            for value, low, high in ((x, x1, x2), (y, y1, y2)):
                most = np.float32(2 * radius * anchors.strides[point].item())
                half = min(np.float32(least) if high - low < least else high - low, most) / 2
                centre = (low + high) / 2
                inside &= min(value - (centre - half), (centre + half) - value) > 1e-9
            if inside:
                expected.append((gt, point))
    gts, points = pairs_inside(anchors, targets, small_boxes, radius)
    assert list(zip(gts.tolist(), points.tolist(), strict=True)) == expected


@settings(deadline=None)
@given(boxes=st.lists(box, max_size=8), radius=st.sampled_from([0.5, 2.5]))
def test_a_radius_only_removes_pairs(boxes: list[list[float]], radius: float) -> None:
    anchors, targets = Anchors.of_image((64, 96), [8, 16]), targets_of(boxes)
    few = torch.stack(pairs_inside(anchors, targets, "none", radius), dim=1)
    every = torch.stack(pairs_inside(anchors, targets, "none"), dim=1)
    assert {tuple(pair) for pair in few.tolist()} <= {tuple(pair) for pair in every.tolist()}


@given(counts=st.lists(st.integers(0, 5), max_size=8))
def test_ragged_arange(counts: list[int]) -> None:
    runs, within = ragged_arange(torch.tensor(counts, dtype=torch.int64))
    expected = [(run, i) for run, count in enumerate(counts) for i in range(count)]
    assert list(zip(runs.tolist(), within.tolist(), strict=True)) == expected
