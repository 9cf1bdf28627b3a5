from dataclasses import replace
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.crowded_pages import crowded_pages
from converters.page import Page
from eval.metrics.backends import BACKENDS, Backend, EvaluatorInput, run
from eval.metrics.batches import evaluator_input
from eval.metrics.coco import evaluate
from eval.metrics.errors import classified
from eval.metrics.hits import find_hits, read_hits
from eval.metrics.matching import pair_pages
from eval.metrics.slices import (
    SIZE_LIMITS,
    density_groups,
    head_slices,
    page_slices,
    size_matches,
    size_slices,
)
from eval.reports.evaluation import Slice

NAMES = tuple("abcdefg")
TRUTHS, PREDICTIONS, _ = crowded_pages(
    n_pages=5, n_truths=60, n_predictions=90, n_classes=len(NAMES), seed=1
)
DATA = evaluator_input(pair_pages(TRUTHS, PREDICTIONS, len(NAMES)), len(NAMES))
FONTS = ["Leland", "Bravura", "Leland", "Petaluma", "Bravura"]


def test_slices_of_pages_are_scored_like_sets_of_their_own() -> None:
    slices = page_slices(find_hits([DATA]), [{"font": font} for font in FONTS])
    assert [row.value for row in slices] == ["Bravura", "Leland", "Petaluma"]
    for row in slices:
        members = [i for i, font in enumerate(FONTS) if font == row.value]
        report = evaluate([TRUTHS[i] for i in members], [PREDICTIONS[i] for i in members], NAMES)
        assert (row.n_pages, row.n_truths) == (len(members), 60 * len(members))
        assert row.macro_ap50 == pytest.approx(report.macro.ap50, abs=1e-12)
        assert row.instance_weighted_ap50 == pytest.approx(report.instance_weighted.ap50, abs=1e-12)


def test_slices_of_pages_agree_with_hotcoco() -> None:
    slices = page_slices(find_hits([DATA]), [{"font": font} for font in FONTS])
    images = {font: [i for i, other in enumerate(FONTS) if other == font] for font in FONTS}
    expected = run(DATA).slice_by(images)
    for row in slices:
        assert row.macro_ap50 == pytest.approx(expected[row.value]["AP50"], abs=1e-12)


def test_dimensions_and_pages_without_a_value() -> None:
    groups = [{"font": "B", "writer": "2"}, {}, {"writer": "10"}, {"font": "A"}, {"writer": "2"}]
    slices = page_slices(find_hits([DATA]), groups)
    assert [(row.dimension, row.value, row.n_pages) for row in slices] == [
        ("font", "A", 1),
        ("font", "B", 1),
        ("writer", "2", 2),
        ("writer", "10", 1),
    ]
    assert page_slices(find_hits([DATA]), [{}] * 5) == ()
    assert page_slices(find_hits([evaluator_input([], 2)]), []) == ()


def test_slice_without_truths() -> None:
    empty = TRUTHS[0].only(slice(0))
    hits = find_hits([evaluator_input([(empty, replace(empty, scores=np.empty(0)))], 2)])
    (row,) = page_slices(hits, [{"font": "A"}])
    assert row == Slice(
        dimension="font",
        value="A",
        n_pages=1,
        n_truths=0,
        macro_ap50=None,
        instance_weighted_ap50=None,
    )


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param([], [], id="no pages"),
        pytest.param([7], ["7 symbols"], id="one page"),
        pytest.param([5, 9, 1], ["1-9 symbols"] * 3, id="too few to divide"),
        pytest.param([9, 5, 1, 6], ["6-9 symbols", "1-5 symbols"] * 2, id="two groups"),
        pytest.param([1, 3, 3, 4], ["1 symbols", *["3-4 symbols"] * 3], id="equal at the limit"),
        pytest.param([4] * 30, ["4 symbols"] * 30, id="equal"),
    ],
)
def test_densities(counts: list[int], expected: list[str]) -> None:
    assert sorted(density_groups(np.array(counts, np.int64))) == sorted(expected)


def test_deciles() -> None:
    names = density_groups(np.arange(1, 41))
    assert names[:5] == ["1-4 symbols"] * 4 + ["5-8 symbols"]
    assert len(set(names)) == 10


def test_heads() -> None:
    n_truths = np.array([[2, 0, 0, 0], [2, 1, 0, 0]])
    heads = {"notes": [0, 1], "clefs": [2], "rests": []}
    notes, clefs, rests = head_slices([0.5, 1.0, None, None], n_truths, heads)
    assert notes == Slice(
        dimension="head",
        value="notes",
        n_pages=2,
        n_truths=5,
        macro_ap50=0.75,
        instance_weighted_ap50=0.6,
    )
    for row in (clefs, rests):
        assert (row.n_pages, row.n_truths) == (0, 0)
        assert (row.macro_ap50, row.instance_weighted_ap50) == (None, None)


def sized(widths: list[float], *, predicted: bool = False) -> Page:
    return Page(
        image=PurePosixPath("a.png"),
        width=1000,
        height=1000,
        boxes_xyxy=np.array([(100 * i, 0, 100 * i + w, 4) for i, w in enumerate(widths)], float),
        labels=np.zeros(len(widths), np.int64),
        scores=np.linspace(0.9, 0.5, len(widths)) if predicted else None,
    )


def sized_slices(
    data: EvaluatorInput, spaces: list[float | None], backend: Backend = "hotcoco"
) -> tuple[Slice, ...]:
    found = read_hits(run(data, backend, iou_thresholds=[0.5]), data)
    n_candidates = classified(data, found).n_candidates
    return size_slices([size_matches(data, found, n_candidates, spaces, backend)])


@given(seed=st.integers(0, 10**6))
def test_sizes_are_those_of_cocos_areas(seed: int) -> None:
    """Many predictions could find several symbols, of which some have another size."""
    rng = np.random.default_rng(seed)
    truth, prediction = (
        replace(sized([1] * n, predicted=predicted), labels=rng.integers(0, 2, n))
        for n, predicted in ((15, False), (25, True))
    )
    for page in (truth, prediction):
        n = len(page.labels)
        corners, sides = rng.integers(0, 4, (n, 2)), rng.integers(8, 13, (n, 2))
        page.boxes_xyxy[:] = np.hstack((corners, corners + sides))
    data = evaluator_input([(truth, prediction)], 2)
    tables = data.truths, data.predictions
    longer = [(table.boxes_xyxy[:, 2:] - table.boxes_xyxy[:, :2]).max(axis=1) for table in tables]
    ranges = [(low, float(np.nextafter(high, low))) for low, high in pairwise(SIZE_LIMITS)]
    areas = longer[0] / 10, longer[1] / 10
    evaluator = run(replace(data, areas=areas), iou_thresholds=[0.5], area_ranges=ranges)
    ap = evaluator.eval["precision"][0, :, :, :, 0].mean(axis=0)  # (C, sizes)
    expected = [row[row >= 0].mean() for row in ap.T if (row >= 0).any()]
    slices = sized_slices(data, [10.0])
    assert [row.macro_ap50 for row in slices] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sizes(backend: Backend) -> None:
    # In staff spaces of 10 px: .4 is found, .9 is missed (IoU .1), 1 is found, 5 is found. The
    # last prediction, of .4, is false.
    truth, prediction = sized([4, 9, 10, 50]), sized([4, 90, 10, 50, 4], predicted=True)
    prediction = replace(prediction, scores=np.array([0.8, 0.7, 0.6, 0.5, 0.9]))
    slices = sized_slices(evaluator_input([(truth, prediction)], 2), [10.0], backend)
    assert [(row.value, row.n_truths, row.macro_ap50) for row in slices] == [
        ("0-0.5 staff spaces", 1, pytest.approx(0.5)),
        ("0.5-1 staff spaces", 1, 0),
        ("1-2 staff spaces", 1, pytest.approx(1)),  # the false prediction has another size
        ("4 staff spaces or more", 1, pytest.approx(0.5)),
    ]
    assert {(row.dimension, row.n_pages) for row in slices} == {("size", 1)}


@pytest.mark.parametrize("space", [None, 0.0])
def test_unknown_staff_space(space: float | None) -> None:
    data = evaluator_input([(sized([4]), sized([4], predicted=True))], 1)
    assert sized_slices(data, [space]) == ()
    assert sized_slices(evaluator_input([], 1), []) == ()
