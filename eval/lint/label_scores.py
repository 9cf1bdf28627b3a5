"""Label quality scores by predictions: low where a trained network contradicts the labels.

The scores are those of cleanlab (ObjectLab, https://arxiv.org/abs/2309.00832). They compare boxes
by IoU and distance, which cleanlab computes pair by pair and for objects of tens of pixels. Here
boxes are compared in staff spaces, and thin ones are widened, so that a line that is off by its
own width still overlaps.

Shapes: N labels of an image, P predictions, C classes.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_maps import MissingExtraError
from converters.boxes import Boxes
from converters.page import Page

MIN_SIDE = 1.0
"""Smallest side of a box in staff spaces when boxes are compared."""
MIN_IOU = 0.1
"""IoU above which boxes of a class may be the same symbol; noteheads of a chord overlap less."""
MIN_IOU_OF_CLASSES = 0.5
"""IoU above which boxes of two classes may be the same symbol."""
ALPHA = 0.9
"""Weight of the IoU in the similarity of boxes, as in cleanlab; the rest is for the distance."""
MIN_CONFIDENCE = 0.5
"""Confidence above which a prediction can contradict a label."""
FLOOR = 1e-6
"""Lowest score."""
BLOCK = 256
"""Number of labels that are compared with all predictions at a time."""
NO_BOXES = {"lab_bboxes": np.empty((0, 4))}
"""Auxiliary input for a function of cleanlab that would compute the IoU again, in Python loops that
take a minute per page, and does not need it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Predictions:
    """Symbols that a trained network finds in an image."""

    boxes_xyxy: Boxes
    """Boxes in pixels of the image, shape ``(P, 4)``."""
    labels: NDArray[np.int64]
    """Labels of the data set, shape ``(P,)``."""
    confidences: NDArray[np.float64]
    """Scores, scaled so that the threshold of each class is 0.5, shape ``(P,)``."""
    is_known: NDArray[np.bool_]
    """True for classes that the network knows and the data labels, shape ``(C,)``; all predictions
    belong to them."""
    staff_space: float
    """Staff space of the image in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelScores:
    """Scores of labels and predictions, 0 to 1; low for likely label bugs."""

    overlooked: NDArray[np.float64]
    """Score of each prediction, shape ``(P,)``; NaN if a label explains it."""
    badly_placed: NDArray[np.float64]
    """Score of each label, shape ``(N,)``; 1 without a prediction of its class nearby."""
    swapped: NDArray[np.float64]
    """Score of each label, shape ``(N,)``; 1 without a prediction of another class."""
    same_class: NDArray[np.int64]
    """Most similar prediction of the class of each label, shape ``(N,)``; -1 without overlap."""
    other_class: NDArray[np.int64]
    """Most similar prediction of another class, shape ``(N,)``; -1 if there is none."""


def cleanlab_ranking() -> ModuleType:
    """Import cleanlab's scores of boxes; its imports must not print or warn.

    Raises:
        MissingExtraError: cleanlab is not installed.
    """
    try:
        with _silent():
            from cleanlab.object_detection import rank
    except ImportError as error:
        raise MissingExtraError(
            "comparing labels with predictions needs cleanlab, which is not installed; run "
            "pip install 'omr-toolkit[clean]'"
        ) from error
    module: ModuleType = rank
    return module


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def label_scores(page: Page, predictions: Predictions) -> LabelScores:
    """Score the labels of an image, and the predictions that may lack one.

    Args:
        page: Image with its labels.
        predictions: Symbols found in it.

    Raises:
        MissingExtraError: cleanlab is not installed.
    """
    rank = cleanlab_ranking()
    n, p = len(page.labels), len(predictions.labels)
    pairs = _Pairs(page, predictions)
    scores = LabelScores(
        overlooked=np.full(p, np.nan),
        badly_placed=np.ones(n),
        swapped=np.ones(n),
        same_class=np.full(n, -1),
        other_class=np.full(n, -1),
    )
    is_explained = np.zeros(p, np.bool_)
    with _silent():
        for start in range(0, n, BLOCK):
            rows = slice(start, start + BLOCK)
            inputs = pairs.inputs(rows, slice(None))
            is_explained |= (inputs["iou_matrix"] > 0).any(axis=0)
            _score_labels(rank, inputs, rows, scores)
        unexplained = np.flatnonzero(~is_explained)
        inputs = pairs.inputs(slice(0), unexplained) | {"min_possible_similarity": 1.0}
        scores.overlooked[unexplained] = _scores_without_labels(rank, inputs)
    return scores


def _score_labels(
    rank: ModuleType, inputs: dict[str, Any], rows: slice, scores: LabelScores
) -> None:
    """Score some labels, in place."""
    (scores.badly_placed[rows],) = rank.compute_badloc_box_scores(
        auxiliary_inputs=[inputs], low_probability_threshold=MIN_CONFIDENCE
    )
    (scores.swapped[rows],) = rank.compute_swap_box_scores(
        auxiliary_inputs=[inputs | NO_BOXES],
        high_probability_threshold=MIN_CONFIDENCE,
        overlapping_label_check=False,  # the rule one-box-two-classes finds these
    )
    is_same = inputs["lab_labels"][:, None] == inputs["pred_labels"]
    similarity = inputs["similarity_matrix"]
    scores.same_class[rows] = _most_similar(similarity, is_same & (inputs["iou_matrix"] > 0))
    scores.other_class[rows] = _most_similar(similarity, ~is_same)


def _scores_without_labels(rank: ModuleType, inputs: dict[str, Any]) -> NDArray[np.float64]:
    """Score predictions that no label explains: 1 - confidence.

    They are scored against an image without labels. Otherwise, cleanlab would rank them by their
    distance to the next label of the class, which puts mistakes of the network first.
    """
    (scores,) = rank.compute_overlooked_box_scores(
        auxiliary_inputs=[inputs], high_probability_threshold=MIN_CONFIDENCE
    )
    return np.asarray(scores)


class _Pairs:
    """Similarities of labels and predictions, in the form that cleanlab takes."""

    def __init__(self, page: Page, predictions: Predictions) -> None:
        self._labels, self._predictions = page.labels, predictions
        self._boxes = _widened(page.boxes_xyxy, predictions.staff_space)
        self._predicted = _widened(predictions.boxes_xyxy, predictions.staff_space)

    def inputs(self, labels: slice, predictions: slice | NDArray[np.int64]) -> dict[str, Any]:
        """Return the auxiliary inputs of cleanlab for some labels and predictions."""
        boxes, predicted = self._boxes[labels], self._predicted[predictions]
        of_boxes, of_predicted = self._labels[labels], self._predictions.labels[predictions]
        ious = _ious(boxes, predicted)
        distances = np.hypot(*(_centres(predicted).T[:, None] - _centres(boxes).T[:, :, None]))
        limits = np.where(of_boxes[:, None] == of_predicted, MIN_IOU, MIN_IOU_OF_CLASSES)
        return {
            "lab_labels": of_boxes,
            "lab_bboxes": boxes,
            "pred_labels": of_predicted,
            "pred_bboxes": predicted,
            "pred_label_probs": self._predictions.confidences[predictions],
            "iou_matrix": np.where(ious > limits, ious, 0.0),
            "similarity_matrix": ALPHA * ious + (1 - ALPHA) * np.exp(-distances),
            "min_possible_similarity": FLOOR,
        }


def _widened(boxes_xyxy: Boxes, space: float) -> Boxes:
    """Convert boxes to staff spaces, with sides of at least ``MIN_SIDE``."""
    centres = _centres(boxes_xyxy)
    half = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], MIN_SIDE * space) / 2
    return np.concatenate([centres - half, centres + half], axis=1) / space


def _centres(boxes_xyxy: Boxes) -> NDArray[np.float64]:
    return np.asarray((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2)


def _ious(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float64]:
    """Compute the IoU of every box of ``a`` with every box of ``b``."""
    shared = np.ones((len(a_xyxy), len(b_xyxy)))
    for low, high in ((0, 2), (1, 3)):
        side = np.minimum(a_xyxy[:, high, None], b_xyxy[:, high])
        side -= np.maximum(a_xyxy[:, low, None], b_xyxy[:, low])
        shared *= side.clip(min=0)
    areas = [(box[:, 2:] - box[:, :2]).prod(axis=1) for box in (a_xyxy, b_xyxy)]
    return np.asarray(shared / (areas[0][:, None] + areas[1] - shared))


def _most_similar(similarity: NDArray[np.float64], may_be: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the column with the highest similarity of each row; -1 if there is none."""
    if not similarity.shape[1]:
        return np.full(len(similarity), -1)
    masked = np.where(may_be, similarity, -1.0)
    return np.where(may_be.any(axis=1), masked.argmax(axis=1), -1)
