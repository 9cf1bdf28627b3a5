from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.crowded_pages import crowded_pages
from converters.page import Page
from eval.metrics.backends import BACKENDS, Backend
from eval.metrics.batches import evaluator_input
from eval.metrics.coco import evaluate
from eval.metrics.hits import find_hits, weighted_ap
from eval.metrics.matching import pair_pages

N_CLASSES = 5
NAMES = tuple("abcde")


def small(seed: int, n_pages: int = 4) -> tuple[list[Page], list[Page]]:
    """Draw pages whose predictions have scores that differ."""
    truths, predictions, _ = crowded_pages(
        n_pages=n_pages, n_truths=12, n_predictions=20, n_classes=N_CLASSES, seed=seed
    )
    rng = np.random.default_rng(seed)
    return truths, [replace(page, scores=rng.random(len(page.labels))) for page in predictions]


def copied(pages: list[Page], weights: list[int]) -> list[Page]:
    """Return each page as often as its weight says, with names in the order of the pages."""
    return [
        replace(page, image=PurePosixPath(f"{page.image.stem}_{i:03}.png"))
        for page, weight in zip(pages, weights, strict=True)
        for i in range(weight)
    ]


@given(
    seed=st.integers(0, 10**6),
    columns=st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=1, max_size=3),
)
def test_weights_are_copies_of_pages(seed: int, columns: list[list[int]]) -> None:
    truths, predictions = small(seed)
    hits = find_hits([evaluator_input(pair_pages(truths, predictions, N_CLASSES), N_CLASSES)])
    ap = weighted_ap(hits, np.array(columns, float).T)
    assert ap.shape == (len(columns), N_CLASSES)
    for row, weights in zip(ap, columns, strict=True):
        report = evaluate(copied(truths, weights), copied(predictions, weights), NAMES)
        expected = [np.nan if row.ap50 is None else row.ap50 for row in report.classes]
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ap_at_every_threshold_is_that_of_coco(backend: Backend) -> None:
    truths, predictions, names = crowded_pages(n_pages=3, n_truths=300, n_predictions=500)
    data = evaluator_input(pair_pages(truths, predictions, len(names)), len(names))
    thresholds = [0.5 + 0.05 * i for i in range(10)]
    hits = find_hits([data], backend, thresholds)
    ap = np.mean([weighted_ap(hits, np.ones((3, 1)), i)[0] for i in range(10)], axis=0)
    expected = [row.ap for row in evaluate(truths, predictions, names).classes]
    np.testing.assert_allclose(ap, np.array(expected, float), rtol=0, atol=1e-12)
    mean = weighted_ap(hits, np.ones((3, 1)), None)[0]
    np.testing.assert_allclose(mean, ap, rtol=0, atol=1e-12)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truths, predictions = small(1)
    hits = find_hits([evaluator_input(pair_pages(truths, predictions, N_CLASSES), N_CLASSES)])
    weights = np.random.default_rng(0).integers(0, 3, (4, 50)).astype(float)
    whole = [weighted_ap(hits, weights, index) for index in (0, None)]
    monkeypatch.setattr("eval.metrics.hits._CHUNK", 60)
    for index, expected in zip((0, None), whole, strict=True):
        np.testing.assert_array_equal(weighted_ap(hits, weights, index), expected)


def test_nothing_to_weigh() -> None:
    hits = find_hits([evaluator_input([], 2)])
    assert np.isnan(weighted_ap(hits, np.ones((0, 3)))).all()
    truths, predictions = small(0)
    empty = [page.only(slice(0)) for page in predictions]
    hits = find_hits([evaluator_input(pair_pages(truths, empty, N_CLASSES), N_CLASSES)])
    has_truths = hits.n_truths.any(axis=0)
    np.testing.assert_array_equal(
        weighted_ap(hits, np.ones((4, 1)))[0], np.where(has_truths, 0, np.nan)
    )


def test_predictions_are_sorted_by_class_and_score() -> None:
    truths, predictions = small(2)
    hits = find_hits([evaluator_input(pair_pages(truths, predictions, N_CLASSES), N_CLASSES)])
    for label in range(N_CLASSES):
        rows = hits.rows(label)
        assert (hits.labels[rows] == label).all()
        assert (np.diff(hits.scores[rows]) <= 0).all()
    assert sum(hits.rows(label).stop - hits.rows(label).start for label in range(N_CLASSES)) == 80
