from pathlib import PurePosixPath

import numpy as np

from converters.page import Page
from eval.metrics.marking import marked_page


def page(rows: list[tuple[int, list[float], float]], *, with_scores: bool) -> Page:
    return Page(
        image=PurePosixPath("a.png"),
        width=100,
        height=100,
        boxes_xyxy=np.array([box for _, box, _ in rows], float).reshape(-1, 4),
        labels=np.array([label for label, _, _ in rows], np.int64),
        scores=np.array([score for _, _, score in rows]) if with_scores else None,
    )


def test_symbols_and_predictions_are_marked() -> None:
    truth = page(
        [(1, [50, 50, 60, 60], 0), (0, [10, 10, 20, 20], 0), (0, [30, 10, 40, 20], 0)],
        with_scores=False,
    )
    prediction = page(
        [
            (0, [10, 10, 20, 20], 0.9),
            (0, [11, 10, 21, 20], 0.8),  # finds the same symbol again
            (0, [30, 10, 40, 20], 0.4),  # below the threshold of its class
            (1, [50, 50, 60, 61], 0.4),
            (1, [80, 80, 90, 90], 0.6),
        ],
        with_scores=True,
    )
    marked = marked_page(truth, prediction, (0.5, 0.3), None)
    found = dict(zip(map(tuple, marked.truth.boxes_xyxy.tolist()), marked.is_found, strict=True))
    assert found == {(50, 50, 60, 60): True, (10, 10, 20, 20): True, (30, 10, 40, 20): False}
    right = dict(
        zip(map(tuple, marked.prediction.boxes_xyxy.tolist()), marked.is_right, strict=True)
    )
    assert right == {
        (10, 10, 20, 20): True,
        (11, 10, 21, 20): False,
        (50, 50, 60, 61): True,
        (80, 80, 90, 90): False,
    }


def test_a_page_without_symbols() -> None:
    nothing = page([], with_scores=True)
    marked = marked_page(page([], with_scores=False), nothing, (0.5,), None)
    assert (len(marked.is_found), len(marked.is_right)) == (0, 0)
