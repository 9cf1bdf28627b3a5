"""Checks of all runs of a session before the first one starts: every fault is listed at once."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias, cast

import msgspec

from class_maps import OmrError
from eval.html.number_format import counted, memory
from omr.scoring.evaluation_set import Unit, read_evaluation_set
from omr.session import child
from omr.session.spec import Fault, PlannedRun, Scoring
from omr.session.trials import Trial, TrialDevices, TrialRequest

KEPT_COPIES = 4
"""Copies of the weights that a finished run keeps, in single precision."""
TRAINING_COPIES = 9
"""Further copies while a run is training: the resume state of four, and files that replace others."""
OF_NETWORK = frozenset({"model", "weights", "heads", "trust", "activation"})
"""Settings that only determine the network and its initial weights."""
TAIL_BYTES = 4096
"""Bytes at the end of a log that its last line is looked for in."""
Track: TypeAlias = Callable[[Iterable[Trial], int], Iterable[Trial]]
"""Wrapper around the trials that shows progress; the second argument is their number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """Outcome of the checks."""

    faults: tuple[Fault, ...]
    devices: tuple[str, ...]
    """Devices to train on, one run each; empty if no run was tried."""
    trials: tuple[Trial, ...]
    """One per group of runs."""


def check_runs(
    runs: Sequence[PlannedRun],
    scoring: Scoring,
    out: Path,
    *,
    devices: Sequence[str],
    track: Track,
) -> Preflight:
    """Check the runs that a session is going to train.

    The data, memory and one real step are tried once per group: other seeds do not change them.

    Args:
        runs: Runs without faults in their settings.
        scoring: Evaluation of all runs.
        out: Folder of the session, which need not exist.
        devices: Devices that the user chose; empty for all GPUs, or the CPU.
        track: Wrapper around the trials that shows progress.
    """
    if not runs:
        return Preflight(faults=(), devices=tuple(devices), trials=())
    first = {run.group: run for run in reversed(runs)}
    tried = [run for run in runs if first[run.group] is run]
    process = _TrialProcess([TrialRequest(run.name, {**run.settings}) for run in tried], devices)
    trials = list(track(process.trials(), len(tried)))
    faults = [Fault(run=one.name, problem=one.problem) for one in trials if one.problem]
    faults += _scoring_faults(scoring)
    faults += _same_networks(tried, trials)
    faults += _disk_faults(runs, tried, trials, out, len(process.devices))
    return Preflight(faults=tuple(faults), devices=tuple(process.devices), trials=tuple(trials))


class _TrialProcess:
    """Process that tries runs, started again after a run that kills it.

    Args:
        requests: Runs to try.
        devices: Devices that the user chose; empty for all.
    """

    def __init__(self, requests: Sequence[TrialRequest], devices: Sequence[str]) -> None:
        self._requests, self._chosen = [*requests], tuple(devices)
        self.devices: Sequence[str] = devices

    def trials(self) -> Iterator[Trial]:
        """Yield the outcome of each trial, in order."""
        remaining = self._requests
        while remaining:
            n_done = 0
            with tempfile.TemporaryFile() as log:
                for trial in self._answers(remaining, log):
                    n_done += 1
                    yield trial
                remaining = remaining[n_done:]
                if remaining:
                    yield Trial(name=remaining[0].name, problem=self._end(log))
                    remaining = remaining[1:]

    def _answers(self, requests: Sequence[TrialRequest], log: IO[bytes]) -> Iterator[Trial]:
        environment = child.environment_of(self._chosen, os.environ)
        pipe = subprocess.PIPE
        process = child.start([child.TRIALS], environment, log, stdin=pipe, stdout=pipe)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(msgspec.json.encode(requests))
            process.stdin.close()
            for line in process.stdout:
                if b'"devices"' in line[:12]:
                    seen = msgspec.json.decode(line, type=TrialDevices).devices
                    self.devices = self._chosen or seen
                else:
                    yield msgspec.json.decode(line, type=Trial)
        finally:
            process.kill()
            self._status = process.wait()

    def _end(self, log: IO[bytes]) -> str:
        """Describe the end of a process that did not answer."""
        return end_of(self._status, last_line(log))


def end_of(status: int, last_line: str) -> str:
    """Describe how a process ended that has failed.

    Args:
        status: Exit status, negative for a signal.
        last_line: Last line that it printed on stderr.
    """
    if status < 0:
        return f"its process was killed by signal {-status}, possibly because memory ran out"
    return last_line.removeprefix("error: ") or f"its process failed with exit status {status}"


def last_line(log: IO[bytes]) -> str:
    """Return the last line of an open file that is not blank."""
    log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
    lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _scoring_faults(scoring: Scoring) -> list[Fault]:
    """Report if the runs cannot be scored."""
    unit = cast("Unit | None", scoring.unit or None)
    try:
        evaluation = read_evaluation_set(Path(scoring.data), scoring.split, unit)
    except OmrError as error:
        return [Fault(run="", problem=f"eval: {error}")]
    if not any(len(page.labels) for page in evaluation.truths):
        problem = f"eval: {scoring.data}: no symbols in {scoring.split}; choose another split"
        return [Fault(run="", problem=problem)]
    return []


def _same_networks(runs: Sequence[PlannedRun], trials: Sequence[Trial]) -> list[Fault]:
    """Report groups that train the same network in the same way under different names."""
    faults: list[Fault] = []
    first: dict[tuple[str, str], str] = {}
    for run, trial in zip(runs, trials, strict=True):
        others = {k: v for k, v in run.recipe().items() if k not in OF_NETWORK}
        other = first.setdefault((trial.network, repr(sorted(others.items()))), run.name)
        if trial.network and other != run.name:
            problem = f"trains the same network as {other}, with the same other settings"
            faults.append(Fault(run=run.name, problem=problem))
    return faults


def _disk_faults(
    runs: Sequence[PlannedRun],
    tried: Sequence[PlannedRun],
    trials: Sequence[Trial],
    out: Path,
    n_devices: int,
) -> list[Fault]:
    """Report if the disk has no room for the weights of all runs."""
    weights = {run.group: one.weights_bytes for run, one in zip(tried, trials, strict=True)}
    needed = KEPT_COPIES * sum(weights[run.group] for run in runs)
    needed += TRAINING_COPIES * n_devices * max(weights.values())
    existing = next(path for path in (out, *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed <= free:
        return []
    return [
        Fault(
            run="",
            problem=f"{out}: the weights of {counted(len(runs), 'run', 'runs')} need about "
            f"{memory(needed)}, but only {memory(free)} are free on the disk",
        )
    ]
