import contextlib
import io
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from class_maps import ConfigError
from converters.page import Page
from eval.metrics.f1 import F1Score, joined, match

Box = tuple[float, float, float, float]


def page(
    boxes: list[Box], labels: list[int], scores: list[float] | None = None, n: int = 0
) -> Page:
    return Page(
        image=PurePosixPath(f"{n}.png"),
        width=100,
        height=100,
        boxes_xyxy=np.array(boxes, float).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        scores=None if scores is None else np.array(scores, float),
    )


A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 60, 90)


def test_a_hand_worked_page() -> None:
    truth = page([A, B, C], [0, 0, 1])
    found = page(
        [A, (1, 0, 11, 10), (20, 0, 30, 5), C, (70, 0, 80, 10)],
        [0, 0, 0, 0, 1],
        [0.9, 0.8, 0.7, 0.6, 0.5],
    )
    matches = match([truth], [found], 2)
    # A is found once; half of B is an IoU of .5; C has the wrong class.
    assert matches.is_found.tolist() == [True, False, True, False, False]
    assert matches.n_truths.tolist() == [2, 1]
    assert matches.score(0.0) == F1Score(n_found=2, n_false=3, n_missed=1)
    assert matches.score(0.0).f1 == pytest.approx(4 / 8)
    assert matches.score(0.7) == F1Score(n_found=2, n_false=1, n_missed=1)
    assert matches.best_threshold() == pytest.approx(0.65)
    assert matches.only([0]).score(0.0) == F1Score(n_found=2, n_false=2, n_missed=0)
    assert matches.only([1]).score(0.0) == F1Score(n_found=0, n_false=1, n_missed=1)


def test_nothing_to_find_and_nothing_found() -> None:
    nothing = match([page([], [])], [page([], [], [])], 2)
    assert nothing.score(0.5) == F1Score(n_found=0, n_false=0, n_missed=0)
    assert nothing.score(0.5).f1 == 1
    assert nothing.best_threshold() == 1
    missed = match([page([A], [0])], [page([], [], [])], 2)
    assert (missed.score(0.5).f1, missed.best_threshold()) == (0, 1)
    false = match([page([], [])], [page([A], [0], [0.4])], 2)
    assert false.score(0.2) == F1Score(n_found=0, n_false=1, n_missed=0)
    assert match([], [], 2).score(0.5).f1 == 1


def test_equal_scores_are_kept_together() -> None:
    truth = page([A], [0])
    found = page([A, B], [0, 0], [0.5, 0.5])
    assert match([truth], [found], 1).best_threshold() == pytest.approx(0.25)


def test_pages_are_paired_by_image() -> None:
    with pytest.raises(ConfigError, match="images without a prediction page"):
        match([page([A], [0], n=1)], [page([A], [0], [1.0], n=2)], 1)


def coco_found(truth: Page, prediction: Page, n_classes: int) -> list[bool]:
    """Return what pycocotools matches at an IoU of .5, in the order of the predictions."""

    def rows(some: Page, **more: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        result = []
        for i, ((x0, y0, x1, y1), label) in enumerate(
            zip(some.boxes_xyxy.tolist(), some.labels.tolist(), strict=True)
        ):
            bbox = [x0, y0, x1 - x0, y1 - y0]
            row = {"id": i + 1, "image_id": 1, "category_id": label + 1, "bbox": bbox}
            row |= {"area": bbox[2] * bbox[3], "iscrowd": 0}
            if some.scores is not None:
                row["score"] = float(some.scores[i])
            result.append(row | more)
        return result

    coco = COCO()
    categories = [{"id": i + 1, "name": str(i)} for i in range(n_classes)]
    coco.dataset = {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "annotations": rows(truth),
        "categories": categories,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows(prediction)), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng = [[0, 1e9]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
    found = [False] * len(prediction.labels)
    for entry in filter(None, evaluation.evalImgs):
        for detection, matched in zip(entry["dtIds"], entry["dtMatches"][0], strict=True):
            found[int(detection) - 1] = matched > 0
    return found


@st.composite
def boxes(draw: st.DrawFn, n: int) -> list[Box]:
    result = []
    for _ in range(n):
        x, y = draw(st.integers(0, 20)), draw(st.integers(0, 20))
        result.append((x, y, x + draw(st.integers(1, 12)), y + draw(st.integers(1, 12))))
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in result]


@given(data=st.data())
def test_the_matches_are_those_of_pycocotools(data: st.DataObject) -> None:
    n_truths, n = data.draw(st.integers(0, 6)), data.draw(st.integers(1, 8))
    label = st.integers(0, 1)
    truth_labels = data.draw(st.lists(label, min_size=n_truths, max_size=n_truths))
    truth = page(data.draw(boxes(n_truths)), truth_labels)
    scores = data.draw(st.permutations([round(0.1 + i / 20, 3) for i in range(n)]))
    labels = data.draw(st.lists(label, min_size=n, max_size=n))
    found = page(data.draw(boxes(n)), labels, list(scores))
    matches = match([truth], [found], 2)
    by_score = np.argsort(-np.array(scores), kind="stable")
    ours = matches.is_found.tolist()
    theirs = coco_found(truth, found, 2)
    assert ours == [theirs[i] for i in by_score]


def test_thresholds_by_class() -> None:
    truth = page([A, B, C], [0, 0, 1])
    found = page([A, B, C, (70, 0, 80, 10)], [0, 0, 1, 1], [0.9, 0.2, 0.4, 0.3])
    parts = [match([truth], [found], 3) for _ in range(30)]
    every = joined(parts)
    assert every.n_truths.tolist() == [60, 30, 0]
    assert every.scores.tolist() == sorted(every.scores, reverse=True)
    assert every.class_thresholds() == pytest.approx([0.1, 0.35, every.best_threshold()])
    assert every.score(every.class_thresholds()) == F1Score(n_found=90, n_false=0, n_missed=0)
    # One threshold for all has to accept the false ones, or to miss as many.
    assert every.score(every.best_threshold()).n_false == 30
    # One symbol less, and the class has the threshold of all classes.
    few = joined(parts[:29])
    assert few.class_thresholds() == pytest.approx([0.1, *[few.best_threshold()] * 2])
