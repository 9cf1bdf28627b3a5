"""Pure parts of the prediction benchmark, with values computed by hand."""

import time
from pathlib import PurePosixPath
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import predict, timing
from benchmarks.sliced_prediction import as_page
from benchmarks.timing import Cost, Phases, alternate
from converters.page import Page
from converters.prepare.tiles import TileOptions
from reading.merging import merge
from reading.page_reader import PreparedPage
from reading.tiling import TileGrid

HALF = PreparedPage(
    name=PurePosixPath("page.png"),
    width=400,
    height=600,
    factors=(0.5, 0.5),
    dewarping=None,
    pixels=np.full((300, 200, 3), 255, np.uint8),
    grid=TileGrid.of(np.ones((300, 200), np.bool_), TileOptions(size=64, overlap=19)),
    staff_space=None,
    remarks=(),
)
"""A page that was scaled by a half."""


def truth(boxes_xyxy: list[list[float]]) -> Page:
    return Page(
        image=HALF.name,
        width=400,
        height=600,
        boxes_xyxy=np.array(boxes_xyxy, float).reshape(-1, 4),
        labels=np.arange(len(boxes_xyxy)),
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still until a test moves it."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "process_time", lambda: clock.now)
    monkeypatch.setattr(time, "perf_counter", lambda: 10 * clock.now)
    return clock


def test_the_fastest_round_counts(clock: SimpleNamespace) -> None:
    left = {"a": [3.0, 1.0, 2.0], "b": [5.0, 6.0, 4.0]}
    order: list[str] = []

    def task(name: str) -> None:
        order.append(name)
        clock.now += left[name].pop(0)

    costs = alternate({"a": lambda: task("a"), "b": lambda: task("b")}, 3)
    assert costs == {"a": Cost(wall_s=10, cpu_s=1), "b": Cost(wall_s=40, cpu_s=4)}
    assert order == ["a", "b"] * 3


def test_a_phase_excludes_the_phases_that_it_calls(clock: SimpleNamespace) -> None:
    def inner() -> None:
        clock.now += 5

    def outer() -> None:
        clock.now += 1
        module.inner()
        clock.now += 2

    module = SimpleNamespace(inner=inner, outer=outer)
    phases = Phases(outermost="rest")
    with phases.watching({"in": (module, "inner"), "out": (module, "outer")}):
        module.outer()
        clock.now += 10
        module.inner()
    assert phases.seconds == {"in": 10, "out": 3, "rest": 10}
    assert module.inner is inner
    assert timing.measured(module.outer) == Cost(wall_s=80, cpu_s=8)


@pytest.mark.parametrize(
    ("boxes_xyxy", "n", "n_pieces", "height"),
    [
        ([], 10, 0, 300),
        ([[10, 10, 40, 40]], 1, 1, 300),
        ([[10, 10, 40, 40], [100, 100, 140, 140]], 9, 9, 600),
    ],
    ids=["no symbols", "one piece", "several pages"],
)
def test_pieces_to_merge(boxes_xyxy: list[list[float]], n: int, n_pieces: int, height: int) -> None:
    pieces, grid = predict.pieces_of(HALF, truth(boxes_xyxy), n)
    assert len(pieces.labels) == n_pieces
    assert (grid.width, grid.height) == (200, height)
    boxes, labels, _ = merge(pieces, grid)
    expected = truth(boxes_xyxy).boxes_xyxy[labels] / 2
    offsets = (boxes[:, 1] - expected[:, 1]).round(-1)
    assert set((offsets % 300).tolist()) <= {0}
    assert np.abs(boxes[:, [0, 2]] - expected[:, [0, 2]]).max(initial=0) < 3


def test_overhead_is_relative_to_the_network() -> None:
    row = predict._throughput_row(
        Cost(wall_s=5.0, cpu_s=9.0), Cost(wall_s=4.0, cpu_s=6.0), n_pages=10
    )
    assert row == ["2.00", "0.50", "25%", "0.90", "50%"]


def test_tables() -> None:
    assert predict.table(("a", "b"), []) == "| a | b |\n| --- | --- |\n"
    assert predict.table(("a",), [["1"]]) == "| a |\n| --- |\n| 1 |\n"


def test_objects_of_sahi_become_a_page_in_its_original_size() -> None:
    one = SimpleNamespace(
        bbox=SimpleNamespace(to_xyxy=lambda: [1.0, 2.0, 3.0, 4.0]),
        category=SimpleNamespace(id=7),
        score=SimpleNamespace(value=0.5),
    )
    assert len(as_page([], HALF).labels) == 0
    page = as_page([one], HALF)
    assert (page.width, page.height) == (400, 600)
    assert page.boxes_xyxy.tolist() == [[2.0, 4.0, 6.0, 8.0]]
    assert page.labels.tolist() == [7]
    assert page.scores is not None
    assert page.scores.tolist() == [0.5]
