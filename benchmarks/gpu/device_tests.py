"""Tests marked ``gpu``, run on a device, with every outcome written immediately.

    python -m benchmarks.gpu.device_tests --out tests.json [--small] [--device cpu] [--limit 90]

Exit status: 0 if every test passed, otherwise 1, including when the time limit is reached.
"""

import argparse
import importlib.util
import os
import signal
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest

from benchmarks.gpu.results import Results

ROOT = Path(__file__).parents[2]
GOAL = "all tests pass"
MOST_PROCESSES = 8
"""Number of processes. Each has a CUDA context, which takes some seconds and half a GiB."""
CORES_PER_PROCESS = 2
MESSAGE_LINES = 14
"""Number of last lines kept of a failure."""


class Recorder:
    """Pytest plugin that writes the outcomes to a results file, one row per test function.

    Args:
        results: File to write.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self.n_collected = 0
        self.outcomes: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        self.running: dict[str, str] = {}
        """Current outcome of each case that is running."""
        self._rows: dict[str, int] = {}
        self._table = results.table(
            "Tests on the device", ("test", "passed", "failed", "skipped", "s")
        )
        self.update_goal()

    @property
    def passed(self) -> bool:
        """Whether every collected test has passed."""
        return 0 < self.n_collected == self.outcomes["passed"]

    def update_goal(self) -> None:
        """Update the goal with the current counts."""
        counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(self.outcomes.items()))
        figure = f"{counts or 'none run'} of {self.n_collected}"
        self.results.goals.clear()
        self.results.goal(GOAL, figure, self.passed)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests where one process runs them."""
        self.n_collected = max(self.n_collected, len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        """Count the tests where several processes run them."""
        self.n_collected = len(ids)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record a test module that cannot be imported."""
        if report.failed:
            self._note(report)
            self._count(report.nodeid or "collection", "failed")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Record that a test begins."""
        self.running[nodeid] = "passed"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the worst outcome of a test's phases."""
        if report.failed:
            self._note(report)
        if report.outcome != "passed" and self.running.get(report.nodeid) != "failed":
            self.running[report.nodeid] = report.outcome
        function, *_ = report.nodeid.partition("[")
        self._add_seconds(function, report.duration)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Record that a test has ended."""
        function, *_ = nodeid.partition("[")
        self._count(function, self.running.pop(nodeid, "failed"))

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Count a warning by its text and location."""
        path = Path(warning_message.filename)
        source = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(*path.parts[-3:])
        text = " ".join(str(warning_message.message).split())[:160]
        self.warnings[f"{source}:{warning_message.lineno}: {text}"] += 1

    def _row(self, function: str) -> list[Any]:
        """Return the row of a test function, which is created at its first case."""
        if function not in self._rows:
            self._rows[function] = len(self._table.rows)
            self._table.rows.append([function.removeprefix("tests/gpu/"), 0, 0, 0, 0.0])
        return cast("list[Any]", self._table.rows[self._rows[function]])

    def _add_seconds(self, function: str, seconds: float) -> None:
        row = self._row(function)
        row[-1] = round(row[-1] + seconds, 2)

    def _count(self, function: str, outcome: str) -> None:
        self.outcomes[outcome] += 1
        self._row(function)[self._table.columns.index(outcome)] += 1
        self.update_goal()

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        lines = [line for line in report.longreprtext.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("E ")] or lines
        text = "\n".join([*errors[:MESSAGE_LINES], *lines[-1:]])
        self.results.note(f"{report.nodeid.removeprefix('tests/gpu/')} failed:\n{text}")


def arguments_of(device: str, *, small: bool) -> list[str]:
    """Build the arguments of pytest.

    Args:
        device: ``cuda`` or ``cpu``.
        small: Whether to test the smallest models only.
    """
    marks = "gpu and not slow" if small else "gpu"
    arguments = [
        str(ROOT / "tests" / "gpu"),
        f"--rootdir={ROOT}",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    arguments += ["-m", marks, "--gpu-device", device, "-q", "--tb=short", "-p", "no:cacheprovider"]
    # Warnings and plugins of the machine's packages must not stop a run.
    arguments += ["-W", "default", "-p", "no:benchmark"]
    n_processes = min(MOST_PROCESSES, len(os.sched_getaffinity(0)) // CORES_PER_PROCESS)
    if n_processes > 1 and importlib.util.find_spec("xdist"):
        # The duration of tests in a file varies by a factor of a hundred.
        arguments += ["-n", str(n_processes), "--dist", "worksteal"]
    return arguments


def stop_after(seconds: float) -> None:
    """End the tests after a number of seconds, like Ctrl-C; 0 for no limit."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(f"time limit of {seconds:g} s")

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def main(arguments: list[str] | None = None) -> int:
    """Run the tests, and write their outcomes.

    Args:
        arguments: Command-line arguments; None for those of the process.

    Returns:
        Exit status.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--small", action="store_true", help="smallest models only")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--limit", type=float, default=0.0, help="seconds; 0: none")
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    recorder = Recorder(Results(options.out))
    stop_after(options.limit)
    try:
        status = pytest.main(arguments_of(options.device, small=options.small), plugins=[recorder])
    except KeyboardInterrupt:  # before pytest handles it itself
        status = pytest.ExitCode.INTERRUPTED
    signal.setitimer(signal.ITIMER_REAL, 0)
    finish(recorder, int(status), time.monotonic() - begin)
    return 0 if status == 0 and recorder.passed else 1


def finish(recorder: Recorder, status: int, seconds: float) -> None:
    """Write the notes about the whole run."""
    results = recorder.results
    if recorder.running:
        results.note(f"Not over at the end: {', '.join(sorted(recorder.running))}")
    ending = "" if status in (0, 1) else f", ended early (pytest's exit status {status})"
    results.note(f"{sum(recorder.outcomes.values())} tests in {seconds:.0f} s{ending}")
    if recorder.warnings:
        lines = [f"{n} x {text}" for text, n in recorder.warnings.most_common(20)]
        results.note("Warnings:\n" + "\n".join(lines))
    recorder.update_goal()


if __name__ == "__main__":
    sys.exit(main())
