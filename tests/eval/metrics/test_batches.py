from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.crowded_pages import crowded_pages
from converters.page import Page
from eval.metrics import backends, batches
from eval.metrics.backends import BACKENDS, Backend, curves, joined, run
from eval.metrics.batches import batches_of, evaluator_input
from eval.metrics.comparison import compare_runs
from eval.metrics.evaluation import evaluate_in_depth
from eval.metrics.matching import pair_pages
from eval.metrics.thin_classes import thin_classes
from eval.reports.evaluation import EvaluationReport

NAMES = tuple("abcdefg")


def pages(seed: int, n_pages: int = 7) -> tuple[list[Page], list[Page]]:
    """Draw pages with scores of which many are equal, and one page without symbols."""
    truths, predictions, _ = crowded_pages(
        n_pages=n_pages, n_truths=30, n_predictions=50, n_classes=len(NAMES), seed=seed
    )
    rng = np.random.default_rng(seed)
    for i, page in enumerate(predictions):
        predictions[i] = replace(page, scores=rng.integers(0, 6, len(page.labels)) / 5)
        truths[i] = replace(truths[i], staff_space=float(rng.integers(8, 12)))
    truths[2], predictions[2] = truths[2].only(slice(0)), predictions[2].only(slice(0))
    return truths, predictions


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "MOST_AT_ONCE", 200)
    monkeypatch.setattr(batches, "BATCH", 170)


@pytest.mark.usefixtures("small_batches")
def test_batches_are_bounded_and_contain_every_page_once() -> None:
    truths, predictions = pages(0)
    divided = batches_of(pair_pages(truths, predictions, len(NAMES)), len(NAMES))
    parts = list(divided)
    assert [part.first_page for part in parts] == list(divided.starts) == [0, 3, 5]
    sizes = [len(part.truths.labels) + len(part.predictions.labels) for part in parts]
    assert sizes == [160, 160, 160]
    assert {part.max_det for part in parts} == {50}
    whole, together = evaluator_input(divided.pairs[:], len(NAMES)), joined(parts)
    for name in ("truths", "predictions"):
        for column in ("pages", "labels", "boxes_xyxy", "scores"):
            expected = getattr(getattr(whole, name), column)
            np.testing.assert_array_equal(getattr(getattr(together, name), column), expected)


def test_a_page_with_more_symbols_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH", 1)
    truths, predictions = pages(1)
    pairs = pair_pages(truths, predictions, len(NAMES))
    assert batches_of(pairs, len(NAMES)).starts == (0, 1, 2, 4, 5, 6)  # 2 has no symbols


def test_no_pages_are_one_batch() -> None:
    (data,) = batches_of(pair_pages([], [], 3), 3)
    assert (data.truths.n_pages, data.max_det) == (0, 1)


@given(seed=st.integers(0, 10**6), n_first=st.integers(0, 7))
def test_curves_of_batches_are_those_of_all_pages(seed: int, n_first: int) -> None:
    pairs = pair_pages(*pages(seed), len(NAMES))
    whole = evaluator_input(pairs[:], len(NAMES), 50)
    parts = [
        evaluator_input(pairs[:n_first], len(NAMES), 50),
        replace(evaluator_input(pairs[n_first:], len(NAMES), 50), first_page=n_first),
    ]
    expected = run(whole).eval
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "MOST_AT_ONCE", 0)
        found = curves(parts)
    np.testing.assert_array_equal(found.precision, expected["precision"][..., 0, 0])
    np.testing.assert_array_equal(found.recall, expected["recall"][..., 0, 0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_report_does_not_depend_on_batches(
    backend: Backend, request: pytest.FixtureRequest
) -> None:
    truths, predictions = pages(4)

    def report() -> EvaluationReport:
        return evaluate_in_depth(
            truths,
            predictions,
            NAMES,
            unit="page",
            chosen_threshold=0.25,
            heads={"notes": NAMES[:4], "signs": NAMES[4:]},
            n_bootstrap=20,
            backend=backend,
        )

    expected = report()
    assert {row.count > 0 for row in expected.errors} == {True}
    assert {"head", "density", "size"} == {part.dimension for part in expected.slices}
    request.getfixturevalue("small_batches")
    assert report() == expected


def test_comparison_does_not_depend_on_batches(request: pytest.FixtureRequest) -> None:
    truths, predictions = pages(5)
    _, others = pages(6)
    groups = [
        [predictions],
        [[replace(p, image=t.image) for p, t in zip(others, truths, strict=True)]],
    ]
    expected = compare_runs(truths, groups, NAMES, n_bootstrap=20)
    request.getfixturevalue("small_batches")
    assert compare_runs(truths, groups, NAMES, n_bootstrap=20) == expected


@given(
    widths=st.lists(st.sampled_from([1.0, 3.0, 3.9, 4.0, 4.1, 5.0, 9.0]), min_size=1),
    cut=st.integers(0, 9),
)
def test_median_width_of_batches(widths: list[float], cut: int) -> None:
    empty = crowded_pages(n_pages=1, n_truths=1, n_predictions=1, n_classes=2)[0][0].only(slice(0))
    parts = []
    for some in (widths[:cut], widths[cut:]):
        boxes = np.array([(0, 0, width, 50) for width in some], float).reshape(-1, 4)
        page = replace(empty, boxes_xyxy=boxes, labels=np.ones(len(some), np.int64))
        parts.append(evaluator_input([(page, replace(empty, scores=np.empty(0)))], 2))
    assert thin_classes(parts, 2).tolist() == [False, np.median(widths) < 4]
