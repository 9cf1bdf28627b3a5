"""Cost of timing the parts of a step, and a profile: ``python -m benchmarks.profile DATA``.

Steps with and without the clock of ``omr profile`` alternate, so that other load affects both. The
steps are as short as possible, because the clock then weighs most. The clock alone is timed as
well: its calls take so little time that on a shared machine the difference between the steps is
mostly noise. The profile compares the loss of omr with that of Ultralytics on batches of several
densities.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.assigner import machine
from benchmarks.timing import alternate
from training.assigners.assigner import Assigner
from training.config import TrainConfig
from training.engine.omr_trainer import OmrTrainer
from training.losses.detection import wrap_assigners
from training.profiling.clock import PhaseClock
from training.profiling.hooks import timed_assigner
from training.profiling.profile import profile_training, take_step
from training.profiling.times import PARTS, StepProfile
from training.single_steps import batches, temporary_trainer

N_CALLS = 10_000
STEPS_PER_ROUND = 5


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that omr convert wrote")
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="steps of the profile")
    parser.add_argument("--rounds", type=int, default=20, help="rounds with and without the clock")
    options = parser.parse_args()
    config = TrainConfig(
        data=options.data,
        out=Path("run"),
        model=options.model,
        imgsz=options.imgsz,
        batch=options.batch,
        workers=0,
        validate=False,
        lint=False,
    )
    _print_overhead(replace(config, model="omr-tiny", imgsz=64, batch=1), options.rounds)
    _print_profile(profile_training(config, steps=options.steps))
    print(f"\n{machine(torch.get_num_threads(), 'cpu', 'profile')}")


def _print_overhead(config: TrainConfig, rounds: int) -> None:
    with temporary_trainer(config) as trainer:
        clock = PhaseClock(trainer.device)
        tasks = {
            "without the clock": _steps(trainer, lambda _part: None),
            "with the clock": _steps(trainer, clock.begin, clock),
        }
        costs = alternate(tasks, rounds)
        clock.totals()
    begin = time.process_time()
    for _ in range(N_CALLS):
        clock.begin("load")
    call_us = 1e6 * (time.process_time() - begin) / N_CALLS
    print("| steps | CPU ms per step | ratio |\n|---|---|---|")
    base = costs["without the clock"].cpu_s
    for name, cost in costs.items():
        ms = 1000 * cost.cpu_s / STEPS_PER_ROUND
        print(f"| {name} | {ms:.2f} | {cost.cpu_s / base:.3f} |")
    n_calls = len(PARTS) + 1  # the rest of the loss begins before and after the assigner
    share = call_us * n_calls / (1e6 * base / STEPS_PER_ROUND)
    print(f"\nOne call of the clock: {call_us:.1f} us; {n_calls} calls: {share:.2%} of a step")


def _steps(
    trainer: OmrTrainer, begin: Callable[[str], None], clock: PhaseClock | None = None
) -> Callable[[], None]:
    """Return a task that takes steps, with a loss whose assigner is timed if there is a clock."""
    upcoming, criterion = batches(trainer), trainer.model.criterion

    def task() -> None:
        untimed: list[Assigner] = []

        def wrap(assigner: Assigner) -> Any:  # noqa: ANN401
            untimed.append(assigner)
            if clock is None:
                return assigner
            return timed_assigner(assigner, clock, "assigner", "rest of loss")

        wrap_assigners(criterion, wrap)
        for _ in range(STEPS_PER_ROUND):
            begin("load")
            take_step(trainer, criterion, next(upcoming), begin)
        wrap_assigners(criterion, lambda _wrapped: untimed.pop(0))

    return task


def _print_profile(profile: StepProfile) -> None:
    print(
        f"\n{profile.model}, {profile.batch} images of {profile.imgsz} px, "
        f"{profile.steps} steps per row\n"
    )
    print("| batch | symbols per image | loss | " + " | ".join(f"{p}, ms" for p in PARTS) + " |")
    print("|---" * (3 + len(PARTS)) + "|")
    rows = [("from the loader", profile.symbols_per_image, "omr", profile.times)]
    for one in profile.densities:
        rows.append((one.name, one.symbols_per_image, "omr", one.omr))
        if one.ultralytics:
            rows.append((one.name, one.symbols_per_image, "Ultralytics", one.ultralytics))
    for name, symbols, loss, times in rows:
        ms = {part.name: f"{part.ms:,.0f}" for part in times.parts}
        cells = " | ".join(ms.get(part, "-") for part in PARTS)
        print(f"| {name} | {symbols:,.0f} | {loss} | {cells} |")
    for one in profile.densities:
        print(
            f"\n{one.name}: {one.ultralytics_pairs:,} pairs in Ultralytics' assigner, "
            f"{one.omr_pairs:,} in omr's{'; ' + one.reason if one.reason else ''}"
        )


if __name__ == "__main__":
    main()
