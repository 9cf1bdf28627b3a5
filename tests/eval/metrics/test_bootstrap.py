import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.crowded_pages import crowded_pages
from benchmarks.interval_coverage import drawn_hits
from eval.metrics.batches import evaluator_input
from eval.metrics.bootstrap import (
    MEANS,
    SampleSize,
    class_sizes,
    difference_interval,
    interval,
    mean_ap,
    mean_sizes,
    page_weights,
)
from eval.metrics.coco import evaluate
from eval.metrics.hits import find_hits, weighted_ap
from eval.metrics.matching import pair_pages
from eval.reports.evaluation import Interval

ZERO, ONE = Interval(low=0, high=0), Interval(low=1, high=1)


def shares(found: NDArray[np.int64], n_truths: int, n_samples: int = 4000) -> NDArray[np.float64]:
    """Return the share of symbols found on samples of pages with equally many truths each."""
    weights = page_weights(len(found), n_samples, seed=0)
    values: NDArray[np.float64] = found @ weights / (n_truths * len(found))
    return values


def test_samples_have_as_many_pages_as_the_data() -> None:
    weights = page_weights(30, 200, seed=1)
    assert weights.shape == (30, 201)
    assert (weights[:, 0] == 1).all()
    drawn = weights[:, 1:]
    assert (drawn.sum(axis=0) == 30).all()
    assert drawn.max() > 2  # a page that is drawn several times counts several times
    assert abs(drawn.mean(axis=1) - 1).max() < 0.3


def test_seed() -> None:
    first, same, other = (page_weights(9, 50, seed) for seed in (1, 1, 2))
    assert (first == same).all()
    assert (first != other).any()


def test_number_of_samples_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"^n_samples must be at least 1, got 0$"):
        page_weights(3, 0, seed=0)


@pytest.mark.parametrize("n_pages", [0, 1])
def test_no_interval_from_fewer_than_two_pages(n_pages: int) -> None:
    values, size = np.linspace(0.4, 0.6, 21), SampleSize(n_pages=n_pages, n_truths=5)
    assert interval(values, size) is None
    assert difference_interval(values, np.zeros(21), size) is None


def test_undefined_and_constant_scores() -> None:
    size = SampleSize(n_pages=5, n_truths=9)
    undefined, zeros, ones = np.full(21, np.nan), np.zeros(21), np.ones(21)
    assert interval(undefined, size) is None
    assert difference_interval(undefined, ones, size) is None
    assert interval(zeros, size) == ZERO
    assert interval(ones, size) == ONE
    ones[5:] = np.nan
    assert interval(ones, size) == ONE
    assert difference_interval(ones, ones, size) == ZERO
    ones[1:] = np.nan
    assert interval(ones, size) is None
    assert difference_interval(ones, zeros, size) is None


@pytest.mark.parametrize(
    ("n_found", "jeffreys"),
    [  # scipy 1.17.1: scipy.stats.beta.ppf([0.025, 0.975], n_found + 0.5, 30 - n_found + 0.5)
        (15, [0.32802, 0.67198]),
        (21, [0.52346, 0.84001]),
        (27, [0.75660, 0.97102]),
    ],
)
def test_pages_with_one_truth_are_a_proportion(n_found: int, jeffreys: list[float]) -> None:
    values = shares((np.arange(30) < n_found).astype(np.int64), 1)
    limits = interval(values, SampleSize(n_pages=30, n_truths=30))
    percentiles = np.quantile(values[1:], [0.025, 0.975])
    assert limits is not None
    assert limits.low == pytest.approx(min(jeffreys[0], percentiles[0]), abs=0.01)
    assert limits.high == pytest.approx(max(jeffreys[1], percentiles[1]), abs=0.01)


def test_truths_of_a_page_that_are_found_together_count_as_one() -> None:
    found = (np.arange(30) < 21).astype(np.int64)
    single = interval(shares(found, 1), SampleSize(n_pages=30, n_truths=30))
    together = interval(shares(found * 20, 20), SampleSize(n_pages=30, n_truths=600))
    apart = interval(shares(found * 2 + 13, 20), SampleSize(n_pages=30, n_truths=600))
    assert single is not None
    assert together is not None
    assert apart is not None
    width = single.high - single.low
    assert together.high - together.low == pytest.approx(width, rel=0.08)
    assert apart.high - apart.low < width / 4


def test_interval_of_many_symbols_is_that_of_students_t() -> None:
    found = np.random.default_rng(0).integers(400, 600, 8)
    values = shares(found, 1000)
    limits = interval(values, SampleSize(n_pages=8, n_truths=8000))
    half = 2.3646 * found.std(ddof=1) / 1000 / 8**0.5  # quantile of t with 7 degrees of freedom
    assert limits is not None
    assert limits.low == pytest.approx(values[0] - half, abs=0.06 * half)
    assert limits.high == pytest.approx(values[0] + half, abs=0.06 * half)


def test_one_error_does_not_exclude_others() -> None:
    """The samples alone have at most a few errors, of which most have the same one."""
    values = shares((np.arange(100) > 0).astype(np.int64), 1)
    size = SampleSize(n_pages=100, n_truths=100)
    limits, percentiles = interval(values, size), np.quantile(values, [0.025, 0.975])
    assert limits is not None
    assert limits.low == pytest.approx(0.955, abs=0.003)
    assert limits.low < percentiles[0] - 0.01
    assert limits.high >= percentiles[1] == 1


def test_difference_of_pages_that_are_hard_for_both() -> None:
    rng = np.random.default_rng(2)
    first = rng.integers(200, 900, 12)
    second = first - rng.integers(20, 60, 12)
    a, b = shares(first, 1000), shares(second, 1000)
    size = SampleSize(n_pages=12, n_truths=12_000)
    limits, swapped = difference_interval(a, b, size), difference_interval(b, a, size)
    assert limits is not None
    assert swapped is not None
    half = 2.2010 * (first - second).std(ddof=1) / 1000 / 12**0.5  # t with 11 degrees of freedom
    assert limits.low == pytest.approx(a[0] - b[0] - half, abs=0.1 * half)
    assert limits.high == pytest.approx(a[0] - b[0] + half, abs=0.1 * half)
    assert (swapped.low, swapped.high) == pytest.approx((-limits.high, -limits.low), abs=1e-12)


def test_difference_between_a_perfect_score_and_one_with_an_error() -> None:
    """A perfect score has no spread, but its interval is not taken to be without width."""
    b = shares((np.arange(12) > 0).astype(np.int64), 1)
    limits = difference_interval(np.ones(len(b)), b, SampleSize(n_pages=12, n_truths=12))
    assert limits is not None
    assert limits.low < 0 < 1 / 12 < limits.high < 0.4


def test_scores_without_spread_differ() -> None:
    """On each page, half of the 40 symbols are found."""
    half, size = np.full(21, 0.5), SampleSize(n_pages=10, n_truths=400)
    limits = difference_interval(np.ones(21), half, size)
    assert limits is not None
    assert 0.44 < limits.low < 0.5 < limits.high < 0.56


def test_sizes() -> None:
    assert class_sizes(np.zeros((0, 2), np.int64)) == [SampleSize(n_pages=0, n_truths=0)] * 2
    counts = np.array([[40, 1, 0], [0, 1, 0], [20, 0, 0], [0, 0, 0]])
    assert class_sizes(counts) == [
        SampleSize(n_pages=2, n_truths=60),
        SampleSize(n_pages=2, n_truths=2),
        SampleSize(n_pages=0, n_truths=0),
    ]
    sizes = mean_sizes(counts)
    # The mean of both classes has the variance (1/60 + 1/2) / 4 of that of a single truth.
    assert sizes["macro"].n_truths == pytest.approx(4 / (1 / 60 + 1 / 2))
    assert sizes["macro"].n_pages == 3
    assert sizes["frequent_macro"] == SampleSize(n_pages=2, n_truths=60)
    assert sizes["instance_weighted"].n_truths == pytest.approx(62)


@pytest.mark.parametrize("n_pages", [0, 3])
def test_sizes_without_truths(n_pages: int) -> None:
    sizes = mean_sizes(np.zeros((n_pages, 2), np.int64))
    assert sizes == dict.fromkeys(MEANS, SampleSize(n_pages=0, n_truths=0))


def test_means_are_those_of_the_report() -> None:
    truths, predictions, names = crowded_pages(
        n_pages=3, n_truths=120, n_predictions=200, n_classes=9
    )
    hits = find_hits([evaluator_input(pair_pages(truths, predictions, 9), 9)])
    means = mean_ap(weighted_ap(hits, np.ones((3, 1))), hits.n_truths, np.ones((3, 1)))
    report = evaluate(truths, predictions, names)
    assert 0 < (report.frequent_macro.ap50 or 0) != report.macro.ap50
    for name in MEANS:
        assert means[name] == pytest.approx([getattr(report, name).ap50], abs=1e-12)


def test_rare_class_with_few_errors() -> None:
    """Percentiles of the samples, even if corrected (BCa), contain the true AP in 80 % of cases."""
    rng, contains = np.random.default_rng(0), []
    for seed in range(60):
        for hits in drawn_hits(rng, 60, 0.5)[4:6]:
            values = weighted_ap(hits, page_weights(60, 60, seed))[:, 0]
            limits = interval(values, class_sizes(hits.n_truths)[0])
            assert limits is not None
            if limits.low < 1:
                contains.append(limits.low <= 0.948 <= limits.high)
    assert len(contains) > 80
    assert np.mean(contains) > 0.93
