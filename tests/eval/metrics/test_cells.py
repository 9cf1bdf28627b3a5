from pathlib import PurePosixPath

import numpy as np
import pytest

from converters.page import Page
from eval.metrics import cells
from eval.metrics.batches import evaluator_input
from eval.metrics.cells import shared_cells
from eval.metrics.other_protocols import voc_hits
from eval.metrics.thin_classes import centre_recall


def page(labels: list[int], *, predicted: bool) -> Page:
    corners = np.random.default_rng(len(labels)).integers(0, 40, (len(labels), 2))
    return Page(
        image=PurePosixPath("a.png"),
        width=100,
        height=100,
        boxes_xyxy=np.hstack((corners, corners + 20)).astype(float),
        labels=np.array(labels, np.int64),
        scores=np.linspace(1, 0, len(labels)) if predicted else None,
    )


DATA = evaluator_input([(page([0] * 4 + [1], predicted=False), page([0] * 7, predicted=True))], 3)


def test_classes_without_truths_or_predictions_are_not_shared() -> None:
    assert list(shared_cells(DATA.truths, DATA.predictions)) == [(slice(0, 4), slice(0, 7))]
    assert list(shared_cells(DATA.truths.only(DATA.truths.labels == 1), DATA.predictions)) == []


@pytest.mark.parametrize(("most_pairs", "step"), [(1, 1), (8, 2), (11, 2), (12, 3)])
def test_many_predictions_are_compared_in_parts(
    most_pairs: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures = centre_recall([DATA], 3), voc_hits(DATA).tolist()
    monkeypatch.setattr(cells, "MOST_PAIRS", most_pairs)
    parts = list(shared_cells(DATA.truths, DATA.predictions))
    assert parts == [(slice(0, 4), slice(i, min(i + step, 7))) for i in range(0, 7, step)]
    assert (centre_recall([DATA], 3), voc_hits(DATA).tolist()) == measures
