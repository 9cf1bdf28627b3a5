"""Pairs of similar boxes, with a bounded number of comparisons."""

from dataclasses import replace

import numpy as np
import pytest
from planted_labels import with_rows

from converters.overlaps import overlapping_pairs
from eval.lint.checks import similar_boxes
from eval.lint.checks.self_suppressed import _suppressed
from eval.lint.checks.similar_boxes import PAIRS, page_pairs, similar_pairs, with_pairs
from eval.lint.pages import LintPage


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


@pytest.mark.parametrize("is_crowded", [False, True])
@pytest.mark.parametrize("same_class", [False, True])
@pytest.mark.parametrize("min_iou", [0.3, 0.7, 0.9])
def test_pairs_of_a_page_are_those_of_its_complete_boxes(
    min_iou: float,
    same_class: bool,
    is_crowded: bool,
    clean: list[LintPage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if is_crowded:
        monkeypatch.setattr(similar_boxes, "MAX_CANDIDATES", 10)
    rng = np.random.default_rng(0)
    rows = clean[0].rows[rng.integers(0, len(clean[0].rows), 300)]
    rows[:, 1:3] += rng.normal(0, 2e-4, (300, 2))
    rows[:30, 1] = rows[:30, 3] / 2  # at the border
    page = replace(with_rows(clean[0], rows), is_tile=True)
    complete = np.flatnonzero(page.is_complete)
    assert 0 < len(complete) < 300
    boxes, labels = page.page.boxes_xyxy[complete], page.page.labels[complete]
    expected = complete[similar_pairs(boxes, min_iou, labels if same_class else None)]
    assert len(expected)
    assert page_pairs(page, min_iou, same_class=same_class).tolist() == expected.tolist()


def test_suppression_is_greedy() -> None:
    """A box that only a removed box overlaps is kept."""
    pairs = np.array([[0, 1], [1, 2]])
    assert _suppressed(pairs, 4).tolist() == [False, True, False, False]


@pytest.mark.parametrize("n_images", [0, 1, 7])
def test_pairs_of_many_images_are_those_of_each(n_images: int, clean: list[LintPage]) -> None:
    rng = np.random.default_rng(n_images)
    pages = []
    for i in range(n_images):
        rows = clean[0].rows[rng.integers(0, 50, 40 * (i % 3))]
        rows[:, 1:3] += rng.normal(0, 2e-4, (len(rows), 2))
        pages.append(replace(with_rows(clean[0], rows), is_tile=i % 2 == 0))
    alone, together = (
        [
            page_pairs(page, iou, same_class=same).tolist()
            for page in variant
            for iou in (0.75, 0.95)
            for same in (True, False)
        ]
        for variant in (map(replace, pages), with_pairs(pages))
    )
    assert together == alone
    assert all(PAIRS in page.measured for page in pages)
    assert any(alone) == (n_images > 1)
