import re
from collections.abc import Mapping
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest

from benchmarks.crowded_pages import crowded_pages
from class_maps import ConfigError
from converters.page import Page
from eval.metrics.backends import BACKENDS
from eval.metrics.coco import evaluate
from eval.metrics.evaluation import evaluate_in_depth
from eval.reports.evaluation import EvaluationReport, Interval, OtherProtocols

NAMES = ("head", "stem", "clef", "rest", "flag")
TRUTHS, PREDICTIONS, _ = crowded_pages(
    n_pages=6, n_truths=80, n_predictions=120, n_classes=len(NAMES), seed=10
)
HEADS = {"notes": ("head", "stem", "flag"), "signs": ("clef", "rest")}
GROUPS = {str(page.image): {"font": "AB"[i % 2]} for i, page in enumerate(TRUTHS)}
ONE = Interval(low=1, high=1)


def report(
    truths: list[Page],
    predictions: list[Page],
    names: tuple[str, ...] = NAMES,
    **options: Any,  # noqa: ANN401
) -> EvaluationReport:
    settings: Mapping[str, Any] = {
        "unit": "page",
        "chosen_threshold": 0.25,
        "page_groups": GROUPS,
        "heads": HEADS,
        "n_bootstrap": 50,
    }
    return evaluate_in_depth(truths, predictions, names, **(dict(settings) | options))


def perfect() -> EvaluationReport:
    truths = [replace(page, staff_space=10.0) for page in TRUTHS]
    return report(truths, [replace(page, scores=np.full(80, 0.9)) for page in truths])


def test_truth_as_predictions_is_perfect() -> None:
    result = perfect()
    assert astuple(result.other) == pytest.approx((1, 1, 0.995))
    assert result.intervals == {"macro": ONE, "frequent_macro": ONE, "instance_weighted": ONE}
    for row, metrics in zip(result.classes, result.detection.classes, strict=True):
        assert [metrics.ap, metrics.ap50] == pytest.approx([1, 1])
        assert row.best is not None
        assert row.chosen is not None
        for point in (row.best, row.chosen):
            assert (point.precision, point.recall, point.f1) == (1, 1, 1)
        assert (row.ap50_interval, row.centre_recall) == (ONE, 1)
        assert astuple(row.other) == pytest.approx((1, 1, 0.995))
        assert row.precisions == pytest.approx([1] * 101)
    assert [(row.count, row.delta_ap) for row in result.errors] == [(0, 0)] * 6
    assert {row.dimension for row in result.slices} == {"font", "density", "size", "head"}
    for part in result.slices:
        assert part.macro_ap50 == pytest.approx(1)
        assert part.instance_weighted_ap50 == pytest.approx(1)
    assert [row.ece for row in result.calibration] == pytest.approx([0.1, 0.1])
    counts = np.array(result.confusion.counts)
    assert (counts == np.diag(np.diag(counts))).all()
    assert counts.sum() == 480
    assert {(page.n_found, page.n_false, page.n_missed) for page in result.pages} == {(80, 0, 0)}


def test_report_agrees_with_its_parts() -> None:
    result = report(TRUTHS, PREDICTIONS)
    assert result.detection == evaluate(TRUTHS, PREDICTIONS, NAMES)
    assert [row.name for row in result.classes] == list(NAMES)
    for row, metrics in zip(result.classes, result.detection.classes, strict=True):
        assert row.precisions is not None
        assert np.mean(row.precisions) == pytest.approx(metrics.ap50, abs=1e-12)
        assert row.ap50_interval is not None
        assert row.ap50_interval.low < (metrics.ap50 or 0) < row.ap50_interval.high
        assert row.best is not None
        assert row.chosen is not None
        assert row.best.f1 >= row.chosen.f1 > 0
        assert row.chosen.threshold == result.chosen_threshold == 0.25
        assert (row.centre_recall or 0) >= (metrics.recall50 or 0)
    macro = result.intervals["macro"]
    assert macro is not None
    assert macro.low < (result.detection.macro.ap50 or 0) < macro.high
    assert [row.head for row in result.calibration] == ["notes", "signs"]
    assert np.array(result.confusion.counts)[:-1].sum() == result.detection.n_truths
    errors = [page.n_false + page.n_missed for page in result.pages]
    assert errors == sorted(errors, reverse=True)
    assert sum(page.n_found + page.n_missed for page in result.pages) == 480
    found = sum(
        round(row.best.recall * metrics.n_truths)
        for row, metrics in zip(result.classes, result.detection.classes, strict=True)
        if row.best is not None
    )
    assert sum(page.n_found for page in result.pages) == found


def test_backends_give_the_same_report() -> None:
    first, second = (report(TRUTHS, PREDICTIONS, backend=backend) for backend in BACKENDS)
    assert first == second


def test_order_and_seed() -> None:
    result = report(TRUTHS, PREDICTIONS)
    assert report(TRUTHS[::-1], PREDICTIONS[::-1]) == result
    other = report(TRUTHS, PREDICTIONS, seed=1)
    assert other.intervals != result.intervals
    assert replace(other, seed=0, intervals=result.intervals, classes=result.classes) == result


EMPTY = [page.only(slice(0)) for page in TRUTHS]
NOTHING_FOUND = [replace(page, scores=np.empty(0)) for page in EMPTY]


@pytest.mark.parametrize(
    ("truths", "predictions"),
    [
        pytest.param([], [], id="no pages"),
        pytest.param(EMPTY, NOTHING_FOUND, id="no symbols"),
        pytest.param(EMPTY, PREDICTIONS, id="no truths"),
    ],
)
def test_without_truths(truths: list[Page], predictions: list[Page]) -> None:
    result = report(truths, predictions)
    assert result.other == OtherProtocols(voc2007=None, voc2010=None, ultralytics=None)
    assert set(result.intervals.values()) == {None}
    for row in result.classes:
        assert (row.ap50_interval, row.best, row.chosen, row.precisions) == (None,) * 4
        assert (row.centre_recall, row.dilated_ap50) == (None, None)
    assert {row.macro_ap50 for row in result.slices} <= {None}
    assert {error.delta_ap for error in result.errors} == {0}
    assert len(result.pages) == len(truths)


def test_without_predictions() -> None:
    result = report(TRUTHS, NOTHING_FOUND)
    zero = Interval(low=0, high=0)
    for row in result.classes:
        assert (row.ap50_interval, row.best, row.centre_recall) == (zero, None, 0)
        assert row.chosen is not None
        assert (row.chosen.precision, row.chosen.recall, row.chosen.f1) == (0, 0, 0)
        assert row.other == OtherProtocols(voc2007=0, voc2010=0, ultralytics=0)
    assert result.errors[-1].count == 480
    assert result.errors[-1].delta_ap == pytest.approx(1)
    assert {row.ece for row in result.calibration} == {None}


def test_one_class_on_one_page() -> None:
    truth = replace(TRUTHS[0], labels=np.zeros(80, np.int64))
    prediction = replace(truth, scores=np.full(80, 0.5))
    result = report([truth], [prediction], ("head",), heads=None, unit="tile")
    assert (result.unit, result.intervals["macro"]) == ("tile", None)
    assert result.classes[0].ap50_interval is None
    assert result.detection.macro.ap50 == pytest.approx(1)
    assert [row.head for row in result.calibration] == [""]
    assert "head" not in {row.dimension for row in result.slices}


def test_class_on_one_page_has_no_interval() -> None:
    truths = [replace(page, labels=np.full(80, int(i > 0))) for i, page in enumerate(TRUTHS[:3])]
    result = report(truths, [replace(page, scores=np.ones(80)) for page in truths])
    assert [row.ap50_interval for row in result.classes] == [None, ONE, None, None, None]
    assert result.intervals["macro"] == ONE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ()}, "no classes to evaluate; expected at least one class name"),
        ({"chosen_threshold": 1.5}, "chosen threshold 1.5: expected a number from 0 to 1"),
        (
            {"chosen_threshold": float("nan")},
            "chosen threshold nan: expected a number from 0 to 1",
        ),
        (
            {"heads": {"notes": ["heads", "xyz"]}},
            "heads: unknown classes: heads (did you mean head?), xyz",
        ),
        (
            {"predictions": [replace(NOTHING_FOUND[0], image=TRUTHS[1].image)]},
            "images without a prediction page: 00000.png",
        ),
    ],
)
def test_bad_input(options: dict[str, Any], message: str) -> None:
    if options.get("names") == ():
        options = options | {"heads": None}
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        report(**({"truths": EMPTY[:1], "predictions": NOTHING_FOUND[:1]} | options))


@pytest.mark.parametrize("limits", [(-3, 5), (-3, 1), (0, 5)])
def test_scores_are_confidences(limits: tuple[int, int]) -> None:
    logits = replace(PREDICTIONS[0], scores=np.linspace(*limits, 120))
    message = f"00000.png: scores from {limits[0]} to {limits[1]}; expected confidences from 0 to 1"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        report(TRUTHS[:1], [logits])
