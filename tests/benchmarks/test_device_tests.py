"""Outcomes of the GPU tests on disk."""

import warnings
from pathlib import Path
from typing import Any, Literal

import pytest

from benchmarks.gpu.device_tests import GOAL, Recorder, finish
from benchmarks.gpu.results import Results, read_results

Outcome = Literal["passed", "failed", "skipped"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tests.json"


@pytest.fixture
def recorder(file: Path) -> Recorder:
    return Recorder(Results(file))


def run(recorder: Recorder, name: str, *phases: tuple[str, Outcome], message: str = "") -> None:
    """Report the phases of a test of half a second each."""
    nodeid = f"tests/gpu/{name}"
    recorder.pytest_runtest_logstart(nodeid)
    for when, outcome in phases:
        recorder.pytest_runtest_logreport(
            pytest.TestReport(
                nodeid=nodeid,
                location=("", 0, ""),
                keywords={},
                outcome=outcome,
                longrepr=message if outcome == "failed" else None,
                when=when,  # type: ignore[arg-type]
                duration=0.5,
            )
        )
    recorder.pytest_runtest_logfinish(nodeid)


def state(file: Path) -> tuple[list[Any], dict[str, Any], list[str]]:
    """Read rows, goal and notes from disk."""
    content = read_results(file)
    [goal] = content["goals"]
    return content["tables"][0]["rows"], goal, content["notes"]


GOOD: tuple[tuple[str, Outcome], ...] = (
    ("setup", "passed"),
    ("call", "passed"),
    ("teardown", "passed"),
)


def test_no_tests_do_not_meet_the_goal(recorder: Recorder, file: Path) -> None:
    finish(recorder, 5, 1.2)
    rows, goal, notes = state(file)
    assert rows == []
    assert goal == {"name": GOAL, "figure": "none run of 0", "met": False}
    assert notes == ["0 tests in 1 s, ended early (pytest's exit status 5)"]


def test_cases_of_a_function_are_summed_up(recorder: Recorder, file: Path) -> None:
    recorder.pytest_xdist_node_collection_finished(None, ["a", "b", "c"])
    run(recorder, "test_a.py::test_one[x-1]", *GOOD)
    run(recorder, "test_b.py::test_two", *GOOD)
    assert state(file)[1]["met"] is False, "one is missing"
    run(recorder, "test_a.py::test_one[y]", *GOOD)
    rows, goal, _ = state(file)
    assert rows == [["test_a.py::test_one", 2, 0, 0, 3.0], ["test_b.py::test_two", 1, 0, 0, 1.5]]
    assert goal == {"name": GOAL, "figure": "3 passed of 3", "met": True}


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_a_failure_counts_once_and_keeps_its_message(
    when: str, recorder: Recorder, file: Path
) -> None:
    recorder.pytest_xdist_node_collection_finished(None, ["a"])
    phases = [(name, "failed" if name == when else "passed") for name, _ in GOOD]
    message = "x = 1\nE   AssertionError: 3 of 9 differ\nE     0: box 1, expected 2\na.py:7: Error"
    run(recorder, "test_a.py::test_one", *phases, message=message)  # type: ignore[arg-type]
    rows, goal, notes = state(file)
    assert rows == [["test_a.py::test_one", 0, 1, 0, 1.5]]
    assert (goal["figure"], goal["met"]) == ("1 failed of 1", False)
    assert notes == [
        "test_a.py::test_one failed:\nE   AssertionError: 3 of 9 differ\n"
        "E     0: box 1, expected 2\na.py:7: Error"
    ]


def test_skipped_tests_do_not_meet_the_goal(recorder: Recorder, file: Path) -> None:
    recorder.pytest_xdist_node_collection_finished(None, ["a"])
    run(recorder, "test_a.py::test_one", ("setup", "skipped"), ("teardown", "passed"))
    rows, goal, _ = state(file)
    assert rows == [["test_a.py::test_one", 0, 0, 1, 1.0]]
    assert (goal["figure"], goal["met"]) == ("1 skipped of 1", False)


def test_the_end_names_running_tests_and_warnings(recorder: Recorder, file: Path) -> None:
    recorder.pytest_runtest_logstart("tests/gpu/test_a.py::test_long")
    for _ in range(2):
        message = warnings.WarningMessage("not\n  deterministic", UserWarning, "/x/a/b/c.py", 7)
        recorder.pytest_warning_recorded(message)
    finish(recorder, 2, 90.4)
    assert state(file)[2] == [
        "Not over at the end: tests/gpu/test_a.py::test_long",
        "0 tests in 90 s, ended early (pytest's exit status 2)",
        "Warnings:\n2 x a/b/c.py:7: not deterministic",
    ]
