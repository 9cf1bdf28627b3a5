from dataclasses import astuple, replace
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.crowded_pages import crowded_pages
from converters.page import Page
from eval.metrics.backends import EvaluatorInput, run
from eval.metrics.batches import evaluator_input
from eval.metrics.calibration import calibration
from eval.metrics.errors import (
    TYPES,
    class_errors,
    classified,
    confusion,
    confusion_counts,
    error_types,
)
from eval.metrics.hits import HitCollector, Hits, read_hits
from eval.metrics.matching import pair_pages
from eval.reports.evaluation import Calibration, CalibrationBin, Confusion

Box = tuple[float, float, float, float]
A, B, C = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0), (0.0, 50.0, 10.0, 60.0)
NAMES = ("head", "stem", "clef")


def page(symbols: list[tuple[Box, int]], scores: list[float] | None = None) -> Page:
    return Page(
        image=PurePosixPath("a.png"),
        width=100,
        height=100,
        boxes_xyxy=np.array([box for box, _ in symbols], float).reshape(-1, 4),
        labels=np.array([label for _, label in symbols], np.int64),
        scores=None if scores is None else np.array(scores, float),
    )


def compared(truths: list[tuple[Box, int]], found: list[tuple[Box, int, float]]) -> EvaluatorInput:
    prediction = page([(box, label) for box, label, _ in found], [score for *_, score in found])
    return evaluator_input([(page(truths), prediction)], len(NAMES))


def errors(data: EvaluatorInput) -> dict[str, tuple[int, float]]:
    collected = HitCollector()
    found = read_hits(run(data, iou_thresholds=[0.5]), data)
    collected.add(data, found)
    result = error_types([classified(data, found)], collected.hits())
    assert tuple(row.name for row in result) == TYPES
    assert {row.delta_ap for row in result if not row.count} <= {0}
    return {row.name: (row.count, row.delta_ap) for row in result if row.count}


HALF = 1 - 51 / 101
"""AP that one of two symbols of a class costs."""


@pytest.mark.parametrize(
    ("truths", "found", "expected"),
    [
        pytest.param([], [], {}, id="nothing"),
        pytest.param([(A, 0)], [(A, 0, 0.9)], {}, id="right"),
        pytest.param([], [(A, 0, 0.9)], {"background": (1, 0)}, id="no truths: no AP to gain"),
        pytest.param(
            [(A, 0), (B, 0)], [(A, 0, 0.9)], {"missed": (1, HALF)}, id="one of two is missed"
        ),
        pytest.param(
            [(A, 0), (B, 1)], [(A, 0, 0.9)], {"missed": (1, 0.5)}, id="nothing of a class is found"
        ),
        pytest.param([(A, 0)], [], {"missed": (1, 1)}, id="nothing is found"),
        pytest.param(
            [(A, 0), (B, 1)], [(A, 0, 0.9), (B, 0, 0.8)], {"class": (1, 0.5)}, id="wrong class"
        ),
        pytest.param(
            [(A, 0), (B, 0)],
            [(A, 0, 0.9), ((50, 0, 60, 4), 0, 0.8)],
            {"localisation": (1, HALF)},
            id="IoU of .4",
        ),
        pytest.param(
            [(A, 0), (B, 0)],
            [(A, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7)],
            {"duplicate": (1, HALF / 3)},
            id="precision 2/3 for the second",
        ),
        pytest.param(
            [(A, 0), (B, 0)],
            [(A, 0, 0.9), (C, 0, 0.8), (B, 0, 0.7)],
            {"background": (1, HALF / 3)},
            id="beside all symbols",
        ),
        pytest.param(
            [(A, 0), (B, 1)],
            [((50, 0, 60, 4), 0, 0.95), (A, 0, 0.9), (B, 1, 0.7)],
            {"both": (1, 0.25)},
            id="IoU of .4 with another class",
        ),
    ],
)
def test_hand_worked_error_types(
    truths: list[tuple[Box, int]],
    found: list[tuple[Box, int, float]],
    expected: dict[str, tuple[int, float]],
) -> None:
    result = errors(compared(truths, found))
    assert result.keys() == expected.keys()
    for name, values in expected.items():
        assert result[name] == pytest.approx(values, abs=1e-12), name


@pytest.mark.parametrize(
    ("truths", "found", "expected"),
    [
        pytest.param([], [], (0, 0), id="nothing"),
        pytest.param([(A, 0)], [], (0, 0), id="missed"),
        pytest.param([(A, 0)], [(A, 0, 0.9), (C, 0, 0.9)], (0, 0), id="right and beside"),
        pytest.param([(B, 0)], [((50, 0, 60, 5), 0, 0.9)], (0, 0), id="IoU of .5"),
        pytest.param([(B, 0)], [((50, 0, 60, 4), 0, 0.9)], (1, 1), id="IoU of .4"),
        pytest.param([(B, 0)], [((50, 0, 60, 1), 0, 0.9)], (1, 1), id="IoU of .1"),
        pytest.param([(B, 0)], [((50, 0, 60, 0.9), 0, 0.9)], (0, 0), id="IoU of .09"),
        pytest.param([(B, 0)], [((50, 0, 60, 4), 0, 0.4)], (0, 0), id="below the threshold"),
        pytest.param([(B, 0)], [((50, 0, 60, 4), 1, 0.9)], (0, 0), id="another class"),
        pytest.param(
            [(B, 0)], [((50, 0, 60, 4), 0, 0.9), ((50, 6, 60, 10), 0, 0.9)], (1, 2), id="two parts"
        ),
        pytest.param(
            [(B, 0)], [(B, 0, 0.9), ((50, 0, 60, 4), 0, 0.8)], (0, 1), id="found by another one"
        ),
    ],
)
def test_localisation_errors(
    truths: list[tuple[Box, int]], found: list[tuple[Box, int, float]], expected: tuple[int, int]
) -> None:
    first, *others = class_errors([compared(truths, found)], np.full(3, 0.5), NAMES)
    assert (first.n_imprecise_symbols, first.n_imprecise_predictions) == expected
    assert {astuple(one) for one in others} == {(0, 0, ())}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([], (), id="nothing"),
        pytest.param([(A, 0, 0.9)], (), id="right"),
        pytest.param([(B, 0, 0.9), (B, 0, 0.8)], (("stem", 2),), id="twice on another class"),
        pytest.param([(B, 0, 0.4)], (), id="below the threshold"),
        pytest.param([((50, 0, 60, 5), 0, 0.9)], (("stem", 1),), id="IoU of .5"),
        pytest.param([((50, 0, 60, 4.9), 0, 0.9)], (), id="IoU of .49"),
        pytest.param([((0, 50, 10, 58), 0, 0.9)], (), id="its own class overlaps as well"),
        pytest.param(
            [(B, 0, 0.9), ((0, 60, 10, 70), 0, 0.9)], (("stem", 1), ("clef", 1)), id="two"
        ),
    ],
)
def test_predictions_on_symbols_of_other_classes(
    found: list[tuple[Box, int, float]], expected: tuple[tuple[str, int], ...]
) -> None:
    truths = [(A, 0), (B, 1), (C, 1), ((0.0, 48.0, 10.0, 53.0), 0), ((0.0, 60.0, 10.0, 70.0), 2)]
    first, *others = class_errors([compared(truths, found)], np.full(3, 0.5), NAMES)
    assert first.mistaken == expected
    assert not any(one.mistaken for one in others)


def test_localisation_errors_are_those_of_tide() -> None:
    """At a threshold of 0, all predictions count, as for TIDE."""
    truths, predictions, _ = crowded_pages(
        n_pages=3, n_truths=60, n_predictions=90, n_classes=7, seed=4
    )
    data = evaluator_input(pair_pages(truths, predictions, 7), 7)
    counts = class_errors([data], np.zeros(7), "abcdefg")
    types = errors(data)
    assert sum(one.n_imprecise_predictions for one in counts) == types["localisation"][0] > 0
    assert sum(n for one in counts for _, n in one.mistaken) == types["class"][0] > 0


# Counts and gains of tidecv 1.0.1 (MIT; `TIDERun`, with `max_dets` beyond the predictions).
TIDECV = {
    "class": (11, 0.06663339),
    "localisation": (38, 0.090153282),
    "both": (2, 9.7617e-05),
    "duplicate": (83, 0.054116506),
    "background": (10, 0.016730744),
    "missed": (47, 0.173072669),
}


def test_error_types_agree_with_tidecv() -> None:
    truths, predictions, _ = crowded_pages(
        n_pages=3, n_truths=60, n_predictions=90, n_classes=7, seed=4
    )
    rng = np.random.default_rng(4)
    labels = np.unique(np.concatenate([page.labels for page in truths]))
    for i, drawn in enumerate(predictions):  # tidecv counts classes without truths as AP 0
        kept = replace(drawn, scores=rng.random(90))
        predictions[i] = kept.only(np.isin(kept.labels, labels))
    result = errors(evaluator_input(pair_pages(truths, predictions, 7), 7))
    assert result.keys() == TIDECV.keys()
    for name, values in TIDECV.items():
        assert result[name] == pytest.approx(values, abs=1e-8), name


def confusions(data: EvaluatorInput, threshold: float) -> Confusion:
    return confusion(confusion_counts(run(data), data, threshold), NAMES, threshold)


@given(seed=st.integers(0, 10**6))
def test_error_types_agree_with_hotcoco(seed: int) -> None:
    truths, predictions, _ = crowded_pages(
        n_pages=2, n_truths=20, n_predictions=30, n_classes=4, seed=seed
    )
    scores = np.random.default_rng(seed).permutation(60).reshape(2, 30) / 60
    predictions = [replace(page, scores=s) for page, s in zip(predictions, scores, strict=True)]
    data = evaluator_input(pair_pages(truths, predictions, 4)[:], 4)
    expected = run(data, iou_thresholds=[0.5]).tide_errors(0.5, 0.1)
    keys = dict(zip(("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), TYPES, strict=True))
    types = errors(data)
    for key, name in keys.items():
        count, gain = types.get(name, (0, 0.0))
        assert count == expected["counts"][key]
        if name != "missed":  # hotcoco counts a class of which nothing is left as 0
            assert gain == pytest.approx(max(0, expected["delta_ap"][key]), abs=1e-9), name


def test_confusion() -> None:
    data = compared(
        [(A, 0), (B, 1), (C, 1)],
        [(A, 0, 0.9), (B, 0, 0.8), ((80, 80, 90, 90), 0, 0.7), (C, 1, 0.3)],
    )
    assert confusions(data, 0.5) == Confusion(
        threshold=0.5,
        names=("head", "stem", "background"),
        counts=((1, 0, 0), (1, 0, 1), (1, 0, 0)),
    )
    assert confusions(data, 0.3).counts == ((1, 0, 0), (1, 1, 0), (1, 0, 0))


def test_confusion_without_symbols() -> None:
    for data in (compared([], []), evaluator_input([], 3)):
        assert confusions(data, 0.5) == Confusion(
            threshold=0.5, names=("background",), counts=((0,),)
        )


def test_confusion_counts_all_predictions_of_a_page() -> None:
    found = [((0.0, 20.0 * i, 5.0, 20.0 * i + 5), i % 2, 0.9) for i in range(300)]
    data = replace(compared([], found), max_det=1)
    assert confusions(data, 0.5).counts == ((0, 0, 0), (0, 0, 0), (150, 150, 0))


def test_calibration() -> None:
    hits = Hits(
        scores=np.array([0.95, 0.91, 0.32, 0.3, 0.8]),
        labels=np.array([0, 0, 0, 1, 2]),
        pages=np.zeros(5, np.int64),
        is_hit=np.array([[True, False, False, True, True]]),
        order=np.arange(5),
        n_truths=np.zeros((1, 4), np.int64),
    )
    first, second, third = calibration(hits, {"notes": [0, 1], "clefs": [2], "rests": [3]})
    assert (first.head, len(first.bins)) == ("notes", 2)
    low, high = first.bins
    assert astuple(low) == pytest.approx((0.31, 0.5, 2))
    assert astuple(high) == pytest.approx((0.93, 0.5, 2))
    assert first.ece == pytest.approx((0.19 + 0.43) / 2)
    assert second.ece == pytest.approx(0.2)
    assert second.bins == (CalibrationBin(confidence=0.8, precision=1, n_predictions=1),)
    assert third == Calibration(head="rests", ece=None, bins=())


def test_calibrated_predictions_have_no_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(100_000)
    hits = Hits(
        scores=scores,
        labels=np.zeros(len(scores), np.int64),
        pages=np.zeros(len(scores), np.int64),
        is_hit=(rng.random(len(scores)) < scores)[None],
        order=np.arange(len(scores)),
        n_truths=np.ones((1, 1), np.int64),
    )
    (result,) = calibration(hits, {"": [0]})
    assert result.ece is not None
    assert result.ece < 0.01
