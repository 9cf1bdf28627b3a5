"""Tests of label scores: each kind of bug lowers its own score."""

import tracemalloc
from pathlib import PurePosixPath

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.page import Page
from eval.lint import label_scores as module
from eval.lint.label_scores import LabelScores, Predictions, label_scores

HEAD, STEM = 0, 1
SPACE = 10.0
HEAD_BOX, STEM_BOX = (100.0, 100.0, 113.0, 110.0), (112.0, 70.0, 113.0, 105.0)
Symbols = list[tuple[tuple[float, ...], int]]
NOTE: Symbols = [(HEAD_BOX, HEAD), (STEM_BOX, STEM)]


def scores_of(labels: Symbols, predictions: Symbols, confidence: float = 0.9) -> LabelScores:
    boxes, classes = (np.array([s[i] for s in labels]) for i in (0, 1))
    predicted, found = (np.array([s[i] for s in predictions]) for i in (0, 1))
    page = Page(
        image=PurePosixPath("1.png"), width=1000, height=1000,
        boxes_xyxy=boxes.reshape(-1, 4), labels=classes.astype(np.int64),
    )  # fmt: skip
    return label_scores(
        page,
        Predictions(
            boxes_xyxy=predicted.reshape(-1, 4), labels=found.astype(np.int64),
            confidences=np.full(len(found), confidence), is_known=np.ones(2, bool),
            staff_space=SPACE,
        ),
    )  # fmt: skip


def moved(x: float, y: float = 0.0) -> Symbols:
    """Return the note in another place."""
    return [(tuple(np.add(box, [x, y, x, y]).tolist()), label) for box, label in NOTE]


def test_without_labels_and_predictions() -> None:
    scores = scores_of([], [])
    assert [len(values) for values in (scores.overlooked, scores.badly_placed)] == [0, 0]


def test_without_predictions_nothing_contradicts() -> None:
    scores = scores_of(NOTE, [])
    assert scores.badly_placed.tolist() == scores.swapped.tolist() == [1, 1]
    assert scores.same_class.tolist() == scores.other_class.tolist() == [-1, -1]


def test_without_labels_every_prediction_is_overlooked() -> None:
    assert scores_of([], NOTE).overlooked == pytest.approx([0.1, 0.1])


def test_correct_labels_have_high_scores() -> None:
    scores = scores_of(NOTE, NOTE)
    assert np.isnan(scores.overlooked).all()
    assert scores.badly_placed == pytest.approx([1, 1], abs=1e-6)
    assert (scores.swapped > 0.6).all()
    assert scores.same_class.tolist() == [0, 1]


def test_a_label_that_was_removed() -> None:
    scores = scores_of(NOTE[:1], NOTE)
    assert np.isnan(scores.overlooked[0])
    assert scores.overlooked[1] == pytest.approx(0.1)


@pytest.mark.parametrize(("x", "y"), [(5, 0), (0, 5), (-5, 0), (3.5, 3.5)])
def test_labels_that_are_moved_by_half_a_staff_space(x: float, y: float) -> None:
    scores = scores_of(moved(x, y), NOTE)
    assert np.isnan(scores.overlooked).all()
    assert scores.badly_placed[HEAD] < 0.6
    assert scores.badly_placed[STEM] < (0.7 if x else 0.85)  # stems are long


def test_a_stem_that_is_off_by_its_width_is_well_placed() -> None:
    scores = scores_of(moved(1), NOTE)
    assert (scores.badly_placed > 0.8).all()
    assert scores.same_class.tolist() == [HEAD, STEM]
    assert np.isnan(scores.overlooked).all()


def test_a_swapped_label() -> None:
    scores = scores_of([(HEAD_BOX, STEM), (STEM_BOX, STEM)], NOTE)
    assert scores.swapped[0] < 0.1 < 0.6 < scores.swapped[1]
    assert scores.other_class[0] == 0
    assert np.isnan(scores.overlooked).all()  # not reported twice


def test_a_neighbour_in_a_chord_does_not_explain_a_prediction() -> None:
    third = [(tuple(np.add(HEAD_BOX, [0, 9.5, 0, 9.5]).tolist()), HEAD)]
    assert scores_of(third, NOTE[:1]).overlooked == pytest.approx([0.1])


def test_scores_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [*NOTE, *moved(40), *moved(80, 3)]
    predictions = [*NOTE, *moved(42), *moved(130), *moved(80)]
    whole = scores_of(labels, predictions)
    monkeypatch.setattr(module, "BLOCK", 2)
    parts = scores_of(labels, predictions)
    for name in LabelScores.__slots__:
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_a_page_of_3000_labels_needs_little_memory() -> None:
    places = [((i % 60) * 15.0, (i // 60) * 15.0) for i in range(3000)]
    many: Symbols = [((x, y, x + 12, y + 10), (i % 2)) for i, (x, y) in enumerate(places)]
    tracemalloc.start()
    scores = scores_of(many, many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6
    assert np.isnan(scores.overlooked).all()
    assert (scores.badly_placed > 0.99).all()


def random_symbols(rng: np.random.Generator, n: int) -> tuple[Boxes, NDArray[np.int64]]:
    """Return boxes of at least one staff space on a crowded page, sorted by class."""
    corners = rng.uniform(0, 250, (n, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(SPACE, 40, (n, 2))], axis=1)
    return boxes, np.sort(rng.integers(0, 2, n))


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_cleanlab(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the definitions agree: any overlap counts, and 10 px are a staff space."""
    rank = pytest.importorskip("cleanlab.object_detection.rank", exc_type=ImportError)
    monkeypatch.setattr(module, "MIN_IOU", 0.0)
    monkeypatch.setattr(module, "MIN_IOU_OF_CLASSES", 0.0)
    rng = np.random.default_rng(seed)
    (boxes, classes), (predicted, found) = random_symbols(rng, 40), random_symbols(rng, 40)
    confidences = rng.random(40)
    page = Page(
        image=PurePosixPath("1.png"), width=1000, height=1000, boxes_xyxy=boxes, labels=classes
    )
    predictions = Predictions(
        boxes_xyxy=predicted, labels=found, confidences=confidences,
        is_known=np.ones(2, bool), staff_space=SPACE,
    )  # fmt: skip
    scores = label_scores(page, predictions)
    rows = np.column_stack([predicted, confidences])
    inputs = {
        "labels": [{"bboxes": boxes, "labels": classes}],
        "predictions": [[rows[found == label] for label in range(2)]],
    }
    (expected,) = rank.compute_badloc_box_scores(**inputs, low_probability_threshold=0.5)
    np.testing.assert_allclose(scores.badly_placed, expected, rtol=0, atol=1e-9)
    (expected,) = rank.compute_swap_box_scores(
        **inputs, high_probability_threshold=0.5, overlapping_label_check=False
    )
    np.testing.assert_allclose(scores.swapped, expected, rtol=0, atol=1e-9)
    (expected,) = rank.compute_overlooked_box_scores(**inputs, high_probability_threshold=0.5)
    np.testing.assert_array_equal(np.isnan(scores.overlooked), np.isnan(expected))
    inputs["labels"] = [{"bboxes": boxes[:0], "labels": classes[:0]}]  # cleanlab's 1 - confidence
    (expected,) = rank.compute_overlooked_box_scores(**inputs, high_probability_threshold=0.5)
    is_scored = np.isfinite(scores.overlooked)
    np.testing.assert_allclose(scores.overlooked[is_scored], expected[is_scored], rtol=0, atol=1e-9)
