"""Label quality scores by predictions: low where a trained network contradicts the labels.

The scores are the object-detection label quality scores of cleanlab (ObjectLab, Tkachenko et al.
2023, https://arxiv.org/abs/2309.00832), with three changes for pages of music: boxes are compared
in staff spaces; thin ones are widened, so that a line that is off by its own width still overlaps;
and overlooked symbols are ranked by confidence alone, because the distance to the nearest label of
the class ranks mistakes of the network first.

Shapes: N labels of an image, P predictions, C classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
"""Lowest score of a label of the wrong class."""
BLOCK = 256
"""Number of labels that are compared with all predictions at a time."""


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


def label_scores(page: Page, predictions: Predictions) -> LabelScores:
    """Score the labels of an image, and the predictions that may lack one.

    Args:
        page: Image with its labels.
        predictions: Symbols found in it.
    """
    n = len(page.labels)
    boxes = _widened(page.boxes_xyxy, predictions.staff_space)
    predicted = _widened(predictions.boxes_xyxy, predictions.staff_space)
    is_confident = predictions.confidences > MIN_CONFIDENCE
    badly_placed, swapped = np.ones(n), np.ones(n)
    same_class, other_class = np.full(n, -1), np.full(n, -1)
    is_overlooked = predictions.confidences >= MIN_CONFIDENCE
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        ious = _ious(boxes[rows], predicted)
        is_same = page.labels[rows, None] == predictions.labels
        overlaps = ious > np.where(is_same, MIN_IOU, MIN_IOU_OF_CLASSES)
        is_overlooked &= ~overlaps.any(axis=0)
        similarity = ALPHA * ious + (1 - ALPHA) * np.exp(-_distances(boxes[rows], predicted))
        same_class[rows], best = _most_similar(similarity, is_same & overlaps & is_confident)
        badly_placed[rows] = np.where(same_class[rows] < 0, 1.0, best)
        other_class[rows], best = _most_similar(similarity, ~is_same & is_confident)
        swapped[rows] = np.where(other_class[rows] < 0, 1.0, np.maximum(1 - best, FLOOR))
    return LabelScores(
        overlooked=np.where(is_overlooked, 1 - predictions.confidences, np.nan),
        badly_placed=badly_placed,
        swapped=swapped,
        same_class=same_class,
        other_class=other_class,
    )


def _widened(boxes_xyxy: Boxes, space: float) -> Boxes:
    """Convert boxes to staff spaces, with sides of at least ``MIN_SIDE``."""
    centres = _centres(boxes_xyxy)
    half = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], MIN_SIDE * space) / 2
    return np.concatenate([centres - half, centres + half], axis=1) / space


def _centres(boxes_xyxy: Boxes) -> NDArray[np.float64]:
    return np.asarray((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2)


def _distances(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float64]:
    """Compute the distance of the centre of every box of ``a`` from that of every box of ``b``."""
    x, y = _centres(a_xyxy).T[:, :, None] - _centres(b_xyxy).T[:, None]
    return np.asarray(np.hypot(x, y))


def _ious(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float64]:
    """Compute the IoU of every box of ``a`` with every box of ``b``."""
    shared = np.ones((len(a_xyxy), len(b_xyxy)))
    for low, high in ((0, 2), (1, 3)):
        side = np.minimum(a_xyxy[:, high, None], b_xyxy[:, high])
        side -= np.maximum(a_xyxy[:, low, None], b_xyxy[:, low])
        shared *= side.clip(min=0)
    areas = [(box[:, 2:] - box[:, :2]).prod(axis=1) for box in (a_xyxy, b_xyxy)]
    return np.asarray(shared / (areas[0][:, None] + areas[1] - shared))


def _most_similar(
    similarity: NDArray[np.float64], is_eligible: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the most similar eligible column of each row, and its similarity; -1 without one."""
    if not similarity.shape[1]:
        return np.full(len(similarity), -1), np.full(len(similarity), -1.0)
    eligible = np.where(is_eligible, similarity, -1.0)
    column, best = eligible.argmax(axis=1), eligible.max(axis=1)
    return np.where(best < 0, -1, column), best
