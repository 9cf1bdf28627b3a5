import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from benchmarks.crowded_pages import crowded_pages
from class_maps import ConfigError
from converters.page import Page
from eval.metrics.backends import BACKENDS
from eval.metrics.coco import evaluate
from eval.metrics.comparison import compare_runs
from eval.metrics.evaluation import evaluate_in_depth
from eval.reports.comparison import ComparisonReport, RunGroup
from eval.reports.evaluation import Interval

NAMES = ("head", "stem", "clef", "rest", "flag")
TRUTHS, PREDICTIONS, _ = crowded_pages(
    n_pages=12, n_truths=60, n_predictions=120, n_classes=len(NAMES), seed=10
)


def thinned(pages: list[Page], share: float, seed: int = 0) -> list[Page]:
    """Return predictions without a random share of them."""
    rng = np.random.default_rng(seed)
    return [page.only(rng.random(len(page.labels)) >= share) for page in pages]


def compared(a: list[list[Page]], b: list[list[Page]], **options: Any) -> ComparisonReport:  # noqa: ANN401
    settings: dict[str, Any] = {"metric": "ap50", "n_bootstrap": 100}
    [report] = compare_runs(TRUTHS, [a, b], NAMES, **(settings | options))
    return report


def test_same_predictions() -> None:
    report = compared([PREDICTIONS], [PREDICTIONS])
    assert report.verdict == "no difference shown"
    for row in (report.macro, report.instance_weighted, *(row.ap for row in report.classes)):
        assert (row.difference, row.interval) == (0, Interval(low=0, high=0))
        assert row.verdict == "no difference shown"


@pytest.mark.parametrize("metric", ["ap", "ap50"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_are_those_of_an_evaluation(metric: Literal["ap", "ap50"], backend: Any) -> None:  # noqa: ANN401
    fewer = thinned(PREDICTIONS, 0.3)
    report = compared([PREDICTIONS], [fewer], metric=metric, backend=backend, n_bootstrap=2)
    first, second = (evaluate(TRUTHS, pages, NAMES) for pages in (PREDICTIONS, fewer))
    for name in ("macro", "frequent_macro", "instance_weighted"):
        a, b = (getattr(getattr(result, name), metric) for result in (first, second))
        row = getattr(report, name)
        assert [row.a, row.b, row.difference] == pytest.approx([a, b, a - b], abs=1e-12)
    for label, difference in enumerate(report.classes):
        a, b = (getattr(result.classes[label], metric) for result in (first, second))
        assert [difference.ap.a, difference.ap.b] == pytest.approx([a, b], abs=1e-12)
        assert difference.name == NAMES[label]
        assert difference.n_truths == first.classes[label].n_truths


def test_clear_difference() -> None:
    fewer = thinned(PREDICTIONS, 0.5)
    report, swapped = compared([PREDICTIONS], [fewer]), compared([fewer], [PREDICTIONS])
    assert (report.verdict, swapped.verdict) == ("A is better", "B is better")
    assert report.macro.interval is not None
    assert swapped.macro.interval is not None
    assert 0 < report.macro.interval.low < (report.macro.difference or 0)
    assert swapped.macro.difference == -(report.macro.difference or 0)
    assert {row.ap.verdict for row in report.classes} >= {"A is better"}


def test_difference_that_is_smaller_than_the_intervals_of_the_scores() -> None:
    """Pages differ much, but B finds two symbols less than A on each of them."""
    runs = [
        [
            replace(page, scores=np.full(60, 0.9)).only(slice(4 * i + 6 - n_lost))
            for i, page in enumerate(TRUTHS)
        ]
        for n_lost in (0, 2)
    ]
    row = compared(runs[:1], runs[1:]).instance_weighted
    intervals = [
        evaluate_in_depth(
            TRUTHS, run, NAMES, unit="page", chosen_threshold=0.5, n_bootstrap=100
        ).intervals["instance_weighted"]
        for run in runs
    ]
    assert intervals[0] is not None
    assert intervals[1] is not None
    assert intervals[1].high > (row.a or 0) > (row.b or 0) > intervals[0].low
    assert row.verdict == "A is better"


@pytest.mark.slow
def test_equal_models_are_rarely_told_apart() -> None:
    """The verdict is wrong in about 5 % of cases."""
    truths, predictions, names = crowded_pages(
        n_pages=25, n_truths=15, n_predictions=25, n_classes=1, seed=0
    )
    n_wrong = 0
    for seed in range(60):
        a, b = (thinned(predictions, 0.3, 2 * seed + i) for i in range(2))
        [report] = compare_runs(
            truths, [[a], [b]], names, metric="ap50", n_bootstrap=100, seed=seed
        )
        n_wrong += report.verdict != "no difference shown"
    assert 1 <= n_wrong <= 7


def test_groups_of_runs() -> None:
    a = [thinned(PREDICTIONS, 0.1, seed) for seed in range(3)]
    b = [thinned(PREDICTIONS, share, 9) for share in (0.1, 0.5)]
    report = compared(a, b)
    macro = [evaluate(TRUTHS, run, NAMES).macro.ap50 for run in a]
    assert report.a.macro == pytest.approx(macro, abs=1e-12)
    assert report.a.mean == pytest.approx(np.mean(np.array(macro, float)))
    assert report.a.spread == pytest.approx(np.std(np.array(macro, float), ddof=1))
    assert report.macro.a == pytest.approx(report.a.mean, abs=1e-12)
    # Between the runs of B lies more than between those of A and each of them.
    assert (report.b.spread or 0) > 3 * (report.a.spread or 0)
    assert report.verdict == "no difference shown"
    assert compared(a, b[1:]).verdict == "A is better"
    assert compared(a, b[1:]).b.spread is None


def test_runs_of_equal_predictions_change_nothing() -> None:
    fewer = thinned(PREDICTIONS, 0.2)
    one, three = compared([PREDICTIONS], [fewer]), compared([PREDICTIONS] * 3, [fewer] * 3)
    assert three.macro.interval is not None
    assert one.macro.interval is not None
    assert three.macro.interval.low == pytest.approx(one.macro.interval.low, abs=1e-12)
    assert three.a.spread == pytest.approx(0, abs=1e-12)


def test_interval_of_a_group_is_that_of_its_runs() -> None:
    """Pages do not matter here, because each run finds the same share of each of them."""
    truths = [replace(page, labels=np.zeros(60, np.int64)) for page in TRUTHS]
    runs = [
        [replace(page, scores=np.ones(60)).only(slice(n)) for page in truths] for n in (20, 30, 45)
    ]
    [report] = compare_runs(
        truths, [runs, runs[:1]], ("head",), metric="ap50", n_bootstrap=5000, seed=1
    )
    assert report.macro.interval is not None
    assert report.a.spread is not None
    error = report.a.spread / 3**0.5
    width = 2.201 * (12 / 11) ** 0.5  # quantile of t with 11 degrees of freedom
    half = (report.macro.interval.high - report.macro.interval.low) / 2
    assert half == pytest.approx(width * error, rel=0.06)


def test_class_on_one_page_shows_no_difference() -> None:
    truths = [replace(page, labels=np.full(60, int(i > 0))) for i, page in enumerate(TRUTHS)]
    a = [replace(page, scores=np.ones(60)) for page in truths]
    b = [page.only(slice(30)) for page in a]
    [report] = compare_runs(truths, [[a], [b]], NAMES, metric="ap50", n_bootstrap=50)
    first, second, *_ = report.classes
    assert (first.ap.interval, first.ap.verdict) == (None, "no difference shown")
    assert second.ap.verdict == "A is better"


def test_seed() -> None:
    fewer = thinned(PREDICTIONS, 0.2)
    first, same, other = (compared([PREDICTIONS], [fewer], seed=seed) for seed in (0, 0, 1))
    assert first == same
    assert first.macro.interval != other.macro.interval
    assert (other.seed, other.n_bootstrap, other.n_pages, other.metric) == (1, 100, 12, "ap50")


@pytest.mark.parametrize("n_pages", [0, 2])
def test_without_truths(n_pages: int) -> None:
    truths = [page.only(slice(0)) for page in TRUTHS[:n_pages]]
    predictions = [replace(page, scores=np.empty(0)) for page in truths]
    groups = [[predictions], [predictions] * 2]
    [report] = compare_runs(truths, groups, NAMES, n_bootstrap=3)
    assert report.a == RunGroup(macro=(None,), mean=None, spread=None)
    assert report.b == RunGroup(macro=(None, None), mean=None, spread=None)
    for row in (report.macro, *(row.ap for row in report.classes)):
        assert (row.a, row.difference, row.interval) == (None, None, None)
        assert row.verdict == "no difference shown"


def test_one_page_shows_no_difference() -> None:
    groups = [[PREDICTIONS[:1]], [thinned(PREDICTIONS[:1], 0.5)]]
    [report] = compare_runs(TRUTHS[:1], groups, NAMES, n_bootstrap=3)
    assert (report.macro.interval, report.verdict) == (None, "no difference shown")


@pytest.mark.parametrize(
    ("a", "b", "names", "message"),
    [
        ([], [PREDICTIONS], NAMES, "A: no predictions to compare; expected at least one run"),
        ([PREDICTIONS], [], NAMES, "B: no predictions to compare; expected at least one run"),
        (
            [PREDICTIONS],
            [PREDICTIONS],
            (),
            "no classes to compare; expected at least one class name",
        ),
        ([PREDICTIONS], [PREDICTIONS[1:]], NAMES, "images without a prediction page: 00000.png"),
    ],
)
def test_bad_input(
    a: list[list[Page]], b: list[list[Page]], names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        compare_runs(TRUTHS, [a, b], names, metric="ap50", n_bootstrap=2)


def test_every_group_is_compared_with_the_first() -> None:
    a, b, c = ([thinned(PREDICTIONS, share)] for share in (0.1, 0.3, 0.5))
    settings: dict[str, Any] = {"metric": "ap50", "n_bootstrap": 20}
    tracked = []

    def track(runs: Iterable[Iterable[Page]], n_runs: int) -> Iterable[Iterable[Page]]:
        tracked.append(n_runs)
        return runs

    reports = compare_runs(TRUTHS, [a, b, c], NAMES, track=track, **settings)
    assert reports == tuple(compare_runs(TRUTHS, [a, one], NAMES, **settings)[0] for one in (b, c))
    assert compare_runs(TRUTHS, [a], NAMES, **settings) == ()
    assert tracked == [3]
