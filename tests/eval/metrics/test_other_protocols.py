from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from ultralytics.engine.validator import BaseValidator
from ultralytics.utils.metrics import ap_per_class, box_iou

import training  # noqa: F401  # blocks the network access of Ultralytics
from benchmarks.crowded_pages import crowded_pages
from converters.page import Page
from eval.metrics.batches import evaluator_input
from eval.metrics.hits import find_hits
from eval.metrics.matching import pair_pages
from eval.metrics.other_protocols import (
    macro,
    other_protocols,
    ultralytics_ap,
    voc2007_ap,
    voc2010_ap,
    voc_hits,
)
from eval.reports.evaluation import OtherProtocols

NOTHING = OtherProtocols(voc2007=None, voc2010=None, ultralytics=None)


# Ultralytics draws lines between recalls 0, .01 ... 1. Where its curve jumps at one of them, it
# takes the lower precision: half a step of .01 is lost, even at recall 1 if all is right.
@pytest.mark.parametrize(
    ("n_truths", "hits", "voc2007", "voc2010", "ultralytics"),
    [
        pytest.param(1, [], 0, 0, 0, id="no predictions"),
        pytest.param(1, [False], 0, 0, 0, id="only a false alarm"),
        pytest.param(1, [True], 1, 1, 0.995, id="the one"),
        pytest.param(2, [True], 6 / 11, 1 / 2, 0.495, id="one of two"),
        pytest.param(2, [False, True], 6 / 11 / 2, 1 / 4, None, id="false alarm ranked above"),
        pytest.param(
            2, [True, False, True], (6 + 5 * 2 / 3) / 11, (1 + 2 / 3) / 2, None, id="in between"
        ),
        pytest.param(
            10,
            [True, True, False, True, True],
            (3 + 2 * 4 / 5) / 11,
            (2 + 2 * 4 / 5) / 10,
            None,
            id="4 of 10",
        ),
    ],
)
def test_hand_worked_average_precision(
    n_truths: int, hits: list[bool], voc2007: float, voc2010: float, ultralytics: float | None
) -> None:
    is_hit = np.array(hits, np.bool_)
    assert voc2007_ap(is_hit, n_truths) == pytest.approx(voc2007, abs=1e-12)
    assert voc2010_ap(is_hit, n_truths) == pytest.approx(voc2010, abs=1e-12)
    if ultralytics is not None:
        assert ultralytics_ap(is_hit, n_truths) == pytest.approx(ultralytics, abs=1e-12)


def test_recalls_in_tenths_are_reached_despite_rounding() -> None:
    assert voc2007_ap(np.ones(3, np.bool_), 10) == pytest.approx(4 / 11)
    assert voc2007_ap(np.ones(7, np.bool_), 10) == pytest.approx(8 / 11)


def page(boxes: list[list[float]], scores: list[float] | None = None) -> Page:
    return Page(
        image=PurePosixPath("a.png"),
        width=100,
        height=100,
        boxes_xyxy=np.array(boxes, float).reshape(-1, 4),
        labels=np.zeros(len(boxes), np.int64),
        scores=None if scores is None else np.array(scores, float),
    )


def test_voc_compares_with_the_nearest_symbol_only() -> None:
    # The second prediction overlaps both symbols enough (IoU .82 and .54), but the nearer one is taken.
    truth = page([[0, 0, 10, 10], [3, 0, 13, 10]])
    found = page([[0, 0, 10, 10], [1, 0, 11, 10]], [0.9, 0.8])
    data = evaluator_input([(truth, found)], 1)
    assert find_hits([data]).is_hit.tolist() == [[True, True]]
    assert voc_hits(data).tolist() == [True, False]
    assert voc_hits(evaluator_input([(truth, page([[0, 0, 10, 4.9]], [0.9]))], 1)).tolist() == [
        False
    ]
    assert voc_hits(evaluator_input([(truth, page([[0, 0, 10, 5]], [0.9]))], 1)).tolist() == [True]


def test_the_better_prediction_finds_the_symbol() -> None:
    truth = page([[0, 0, 10, 10]])
    found = page([[0, 0, 10, 9], [0, 0, 10, 10]], [0.9, 0.8])  # the score decides, not the IoU
    assert voc_hits(evaluator_input([(truth, found)], 1)).tolist() == [True, False]


# Mean AP that object-detection-metrics 0.4.post1 (MIT; `podm.metrics.get_pascal_voc_metrics` with
# ElevenPointsInterpolation and AllPointsInterpolation) computes for these boxes.
PODM_VOC2007, PODM_VOC2010 = 0.43796347254522416, 0.43547817070352274


def test_voc_agrees_with_an_independent_package() -> None:
    truths, predictions, _ = crowded_pages(
        n_pages=3, n_truths=150, n_predictions=300, n_classes=6, seed=4
    )
    rng = np.random.default_rng(4)
    predictions = [
        replace(p, boxes_xyxy=p.boxes_xyxy.round(), scores=rng.random(300)) for p in predictions
    ]
    truths = [replace(t, boxes_xyxy=t.boxes_xyxy.round()) for t in truths]
    data = evaluator_input(pair_pages(truths, predictions, 6), 6)
    result = macro(other_protocols([data], find_hits([data])))
    assert result.voc2007 == pytest.approx(PODM_VOC2007, abs=1e-9)
    assert result.voc2010 == pytest.approx(PODM_VOC2010, abs=1e-9)


class Validator(BaseValidator):  # type: ignore[misc, unused-ignore]
    """Ultralytics' matching without its settings."""

    def __init__(self) -> None:
        self.iouv = torch.linspace(0.5, 0.95, 10)


@pytest.mark.parametrize("seed", range(3))
def test_ultralytics_agrees_with_its_own_functions(seed: int) -> None:
    truths, predictions, _ = crowded_pages(
        n_pages=3, n_truths=200, n_predictions=350, n_classes=8, seed=seed
    )
    rng = np.random.default_rng(seed)
    tp, scores, labels, targets = [], [], [], []
    for i, (truth, prediction) in enumerate(zip(truths, predictions, strict=True)):
        order_scores = np.sort(rng.random(350))[::-1]
        predictions[i] = replace(prediction, scores=order_scores)
        iou = box_iou(torch.tensor(truth.boxes_xyxy), torch.tensor(prediction.boxes_xyxy))
        matched = Validator().match_predictions(
            torch.tensor(prediction.labels), torch.tensor(truth.labels), iou
        )
        tp.append(matched.numpy())
        scores.append(order_scores)
        labels.append(prediction.labels)
        targets.append(truth.labels)
    expected = ap_per_class(*map(np.concatenate, (tp, scores, labels, targets)))
    data = evaluator_input(pair_pages(truths, predictions, 8), 8)
    result = other_protocols([data], find_hits([data]))
    known = [row.ultralytics for row in result if row.ultralytics is not None]
    assert known == pytest.approx(expected[5][:, 0].tolist(), abs=1e-9)
    assert macro(result).ultralytics == pytest.approx(expected[5][:, 0].mean(), abs=1e-9)


@pytest.mark.parametrize("n_truths", [1, 3, 10, 97, 250])
def test_ultralytics_curve_is_its_own(n_truths: int) -> None:
    rng = np.random.default_rng(n_truths)
    is_hit = rng.permutation(np.arange(2 * n_truths) < n_truths * 0.8)
    tp, scores = is_hit[:, None], np.linspace(1, 0.1, len(is_hit))
    labels = np.zeros(len(is_hit))
    expected = ap_per_class(tp, scores, labels, np.zeros(n_truths))[5][0, 0]
    assert ultralytics_ap(is_hit, n_truths) == pytest.approx(expected, abs=1e-12)


def test_class_without_truths_is_excluded() -> None:
    truth = replace(page([[0, 0, 10, 10]]), labels=np.array([1]))
    data = evaluator_input([(truth, page([[0, 0, 10, 10]], [0.9]))], 3)
    result = other_protocols([data], find_hits([data]))
    assert result == (NOTHING, OtherProtocols(voc2007=0, voc2010=0, ultralytics=0), NOTHING)
    assert macro(result) == OtherProtocols(voc2007=0, voc2010=0, ultralytics=0)
    assert other_protocols([evaluator_input([], 1)], find_hits([evaluator_input([], 1)])) == (
        NOTHING,
    )
    assert macro((NOTHING,)) == NOTHING
