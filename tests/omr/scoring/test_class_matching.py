from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pytest

from converters.page import Page
from converters.tracking import untracked
from omr.scoring.class_matching import match_classes, relabel


def prediction(labels: Sequence[int]) -> Page:
    n = len(labels)
    return Page(
        image=PurePosixPath("a.png"),
        width=100,
        height=100,
        boxes_xyxy=np.arange(4.0 * n).reshape(n, 4),
        labels=np.array(labels, dtype=np.int64),
        scores=np.linspace(0.9, 0.5, n),
    )


@pytest.mark.parametrize(
    ("labels", "weight_names", "data_names", "rows", "new_labels"),
    [
        pytest.param([], ("stem", "clef"), ("clef",), [], [], id="no symbols"),
        pytest.param([1, 0], ("stem", "clef"), ("stem", "clef"), [0, 1], [1, 0], id="same"),
        pytest.param([1, 0], ("stem", "clef"), ("clef", "stem"), [0, 1], [0, 1], id="reordered"),
        pytest.param([2, 1, 0], ("dog", "stem", "cat"), ("stem",), [1], [0], id="other classes"),
        pytest.param([0], ("dog",), ("stem",), [], [], id="nothing in common"),
    ],
)
def test_relabel(
    labels: list[int],
    weight_names: tuple[str, ...],
    data_names: tuple[str, ...],
    rows: list[int],
    new_labels: list[int],
) -> None:
    page = prediction(labels)
    relabelled = relabel(page, weight_names, data_names)
    assert relabelled.labels.tolist() == new_labels
    assert page.scores is not None
    assert relabelled.scores is not None
    assert np.array_equal(relabelled.boxes_xyxy, page.boxes_xyxy[rows])
    assert np.array_equal(relabelled.scores, page.scores[rows])


def test_only_the_best_predictions_of_known_classes_are_kept() -> None:
    """Classes that the data set lacks do not use up the limit."""
    pages = [prediction([1, 1, 0, 0, 0]), prediction([0])]
    matched = match_classes(
        pages, 2, ("stem", "dog"), ("clef", "stem"), max_det=2, track=untracked, unlabelled={}
    )
    assert [page.labels.tolist() for page in matched.pages] == [[1, 1], [1]]
    assert matched.pages[0].boxes_xyxy.tolist() == pages[0].boxes_xyxy[2:4].tolist()
    assert (matched.n_ignored, matched.n_at_max_det) == (2, 1)
    assert (matched.ignored_classes, matched.missing_classes) == (("dog",), ("clef",))
