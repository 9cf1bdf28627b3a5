"""Trainings that are killed at random moments and resumed: do they end with the same weights?

    python -m benchmarks.training_kills --moments 20

A run is killed with SIGKILL at a moment drawn evenly from the CPU time that it takes, and its
resumption likewise from the remaining time; then it is resumed to its end. A run without a resume
state is started again. Every file must equal that of an undisturbed run, apart from the times and
calls that it records, and so must the state of the run after its last epoch.
"""

import argparse
import multiprocessing
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import torch

from benchmarks.assigner import machine
from converters.files.output_lock import LOCK
from settings.run_files import RECORD_FILE, RESULTS_FILE, STATE_FILE
from training.config import TrainConfig
from training.engine import omr_trainer
from training.runs.checkpoint_files import finish_run
from training.runs.resume_state import epochs_done, read
from training.trainer import train

EPOCHS = 3
KILLS = 2
"""Kills of each run: of its start, and of its first resumption."""
LAST_STATE = "last_state.pt"
"""Copy next to the run of its resume state after the last epoch, which a finished run deletes."""

PRELOADED = ["benchmarks.assigner", "training.trainer", "torch._dynamo", "torchvision"]
"""Modules that are imported once for all processes; a training imports the last two itself."""
CALLS = (RECORD_FILE, "args.yaml", LOCK)
"""Files that differ because they describe the calls of a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A run that was killed and resumed."""

    seconds: tuple[float, ...]
    """CPU time from the start of the training, or of its resumption, to each kill."""
    epochs_kept: tuple[int, ...]
    """Epochs in the resume state after each kill; all of them if the run was finished."""
    differing: tuple[str, ...]
    """Files and parts of the state that differ from those of an undisturbed run."""


def make_data(folder: Path) -> Path:
    """Engrave small pages, and convert them to a data set."""
    for command in (
        ["engrave", folder / "pages", "--pages", 12, "--size", "500x400", "--val", 0.34],
        ["convert", folder / "pages", folder / "data"],
    ):
        words = [sys.executable, "-m", "omr", *map(str, command)]
        subprocess.run(words, check=True, capture_output=True)
    return folder / "data"


def run(config: TrainConfig, times: Connection) -> None:
    """Train, send the CPU time of this process before and after, and keep the last state."""

    def finish(weights: Path) -> None:
        shutil.copyfile(weights / STATE_FILE, config.out.with_name(LAST_STATE))
        finish_run(weights)

    omr_trainer.finish_run = finish  # type: ignore[attr-defined]
    torch.set_num_threads(1)
    times.send(time.process_time())
    train(config, force=True)
    times.send(time.process_time())


def run_for(config: TrainConfig, cpu_s: float | None) -> float:
    """Train for some CPU time and then kill the process, or train to the end.

    CPU time rather than time, because other programs on the machine do not affect it.

    Returns:
        CPU time of the training in seconds.
    """
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(config, sender))
    process.start()
    begin_s = receiver.recv()
    if cpu_s is not None:
        watched = psutil.Process(process.pid)
        while process.is_alive() and sum(watched.cpu_times()[:2]) - begin_s < cpu_s:
            time.sleep(0.002)
        process.kill()
    process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        sys.exit(f"the training failed with exit status {process.exitcode}")
    return cpu_s if cpu_s is not None else receiver.recv() - begin_s


def files_of(out: Path) -> dict[str, object]:
    """Return the contents of a finished run by name, without times and commands."""
    contents = flat(read(out.with_name(LAST_STATE)) | {"seconds": 0}, STATE_FILE)
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = str(path.relative_to(out))
        if name == RESULTS_FILE:
            rows = [line.split(",") for line in path.read_text("utf-8").splitlines()]
            contents[name] = [row[:1] + row[2:] for row in rows]
        elif name not in CALLS:
            contents[name] = path.read_bytes()
    return contents


def flat(value: object, name: str) -> dict[str, object]:
    """Return the numbers of a state by name, with tensors as bytes."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, part in items for k, v in flat(part, f"{name}/{key}").items()}
    if isinstance(value, torch.Tensor):
        return {name: (value.dtype, value.shape, value.contiguous().numpy().tobytes())}
    return {name: value}


def kill_and_resume(
    config: TrainConfig, length_s: float, expected: dict[str, object], rng: random.Random
) -> Outcome:
    """Kill a run ``KILLS`` times, resume it to its end, and compare it with an undisturbed run."""
    weights, last_state = config.out / "weights", config.out.with_name(LAST_STATE)
    state = weights / STATE_FILE
    seconds: list[float] = []
    kept = [0]
    shutil.rmtree(config.out)
    last_state.unlink()
    while len(seconds) < KILLS and not last_state.exists() and kept[-1] < EPOCHS:
        left_s = length_s * (1 - kept[-1] / EPOCHS)
        seconds.append(run_for(replace(config, resume=state.exists()), rng.uniform(0, left_s)))
        done = epochs_done(state) if state.exists() else 0
        kept.append(EPOCHS if last_state.exists() else done)
    if not last_state.exists() and kept[-1] == EPOCHS:  # killed after its last epoch
        shutil.copyfile(state, last_state)
        finish_run(weights)
    elif not last_state.exists():
        run_for(replace(config, resume=state.exists()), None)
    contents = files_of(config.out)
    names = expected.keys() | contents.keys()
    return Outcome(
        seconds=tuple(seconds),
        epochs_kept=tuple(kept[1:]),
        differing=tuple(sorted(n for n in names if contents.get(n) != expected.get(n))),
    )


def rows_of(outcomes: Sequence[Outcome]) -> str:
    """Return the table of all runs, in Markdown."""
    rows = ["| killed after CPU s | epochs kept | differing |", "|---|---|---|"]
    for outcome in outcomes:
        seconds = ", ".join(f"{value:.2f}" for value in outcome.seconds)
        kept = ", ".join(map(str, outcome.epochs_kept))
        rows.append(f"| {seconds} | {kept} | {', '.join(outcome.differing) or 'nothing'} |")
    return "\n".join(rows)


def main() -> None:
    """Kill trainings, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=20, help="Runs that are killed.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, outcomes = random.Random(options.seed), []
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            data=make_data(Path(folder)),
            out=Path(folder) / "run",
            model="omr-tiny",
            epochs=EPOCHS,
            imgsz=64,
            batch=4,
            device="cpu",
        )
        run_for(config, None)  # the first one loads files
        length_s = run_for(config, None)
        expected = files_of(config.out)
        for _ in range(options.moments):
            outcomes.append(kill_and_resume(config, length_s, expected, rng))
            print(rows_of(outcomes[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(rows_of(outcomes))
    equal = sum(not outcome.differing for outcome in outcomes)
    print(f"\n{equal} of {len(outcomes)} runs end like the undisturbed one, which took ", end="")
    print(f"{length_s:.1f} s of CPU time. {machine(1, 'cpu', 'training_kills')}")


if __name__ == "__main__":
    main()
