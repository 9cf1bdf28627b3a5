from pathlib import PurePosixPath

import numpy as np
import pytest

from converters.page import Page
from eval.metrics.backends import BACKENDS, Backend, EvaluatorInput
from eval.metrics.batches import evaluator_input
from eval.metrics.hits import find_hits
from eval.metrics.thin_classes import THIN_PX, centre_recall, dilated_ap50, thin_classes

Boxes = list[tuple[float, float, float, float]]
STEM = (100.0, 50.0, 103.0, 120.0)
HEAD = (200.0, 50.0, 212.0, 60.0)


def page(boxes: Boxes, labels: list[int], *, predicted: bool = False) -> Page:
    return Page(
        image=PurePosixPath("a.png"),
        width=1000,
        height=1000,
        boxes_xyxy=np.array(boxes, float).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        scores=np.full(len(labels), 0.5) if predicted else None,
    )


def data(
    truths: Boxes, labels: list[int], found: Boxes, found_labels: list[int]
) -> list[EvaluatorInput]:
    return [evaluator_input([(page(truths, labels), page(found, found_labels, predicted=True))], 3)]


def moved(
    box: tuple[float, float, float, float], x: float, y: float = 0
) -> tuple[float, float, float, float]:
    return (box[0] + x, box[1] + y, box[2] + x, box[3] + y)


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        pytest.param([], False, id="no truths"),
        pytest.param([3], True, id="3 px"),
        pytest.param([THIN_PX], False, id="limit"),
        pytest.param([3, 3, 90], True, id="median"),
    ],
)
def test_thin(widths: list[float], expected: bool) -> None:
    batches = data([(0, 0, w, 50) for w in widths], [1] * len(widths), [], [])
    assert thin_classes(batches, 3).tolist() == [False, expected, False]


@pytest.mark.parametrize("backend", BACKENDS)
def test_stem_beside_its_place(backend: Backend) -> None:
    of_shift = {
        shift: data([STEM, HEAD], [0, 1], [moved(STEM, shift), HEAD], [0, 1]) for shift in (2, 4)
    }
    assert find_hits(of_shift[2]).is_hit.tolist() == [[False, True]]
    stem, *others = dilated_ap50(of_shift[2], 3, backend)
    assert stem == pytest.approx(1)
    assert others == [None, None]
    assert dilated_ap50(of_shift[4], 3, backend) == (0, None, None)
    assert centre_recall(of_shift[2], 3) == (1, 1, None)
    assert centre_recall(of_shift[4], 3) == (0, 1, None)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [((6, 0), 1), ((6.1, 0), 0), ((0, 5), 1), ((0, 5.1), 0), ((6, 5), 1), ((-6, -5), 1)],
)
def test_centre_lies_within_half_a_side(shift: tuple[float, float], expected: int) -> None:
    result = centre_recall(data([HEAD], [0], [moved(HEAD, *shift)], [0]), 3)
    assert result == (expected, None, None)


def test_size_does_not_matter_but_class_does() -> None:
    huge = (0.0, -100.0, 412.0, 210.0)
    assert centre_recall(data([HEAD], [0], [huge], [0]), 3) == (1, None, None)
    assert centre_recall(data([HEAD], [0], [HEAD], [1]), 3) == (0, None, None)


def test_a_prediction_counts_for_one_symbol() -> None:
    far = moved(HEAD, 300)
    assert centre_recall(data([HEAD, far], [0, 0], [HEAD], [0]), 3) == (0.5, None, None)
    second = moved(HEAD, 4)
    assert centre_recall(data([HEAD, second], [0, 0], [HEAD], [0]), 3) == (0.5, None, None)
    assert centre_recall(data([HEAD, second], [0, 0], [HEAD, second], [0, 0]), 3) == (1, None, None)


def test_nothing_to_measure() -> None:
    assert centre_recall(data([], [], [HEAD], [0]), 3) == (None, None, None)
    assert centre_recall(data([HEAD], [0], [], []), 3) == (0, None, None)
    assert dilated_ap50(data([], [], [HEAD], [0]), 3) == (None, None, None)
    assert dilated_ap50(data([STEM], [0], [], []), 3) == (0, None, None)
