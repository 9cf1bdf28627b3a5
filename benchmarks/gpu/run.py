"""Runs every step of the GPU run within its time limit: ``python -m benchmarks.gpu.run OUT``.

OUT gets ``gpu.json`` and ``table.md``, rewritten after every step, ``log.txt`` with the output of
all steps, and the weights of the last one. A failing step does not stop the next one. Exit status:
0 if every step was completed, whether or not its goals were met.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from benchmarks.gpu import report
from benchmarks.gpu.machine import machine
from benchmarks.gpu.results import read_results

TOTAL_S = 540
SMALL_TOTAL_S = 270
MARGIN_S = 10
"""Seconds reserved for the end of the run."""
GRACE_S = 5
"""Seconds between terminating and killing a step, and between killing and abandoning it."""
SPARE_S = {"tests": 15}
"""Seconds that a step needs to end by itself; default: ``GRACE_S``."""
PERIOD_S = 5.0
"""Seconds between updates with the results of the running step."""

Status = Literal["running", "done", "failed", "out of time", "not started"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Part of the run, executed in a separate process."""

    name: str
    """Key in ``report.STEP_TITLES``, and default module name."""
    limit_s: int
    small_limit_s: int
    needs_data: bool = False


STEPS = (
    Step(name="tests", limit_s=100, small_limit_s=90),
    Step(name="assigner", limit_s=60, small_limit_s=30),
    Step(name="memory", limit_s=70, small_limit_s=60),
    Step(name="throughput", limit_s=75, small_limit_s=75, needs_data=True),
    Step(name="prediction", limit_s=30, small_limit_s=30, needs_data=True),
    Step(name="learning", limit_s=240, small_limit_s=60, needs_data=True),
)
MODULES = {"tests": "device_tests"}
"""Modules whose name differs from that of their step."""
TRAINING_S = 180
SMALL_TRAINING_S = 15
"""Seconds of training in the last step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Options of the run."""

    out: Path
    small: bool
    device: str
    commit: str
    patience: float
    only: tuple[str, ...]


def options_of(arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for results, created if missing")
    parser.add_argument("--small", action="store_true", help="short form that a CPU can run")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda; cpu if --small")
    parser.add_argument("--commit", default="", help="shown in the report; default: git's HEAD")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="factor of all time limits, for slow machines"
    )
    parser.add_argument("--only", nargs="+", default=[], choices=[step.name for step in STEPS])
    values = parser.parse_args(arguments)
    return Options(
        out=values.out,
        small=values.small,
        device=values.device or ("cpu" if values.small else "cuda"),
        commit=values.commit,
        patience=values.patience,
        only=tuple(values.only),
    )


def command_of(step: Step, options: Options, work: Path, limit_s: int) -> list[str]:
    """Build the command of a step.

    Args:
        step: Step from ``STEPS``.
        options: Options of the run.
        work: Folder with the data and the results files.
        limit_s: Seconds until the step is killed.
    """
    module, spare = MODULES.get(step.name, step.name), SPARE_S.get(step.name, GRACE_S)
    command = [sys.executable, "-m", f"benchmarks.gpu.{module}", "--device", options.device]
    command += ["--out", str(work / f"{step.name}.json"), "--limit", str(limit_s - spare)]
    if options.small:
        command += ["--small"]
    if step.needs_data:
        command += ["--work", str(work)]
    if step.name == "learning":
        wanted = SMALL_TRAINING_S if options.small else TRAINING_S
        command += ["--weights", str(options.out), "--seconds", str(wanted)]
    return command


class Run:
    """State of a run, and the files that show it.

    Args:
        options: Options of the run.
        work: Folder for data and results files.
        log: File for the output of all steps.
    """

    def __init__(self, options: Options, work: Path, log: IO[str]) -> None:
        self.options, self.work, self.log = options, work, log
        total_s = SMALL_TOTAL_S if options.small else TOTAL_S
        self.deadline = time.monotonic() + total_s * options.patience
        self.content: dict[str, Any] = {
            "machine": machine(options.device, options.commit),
            "small": options.small,
            "steps": {},
        }

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start a process in a separate process group, so that its children end with it."""
        self.log.write(f"$ {' '.join(command)}\n")
        self.log.flush()
        return subprocess.Popen(
            command,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env=os.environ | {"YOLO_CONFIG_DIR": str(self.work), "PYTHONUNBUFFERED": "1"},
        )

    def limit_s(self, step: Step) -> float:
        """Compute the time limit of a step in seconds."""
        limit = step.small_limit_s if self.options.small else step.limit_s
        return limit * self.options.patience

    def left_s(self) -> float:
        """Compute the seconds until the end of the whole run."""
        return self.deadline - time.monotonic() - MARGIN_S

    def step(self, step: Step) -> None:
        """Run a step, and update the files."""
        begin = time.monotonic()
        limit = int(min(self.limit_s(step), self.left_s()))
        status: Status = "not started"
        if limit > GRACE_S:
            process = self.start(command_of(step, self.options, self.work, limit))
            try:
                status = self.wait(process, step, begin + limit)
            except BaseException:  # Ctrl-C does not reach its process group
                stop(process)
                raise
        self.record(step.name, status, time.monotonic() - begin)
        print(
            f"{report.STEP_TITLES[step.name]}: {status} after {time.monotonic() - begin:.0f} s",
            flush=True,
        )

    def wait(self, process: subprocess.Popen[str], step: Step, until: float) -> Status:
        """Wait for a step, and write its results meanwhile in case this process is killed."""
        begin = time.monotonic()
        while time.monotonic() + PERIOD_S < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PERIOD_S)
                break
            self.record(step.name, "running", time.monotonic() - begin)
        return wait_for(process, until - time.monotonic())

    def record(self, name: str, status: Status, seconds: float) -> None:
        """Record the state of a step, with the results that it has written."""
        self.content["steps"][name] = {
            "status": status,
            "seconds": round(seconds),
            **read_results(self.work / f"{name}.json"),
        }
        self.write()

    def write(self) -> None:
        """Write ``gpu.json`` and ``table.md``."""
        report.write(self.content, self.options.out)


class Data:
    """Process that creates the data for the last steps while the first one runs.

    Args:
        state: State of the run.
        folder: Folder for the data.
    """

    def __init__(self, state: Run, folder: str) -> None:
        command = [sys.executable, "-m", "benchmarks.gpu.data", folder]
        command += ["--workers", str(max(1, (os.cpu_count() or 1) // 2))]  # the tests need cores
        self.process = state.start(command + (["--small"] if state.options.small else []))
        self._state = state
        self._until = time.monotonic() + state.limit_s(STEPS[0])

    def record(self) -> None:
        """Stop the process, and record its progress."""
        status: Status = "out of time"
        if self.process.poll() is not None:
            status = "done" if self.process.returncode == 0 else "failed"
        stop(self.process)
        (table,) = read_results(self._state.work / "data.json")["tables"] or [{"rows": []}]
        self._state.record("data", status, sum(seconds for *_, seconds in table["rows"]))

    def wait(self) -> None:
        """Wait until the data is complete, or the time of the first step is up.

        The following steps measure time, and the process would disturb them.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(self._until - time.monotonic(), 0))


def wait_for(process: subprocess.Popen[str], limit_s: float) -> Status:
    """Wait for a process, and terminate it with its children at the time limit."""
    try:
        process.wait(max(limit_s, 0))
    except subprocess.TimeoutExpired:
        stop(process)
        return "out of time"
    return "done" if process.returncode == 0 else "failed"


def stop(process: subprocess.Popen[str]) -> None:
    """Terminate a process and its children, and then kill them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(GRACE_S)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def run(options: Options) -> bool:
    """Run the steps, and return whether all of them were completed."""
    options.out.mkdir(parents=True, exist_ok=True)
    steps = [step for step in STEPS if step.name in options.only or not options.only]
    with (
        tempfile.TemporaryDirectory(prefix="omr-gpu-", ignore_cleanup_errors=True) as folder,
        (options.out / "log.txt").open("w", encoding="utf-8") as log,
    ):
        state = Run(options, Path(folder), log)
        data = Data(state, folder) if any(step.needs_data for step in steps) else None
        try:
            for step in steps:
                state.step(step)
                if data is not None:
                    data.wait()
        finally:
            if data is not None:
                data.record()
    print(f"\n{(options.out / report.TABLE_FILE).read_text('utf-8')}")
    results: list[dict[str, Any]] = [*state.content["steps"].values()]
    return all(step["status"] == "done" for step in results)


def main() -> None:
    """Run all steps, and print the tables."""
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # handle like Ctrl-C, which ends the steps
    sys.exit(0 if run(options_of()) else 1)


if __name__ == "__main__":
    main()
