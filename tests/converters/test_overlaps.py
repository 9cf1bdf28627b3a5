from typing import Literal
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from converters import overlaps
from converters.boxes import Boxes
from converters.overlaps import overlapping_pairs, same_box_classes


def every_pair(
    boxes_xyxy: Boxes, min_overlap: float, of: str, labels: NDArray[np.int64] | None
) -> list[list[int]]:
    """Compare one pair of boxes at a time."""
    pairs = []
    for i, a in enumerate(boxes_xyxy):
        for j, b in enumerate(boxes_xyxy[:i]):
            w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
            shared = max(w, 0) * max(h, 0)
            areas = np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2])
            whole = sum(areas) - shared if of == "union" else min(areas)
            is_one_class = labels is None or labels[i] == labels[j]
            if is_one_class and shared > 0 and shared / whole >= min_overlap:
                pairs.append([j, i])
    return sorted(pairs)


@given(
    xywh=hnp.arrays(
        np.float64, st.tuples(st.integers(0, 12), st.just(4)), elements=st.integers(0, 8)
    ),
    min_overlap=st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.95, 1.0]),
    of=st.sampled_from(["union", "smaller"]),
    block=st.sampled_from([1, 3, 1000]),
    of_class=st.none() | hnp.arrays(np.int64, 12, elements=st.integers(0, 2)),
)
def test_result_equals_that_of_comparing_every_pair(
    xywh: Boxes,
    min_overlap: float,
    of: Literal["union", "smaller"],
    block: int,
    of_class: NDArray[np.int64] | None,
) -> None:
    labels = None if of_class is None else of_class[: len(xywh)]
    boxes_xyxy = np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), axis=1)
    with mock.patch.object(overlaps, "BLOCK_PAIRS", block):
        pairs = overlapping_pairs(boxes_xyxy, min_overlap, of, labels=labels)
    assert pairs.tolist() == every_pair(boxes_xyxy, min_overlap, of, labels)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_boxes_have_no_pairs(n: int) -> None:
    assert overlapping_pairs(np.ones((n, 4)), 0.5).shape == (0, 2)


def test_a_hundred_thousand_boxes() -> None:
    corner = np.random.default_rng(0).uniform(0, 4000, (100_000, 2))
    boxes_xyxy = np.concatenate((corner, corner + 20), axis=1)
    boxes_xyxy[-1] = boxes_xyxy[0]
    assert [0, 99_999] in overlapping_pairs(boxes_xyxy, 0.95).tolist()


def test_same_boxes_of_different_images() -> None:
    boxes, labels = np.array([[0.0, 0, 5, 5]] * 3), np.array([0, 1, 1])
    pairs = [[*same_box_classes(boxes, labels, "ab", np.array(images))] for images in ([0, 1, 0],)]
    assert pairs == [[("a", "b")]]
    assert len([*same_box_classes(boxes, labels, "ab")]) == 2
    assert [*same_box_classes(boxes[:0], labels[:0], "ab", labels[:0])] == []
