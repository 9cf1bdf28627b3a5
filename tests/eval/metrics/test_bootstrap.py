from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.crowded_pages import crowded_pages
from benchmarks.interval_coverage import coverage
from eval.metrics import bootstrap
from eval.metrics.bootstrap import MEANS, Resampling, mean_ap
from eval.metrics.coco import evaluate, evaluator_input
from eval.metrics.hits import find_hits, weighted_ap
from eval.metrics.matching import pair_pages
from eval.reports.evaluation import Interval

Method: TypeAlias = Callable[[Resampling, NDArray[np.float64]], Interval | None]


def test_samples_have_as_many_pages_as_the_data() -> None:
    samples = Resampling.of(30, 200, seed=1)
    assert samples.weights.shape == (30, 1 + 30 + 200)
    assert (samples.weights[:, 0] == 1).all()
    assert (samples.weights[:, 1:31] == 1 - np.eye(30)).all()
    drawn = samples.weights[:, 31:]
    assert (drawn.sum(axis=0) == 30).all()
    assert drawn.max() > 2  # a page that is drawn several times counts several times
    assert abs(drawn.mean(axis=1) - 1).max() < 0.3


def test_many_pages_are_left_out_in_groups() -> None:
    samples = Resampling.of(450, 10, seed=1)
    assert samples.n_groups == 200
    left_out = 450 - samples.weights[:, 1:201].sum(axis=0)
    assert (left_out.min(), left_out.max(), left_out.sum()) == (2, 3, 450)


def test_seed() -> None:
    first, same, other = (Resampling.of(9, 50, seed).weights for seed in (1, 1, 2))
    assert (first == same).all()
    assert (first != other).any()


def test_number_of_samples_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"^n_samples must be at least 1, got 0$"):
        Resampling.of(3, 0, seed=0)


@pytest.mark.parametrize(("n_pages", "contributing"), [(0, None), (1, None), (5, 1), (5, 0)])
def test_no_interval_from_fewer_than_two_pages(n_pages: int, contributing: int | None) -> None:
    samples = Resampling.of(n_pages, 20, seed=0)
    values = np.ones(samples.weights.shape[1])
    assert samples.interval(values, contributing) is None
    assert samples.symmetric_interval(values, contributing) is None


@pytest.mark.parametrize("method", [Resampling.interval, Resampling.symmetric_interval])
def test_undefined_and_constant_statistics(method: Method) -> None:
    samples = Resampling.of(5, 20, seed=0)
    assert method(samples, np.full(26, np.nan)) is None
    values = np.ones(26)
    assert method(samples, values) == Interval(low=1, high=1)
    values[10:] = np.nan
    assert method(samples, values) == Interval(low=1, high=1)
    values[6:] = np.nan
    assert method(samples, values) is None


@pytest.mark.parametrize("method", [Resampling.interval, Resampling.symmetric_interval])
def test_interval_of_a_mean_is_that_of_students_t(method: Method) -> None:
    values = np.random.default_rng(0).normal(0, 1, 25)
    samples = Resampling.of(25, 20_000, seed=0)
    interval = method(samples, values @ samples.weights / samples.weights.sum(axis=0))
    half = 2.0639 * values.std(ddof=1) / 5  # quantile of t with 24 degrees of freedom
    assert interval is not None
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bias_and_skewness_are_corrected_as_by_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).exponential(1, 25)
    # scipy 1.17.1: scipy.stats.bootstrap((values,), np.var, n_resamples=20_000, method="BCa")
    expected = [0.459, 3.90]
    monkeypatch.setattr(bootstrap, "_normal_width", lambda n: 1.959964)  # scipy's is not widened
    samples = Resampling.of(25, 20_000, seed=0)
    weights = samples.weights / samples.weights.sum(axis=0)
    interval = samples.interval(values**2 @ weights - (values @ weights) ** 2)
    assert interval is not None
    assert [interval.low, interval.high] == pytest.approx(expected, rel=0.03)
    plain = np.quantile((values**2 @ weights - (values @ weights) ** 2)[26:], [0.025, 0.975])
    assert plain != pytest.approx(expected, rel=0.1)


def test_means_are_those_of_the_report() -> None:
    truths, predictions, names = crowded_pages(
        n_pages=3, n_truths=120, n_predictions=200, n_classes=9
    )
    hits = find_hits(evaluator_input(pair_pages(truths, predictions, 9), 9))
    means = mean_ap(weighted_ap(hits, np.ones((3, 1))), hits.n_truths, np.ones((3, 1)))
    report = evaluate(truths, predictions, names)
    assert 0 < (report.frequent_macro.ap50 or 0) != report.macro.ap50
    for name in MEANS:
        assert means[name] == pytest.approx([getattr(report, name).ap50], abs=1e-12)


@pytest.mark.slow
def test_coverage() -> None:
    """The standard error of 200 simulations is 1.5 %; the benchmark runs more of them."""
    assert coverage(n_pages=100, n_simulations=200, n_samples=150) == pytest.approx(0.95, abs=0.04)
