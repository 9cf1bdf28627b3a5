"""Pairs of similar boxes, with a bounded number of comparisons."""

import numpy as np
import pytest

from converters.overlaps import overlapping_pairs
from eval.lint.checks.self_suppressed import _suppressed
from eval.lint.checks.similar_boxes import similar_pairs


@pytest.mark.parametrize("n", [0, 1, 300])
def test_few_boxes_are_compared_in_pairs(n: int) -> None:
    rng = np.random.default_rng(0)
    corners = rng.random((n, 2)) * 60
    boxes = np.concatenate((corners, corners + 10), axis=1)
    labels = rng.integers(0, 2, n)
    assert np.array_equal(
        similar_pairs(boxes, 0.5, labels), overlapping_pairs(boxes, 0.5, labels=labels)
    )


@pytest.mark.parametrize(
    ("n", "spread_px", "least_suppressed"),
    [(1_000_000, 0.0, 999_999), (1_000_000, 1e-3, 999_990), (50_000, 1000.0, 10_000)],
)
def test_many_boxes_on_a_page(n: int, spread_px: float, least_suppressed: int) -> None:
    corners = 100 + np.random.default_rng(0).random((n, 2)) * spread_px
    boxes = np.concatenate((corners, corners + 15), axis=1)
    pairs = similar_pairs(boxes, 0.7, np.zeros(n, np.int64))
    assert len(pairs) < 20 * n
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert _suppressed(pairs, n).sum() >= least_suppressed


def test_suppression_is_greedy() -> None:
    """A box that only a removed box overlaps is kept."""
    pairs = np.array([[0, 1], [1, 2]])
    assert _suppressed(pairs, 4).tolist() == [False, True, False, False]
