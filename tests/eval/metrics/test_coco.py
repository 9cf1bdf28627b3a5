import contextlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.crowded_pages import crowded_pages
from class_maps import ConfigError
from converters.page import Page
from eval.metrics import backends
from eval.metrics.backends import BACKENDS, Backend
from eval.metrics.coco import evaluate
from eval.reports.detection import FREQUENT, DetectionReport, MeanMetrics

NAMES = ("notehead", "stem", "clef")
Symbol = tuple[list[float], int]
Found = tuple[list[float], int, float]

BOX = [[100.0 * i, 0.0, 100.0 * i + 10, 10.0] for i in range(100)]
"""Boxes that do not touch each other."""


def truth(symbols: Sequence[Symbol] = (), image: str = "a.png") -> Page:
    return Page(
        image=PurePosixPath(image),
        width=20000,
        height=100,
        boxes_xyxy=np.array([box for box, _ in symbols], dtype=np.float64).reshape(-1, 4),
        labels=np.array([label for _, label in symbols], dtype=np.int64),
    )


def predicted(symbols: Sequence[Found] = (), image: str = "a.png") -> Page:
    page = truth([(box, label) for box, label, _ in symbols], image)
    return replace(page, scores=np.array([score for *_, score in symbols], dtype=np.float64))


NOTHING = MeanMetrics(ap50=None, ap75=None, ap=None, recall50=None)
ZERO = MeanMetrics(ap50=0.0, ap75=0.0, ap=0.0, recall50=0.0)


@pytest.mark.parametrize(
    ("truths", "predictions", "macro"),
    [
        pytest.param([], [], NOTHING, id="no images"),
        pytest.param([truth()], [predicted()], NOTHING, id="no truths, no predictions"),
        pytest.param([truth()], [predicted([(BOX[0], 0, 0.9)])], NOTHING, id="no truths"),
        pytest.param([truth([(BOX[0], 0)])], [predicted()], ZERO, id="no predictions"),
        pytest.param(
            [truth([(BOX[0], 0)])], [predicted([(BOX[0], 1, 0.9)])], ZERO, id="wrong class"
        ),
        pytest.param(
            [truth([(BOX[0], 0)])], [predicted([(BOX[1], 0, 0.9)])], ZERO, id="wrong place"
        ),
        pytest.param(
            [truth([(BOX[0], 0)], "a.png"), truth([], "b.png")],
            [predicted([], "a.png"), predicted([(BOX[0], 0, 0.9)], "b.png")],
            ZERO,
            id="wrong image",
        ),
        pytest.param(
            [truth([([5, 5, 5, 9], 0)])],
            [predicted([([5, 5, 5, 9], 0, 0.9)])],
            ZERO,
            id="no prediction reaches a truth without width",
        ),
    ],
)
def test_empty_and_unmatched(
    truths: list[Page], predictions: list[Page], macro: MeanMetrics
) -> None:
    report = evaluate(truths, predictions, NAMES)
    assert report.macro == report.instance_weighted == macro
    assert report.n_images == len(truths)


# AP is the mean of the best precision at or beyond each of the recall points 0, .01 ... 1. Of these
# 101 points, the 51 up to .5 ask for one truth of two, the other 50 for both.
@pytest.mark.parametrize(
    ("n_truths", "hits", "ap50", "recall50"),
    [
        pytest.param(1, [], 0.0, 0.0, id="no predictions"),
        pytest.param(1, [True], 1.0, 1.0, id="the one"),
        pytest.param(2, [True], 51 / 101, 0.5, id="one of two"),
        pytest.param(2, [True, False], 51 / 101, 0.5, id="false one ranked below"),
        pytest.param(2, [False, True], 51 / 101 / 2, 0.5, id="false one ranked above"),
        pytest.param(2, [True, False, True], (51 + 50 * 2 / 3) / 101, 1.0, id="in between"),
        pytest.param(2, [False, True, True], 2 / 3, 1.0, id="first is false: 2/3 everywhere"),
        pytest.param(
            100, [False] * 2 + [True] * 40, 41 / 101 * 40 / 42, 0.4, id="precision .95, recall .4"
        ),
    ],
)
def test_hand_worked_average_precision(
    n_truths: int, hits: list[bool], ap50: float, recall50: float
) -> None:
    boxes = iter(BOX)
    far_away = [0.0, 50.0, 10.0, 60.0]
    result = [
        (next(boxes) if hit else far_away, 0, 1 - 0.01 * rank) for rank, hit in enumerate(hits)
    ]
    report = evaluate([truth([(box, 0) for box in BOX[:n_truths]])], [predicted(result)], NAMES)
    score = report.classes[0]
    assert score.ap50 == pytest.approx(ap50, abs=1e-12)
    assert score.ap == pytest.approx(ap50, abs=1e-12)  # hits are exact: equal at every IoU
    assert score.recall50 == pytest.approx(recall50)


def test_iou_thresholds() -> None:
    result = predicted([([0, 0, 10, 7.2], 0, 0.9)])  # IoU .72: reaches .5 to .7, five of ten
    score = evaluate([truth([(BOX[0], 0)])], [result], NAMES).classes[0]
    assert [score.ap50, score.ap75] == [pytest.approx(1), 0]
    assert score.ap == pytest.approx(0.5)


def test_second_prediction_of_one_truth_is_false() -> None:
    result = [(BOX[0], 0, 0.9), (BOX[0], 0, 0.8), (BOX[1], 0, 0.7)]
    score = evaluate([truth([(BOX[0], 0), (BOX[1], 0)])], [predicted(result)], NAMES).classes[0]
    assert score.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_means_leave_out_classes_without_truth_and_say_which_they_are() -> None:
    truths = truth([(BOX[0], 0), (BOX[1], 0), (BOX[2], 0), (BOX[3], 1)])
    result = [(box, 0, 0.9) for box in BOX[:3]] + [(BOX[5], 2, 0.9)]
    report = evaluate([truths], [predicted(result)], NAMES)
    assert [score.ap50 for score in report.classes] == [pytest.approx(1), 0, None]
    assert [score.n_truths for score in report.classes] == [3, 1, 0]
    assert [score.n_predictions for score in report.classes] == [3, 0, 1]
    assert report.macro.ap50 == pytest.approx(1 / 2)
    assert report.instance_weighted.ap50 == pytest.approx(3 / 4)
    assert report.instance_weighted.recall50 == pytest.approx(3 / 4)
    assert report.frequent_macro.ap50 is None


@pytest.mark.parametrize(("n", "expected"), [(FREQUENT - 1, None), (FREQUENT, 1.0)])
def test_a_class_is_frequent_from_so_many_truths_on(n: int, expected: float | None) -> None:
    truths = truth([*((box, 0) for box in BOX[:n]), (BOX[99], 1)])
    report = evaluate([truths], [predicted([(box, 0, 0.9) for box in BOX[:n]])], NAMES)
    assert report.frequent_macro.ap50 == (None if expected is None else pytest.approx(expected))
    assert report.macro.ap50 == pytest.approx(1 / 2)


def test_nothing_is_cut_unless_asked() -> None:
    boxes = [[20.0 * i, 0.0, 20.0 * i + 10, 10.0] for i in range(400)]
    pages = [truth([(box, 0) for box in boxes])]
    result = [predicted([(box, 0, 0.9) for box in boxes])]
    report = evaluate(pages, result, NAMES)
    assert (report.max_det_per_class, report.classes[0].recall50) == (400, 1)
    report = evaluate(pages, result, NAMES, max_det=200)
    assert (report.max_det_per_class, report.classes[0].recall50) == (200, 0.5)


def test_max_det_counts_for_each_pair_of_image_and_class() -> None:
    pages = [truth([(BOX[0], 0), (BOX[1], 1)])]
    result = [predicted([(BOX[0], 0, 0.9), (BOX[1], 1, 0.8)])]
    assert evaluate(pages, result, NAMES, max_det=1).macro.recall50 == 1


def test_box_larger_than_cocos_largest_area_counts() -> None:
    box = [0.0, 0.0, 200_000.0, 200_000.0]
    report = evaluate([truth([(box, 0)])], [predicted([(box, 0, 0.9)])], NAMES)
    assert report.macro.ap == pytest.approx(1)


def test_zero_area_truths_are_counted() -> None:
    report = evaluate([truth([([5, 5, 5, 9], 0), (BOX[0], 0)])], [predicted()], NAMES)
    assert (report.n_truths, report.n_zero_area_truths) == (2, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_silent(backend: Backend, capfd: pytest.CaptureFixture[str]) -> None:
    evaluate([truth([(BOX[0], 0)])], [predicted([(BOX[0], 0, 0.9)])], NAMES, backend=backend)
    assert capfd.readouterr() == ("", "")


def test_to_json_survives_json() -> None:
    data = evaluate([truth([(BOX[0], 0)])], [predicted()], NAMES).to_json()
    assert json.loads(json.dumps(data)) == data
    assert data["macro"] == {"ap50": 0.0, "ap75": 0.0, "ap": 0.0, "recall50": 0.0}
    assert data["classes"][2]["ap50"] is None


@pytest.mark.parametrize(
    ("truths", "predictions", "message"),
    [
        pytest.param([truth()], [], "images without a prediction page: a.png", id="missing"),
        pytest.param(
            [truth([], f"{i}.png") for i in range(7)],
            [],
            "images without a prediction page: 0.png, 1.png, 2.png, 3.png, 4.png and 2 more",
            id="many missing",
        ),
        pytest.param(
            [], [predicted()], "predictions for images without truth: a.png", id="unknown"
        ),
        pytest.param(
            [truth(), truth()],
            [predicted()],
            "images with more than one truth page: a.png",
            id="duplicate truth",
        ),
        pytest.param(
            [truth()],
            [predicted(), predicted()],
            "images with more than one prediction page: a.png",
            id="duplicate prediction",
        ),
        pytest.param(
            [truth()],
            [replace(predicted(), width=640)],
            "images with different sizes in truth and prediction: a.png",
            id="size",
        ),
    ],
)
def test_pages_must_pair(truths: list[Page], predictions: list[Page], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        evaluate(truths, predictions, NAMES)


@pytest.mark.parametrize(
    ("page", "prediction", "message"),
    [
        pytest.param(truth(), truth(), "prediction page without scores: a.png", id="scores"),
        pytest.param(
            truth([(BOX[0], 3)]), predicted(), "label 3 is not one of 3 classes: a.png", id="label"
        ),
        pytest.param(
            truth(),
            predicted([(BOX[0], -1, 0.5)]),
            "label -1 is not one of 3 classes: a.png",
            id="negative label",
        ),
        pytest.param(
            truth(),
            predicted([(BOX[0], 0, float("nan"))]),
            "non-finite box or score: a.png",
            id="nan",
        ),
        pytest.param(
            truth([([5, 0, 4, 9], 0)]),
            predicted(),
            "box with a negative side: a.png",
            id="inverted",
        ),
    ],
)
def test_pages_must_make_sense(page: Page, prediction: Page, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        evaluate([page], [prediction], NAMES)


def test_max_det_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"^max_det must be at least 1, got 0$"):
        evaluate([truth()], [predicted()], NAMES, max_det=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lost_truth_is_noticed(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "EVERY_SIZE", [(0.0, 50.0)])  # larger truths are ignored
    evaluate([truth([([0, 0, 5, 5], 0)])], [predicted()], NAMES, backend=backend)
    message = r"^the evaluator did not count all of the 2 truths; the metrics are not valid$"
    for label in (0, 1):
        pages = [truth([([0, 0, 5, 5], 0), (BOX[0], label)])]
        with pytest.raises(RuntimeError, match=message):
            evaluate(pages, [predicted()], NAMES, backend=backend)


# Corners on a coarse grid and few scores, so that overlaps and ties are frequent.
_spans = st.tuples(st.integers(0, 6), st.integers(0, 4)).map(lambda s: (s[0], s[0] + s[1]))
_boxes = st.tuples(_spans, _spans).map(
    lambda s: [*map(float, (s[0][0], s[1][0], s[0][1], s[1][1]))]
)
_labels = st.integers(0, len(NAMES) - 1)
_truths = st.lists(st.lists(st.tuples(_boxes, _labels), max_size=6), max_size=3)
_scores = st.sampled_from([0.1, 0.5, 0.9])
_found = st.lists(st.tuples(_boxes, _labels, _scores), max_size=6)
_any_score = st.floats(0, 1, width=32)
_found_untied = st.lists(
    st.tuples(_boxes, _labels, _any_score), max_size=6, unique_by=lambda result: result[2]
)


def _pages(truths: list[list[Symbol]], result: list[list[Found]]) -> tuple[list[Page], list[Page]]:
    images = [f"{i}.png" for i in range(len(truths))]
    return (
        [truth(symbols, image) for symbols, image in zip(truths, images, strict=True)],
        [predicted(symbols, image) for symbols, image in zip(result, images, strict=True)],
    )


@given(_truths)
def test_perfect_predictions_score_one(symbols: list[list[Symbol]]) -> None:
    visible = [[s for s in page if s[0][2] > s[0][0] and s[0][3] > s[0][1]] for page in symbols]
    pages, result = _pages(visible, [[(box, label, 0.9) for box, label in p] for p in visible])
    for score in evaluate(pages, result, NAMES).classes:
        if score.n_truths:
            assert [score.ap, score.ap50, score.recall50] == pytest.approx([1] * 3, abs=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_order_of_equal_scores_changes_nothing(backend: Backend) -> None:
    # The first overlaps both truths, the second only one: who chooses first decides who finds what.
    pages = [truth([([0, 0, 10, 10], 0), ([3, 0, 13, 10], 0)])]
    found = [([1.0, 0.0, 11.0, 10.0], 0, 0.5), ([0.0, 0.0, 7.0, 10.0], 0, 0.5)]
    reports = [
        evaluate(pages, [predicted(symbols)], NAMES, backend=backend)
        for symbols in (found, found[::-1])
    ]
    assert reports[0] == reports[1]
    assert reports[0].classes[0].recall50 == 1


@given(st.data())
def test_order_changes_nothing(data: st.DataObject) -> None:
    symbols = data.draw(_truths)
    result = [data.draw(_found) for _ in symbols]
    report = evaluate(*_pages(symbols, result), NAMES)
    pages, predictions = _pages(
        [data.draw(st.permutations(page)) for page in symbols],
        [data.draw(st.permutations(page)) for page in result],
    )
    shuffled = evaluate(
        data.draw(st.permutations(pages)), data.draw(st.permutations(predictions)), NAMES
    )
    assert shuffled == report


def _coco(symbols: list[list[Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(len(symbols))],
        "categories": [{"id": i} for i in range(len(NAMES))],
        "annotations": [],
    }
    for image_id, page in enumerate(symbols):
        for (x0, y0, x1, y1), label, *score in page:
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
            ids = {"id": len(coco.dataset["annotations"]) + 1, "image_id": image_id}
            kind = {"category_id": label, "iscrowd": 0, "score": score[0] if score else 0}
            coco.dataset["annotations"].append(box | ids | kind)
    coco.createIndex()
    return coco


def _reference(symbols: list[list[Symbol]], result: list[list[Found]]) -> list[list[float]]:
    """Rows of AP50, AP75, AP, recall at .5 for each class, from an untouched COCOeval."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco_eval = COCOeval(_coco(symbols), _coco(result), "bbox")
        coco_eval.evaluate()
        coco_eval.accumulate()
    precision, recall = coco_eval.eval["precision"], coco_eval.eval["recall"]
    rows = []
    for label in range(len(NAMES)):
        q = precision[:, :, label, 0, -1]
        rows.append([q[0].mean(), q[5].mean(), q.mean(), recall[0, label, 0, -1]])
    return rows


def _rows(report: DetectionReport) -> list[list[float]]:
    return [
        [-1.0 if v is None else v for v in (s.ap50, s.ap75, s.ap, s.recall50)]
        for s in report.classes
    ]


@given(st.data())
def test_equals_pycocotools(data: st.DataObject) -> None:
    # COCOeval breaks ties by place, this module by label and box: truths in that order and
    # predictions without ties must give equal figures.
    symbols = [sorted(page, key=lambda s: (s[1], s[0])) for page in data.draw(_truths)]
    result = [
        [(box, label, (score + 2 * i) / 8) for box, label, score in data.draw(_found_untied)]
        for i in range(len(symbols))
    ]
    report = evaluate(*_pages(symbols, result), NAMES)
    assert _rows(report) == _reference(symbols, result)


@given(st.data())
def test_backends_agree_to_the_last_digit(data: st.DataObject) -> None:
    symbols = data.draw(_truths)
    pages, result = _pages(symbols, [data.draw(_found) for _ in symbols])
    max_det = data.draw(st.sampled_from([None, 1, 3]))
    reports = [evaluate(pages, result, NAMES, max_det=max_det, backend=b) for b in BACKENDS]
    assert reports[0] == reports[1]


def test_backends_agree_on_crowded_pages() -> None:
    pages, result, names = crowded_pages(n_pages=2, n_truths=1250, n_predictions=1500)
    reports = [evaluate(pages, result, names, backend=backend) for backend in BACKENDS]
    assert reports[0] == reports[1]
    assert reports[0].n_truths == 2500
    assert 0.2 < (reports[0].macro.ap50 or 0) < 0.9
