from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pytest

from converters.page import Page, Rows

PAGE = Page(
    image=PurePosixPath("a.png"),
    width=100,
    height=50,
    boxes_xyxy=np.arange(12.0).reshape(3, 4),
    labels=np.array([4, 5, 6]),
    corners=np.arange(24.0).reshape(3, 4, 2),
    symbol_ids=np.array([7, 8, 9]),
    cut=np.array([False, True, False]),
    scores=np.array([0.9, 0.8, 0.7]),
    staff_space=12.0,
    n_annotations=5,
)


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        (slice(0), []),
        (np.array([], np.int64), []),
        (np.array([False, False, False]), []),
        (np.array([True, False, True]), [7, 9]),
        (np.array([2, 0]), [9, 7]),
        (slice(2), [7, 8]),
    ],
)
def test_a_selection_of_symbols(rows: Rows, ids: list[int]) -> None:
    page = PAGE.only(rows)
    assert page.symbol_ids is not None
    assert page.symbol_ids.tolist() == ids
    for name in ("boxes_xyxy", "labels", "corners", "cut", "scores"):
        np.testing.assert_array_equal(getattr(page, name), getattr(PAGE, name)[rows])
    assert (page.image, page.staff_space, page.n_annotations) == (PAGE.image, 12.0, 5)


def test_arrays_that_a_page_lacks_stay_absent() -> None:
    page = replace(PAGE, corners=None, symbol_ids=None, cut=None, scores=None).only(slice(1))
    assert (page.corners, page.symbol_ids, page.cut, page.scores) == (None, None, None, None)
    assert page.labels.tolist() == [4]


def test_arrays_of_different_lengths() -> None:
    message = r"^scores must have shape \(3,\) to match labels, got \(2,\)$"
    with pytest.raises(ValueError, match=message):
        replace(PAGE, scores=np.zeros(2))


@pytest.mark.parametrize(("n_classes", "label"), [(0, 4), (5, 5)])
def test_invalid_labels(n_classes: int, label: int) -> None:
    PAGE.check_labels(7)
    with pytest.raises(
        ValueError, match=f"^label {label} is not one of {n_classes} classes: a.png"
    ):
        PAGE.check_labels(n_classes)
