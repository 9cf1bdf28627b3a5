"""Shares of ink in boxes and around them."""

import cv2
import numpy as np
import pytest

from eval.lint.checks.note_parts import MAX_CANDIDATES, touches_any
from eval.lint.ink import (
    counted_shares,
    find_ink,
    ink_shares,
    integral,
    long_strokes,
    shifted_shares,
)

PAPER = np.full((40, 60), 250, np.uint8)


@pytest.mark.parametrize("n", [0, 1, 50])
def test_shares_of_moved_boxes_are_those_of_the_boxes_elsewhere(n: int) -> None:
    rng = np.random.default_rng(n)
    ink = integral((rng.random(PAPER.shape) < 0.3).astype(np.uint8))
    corners = rng.integers(-5, 60, (n, 2))
    boxes = np.concatenate((corners, corners + rng.integers(0, 12, (n, 2))), axis=1).astype(float)
    shifts = np.array([-3, 0, 2])
    shares = shifted_shares(ink, boxes, shifts)
    assert shares.shape == (3, 3, n)
    for i, dx in enumerate(shifts.tolist()):
        for j, dy in enumerate(shifts.tolist()):
            moved = boxes + np.array([dx, dy, dx, dy])
            assert shares[i, j].tolist() == ink_shares(ink, moved).tolist()


def test_share_of_a_box() -> None:
    ink = np.zeros((4, 4), np.uint8)
    ink[:, 3] = 1
    boxes = np.array([[2, 0, 4, 4], [0, 0, 3, 1], [3, 0, 3, 0], [9, 9, 9, 9]], float)
    assert ink_shares(integral(ink), boxes).tolist() == [0.5, 0, 1, 1]
    assert counted_shares(ink, boxes).tolist() == [0.5, 0, 1, 1]
    assert counted_shares(ink, boxes[:0]).tolist() == []


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (8, 90), (123, 77)])
@pytest.mark.parametrize("length", [3, 4, 25, 44])
@pytest.mark.parametrize("density", [0.0, 0.6, 0.95])
def test_strokes_are_those_of_opencv(size: tuple[int, int], length: int, density: float) -> None:
    thin = (np.random.default_rng(0).random(size) < density).astype(np.uint8)
    closed = cv2.morphologyEx(thin, cv2.MORPH_CLOSE, np.ones((1, length // 2), np.uint8))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    assert ((long_strokes(thin, length) > 0) == (opened > 0)).all()


@pytest.mark.parametrize(("grey", "n_ink"), [(250, 0), (241, 0), (200, 25), (0, 25)])
def test_ink_is_darker_than_its_surroundings(grey: int, n_ink: int) -> None:
    page = PAPER.copy()
    page[10:15, 20:25] = grey
    ink = find_ink(page, 8.0)
    assert int(ink.all.sum()) == n_ink
    assert ink.all[12, 22] == min(n_ink, 1)
    assert ink.sums[-1, -1] == n_ink


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (None, False),
        ([10.0, 0, 12, 9], False),
        ([10.0, 8, 12, 40], True),
        ([10.0, 15, 10, 40], True),  # a line without width
        ([13.5, 15, 15, 40], True),  # within the margin
        ([14.5, 15, 15, 40], False),
    ],
)
def test_parts_that_touch(other: list[float] | None, expected: bool) -> None:
    boxes = np.array([[5.0, 10, 13, 20]])
    others = np.array([other]) if other else np.empty((0, 4))
    assert touches_any(boxes, others, (0.0, 0.0, 1.0, 0.0)).tolist() == [expected]
    assert touches_any(boxes[:0], others, (0.0, 0.0, 1.0, 0.0)).tolist() == []


def test_too_many_parts_are_not_compared() -> None:
    boxes = np.array([[0.0, 0, 2, 2]]).repeat(5000, axis=0)
    others = boxes + np.array([0, 9, 0, 9])
    assert len(boxes) ** 2 > MAX_CANDIDATES
    assert touches_any(boxes, others, (0.0,) * 4).all()
    assert not touches_any(boxes[:2], others, (0.0,) * 4).any()
