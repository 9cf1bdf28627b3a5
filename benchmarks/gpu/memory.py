"""Memory of a step, predicted and measured: ``python -m benchmarks.gpu.memory --out FILE``.

This process measures one step after the other, while other processes predict them.
"""

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from math import ceil
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

import torch

from benchmarks.gpu.results import Results, step_parser
from benchmarks.memory import BEYOND, GIB, MB, MOST_IMAGES, spec_of, with_batch, within
from eval.reports.density_report import StepMemory
from training.memory.batch_search import find_launch
from training.memory.gpus import Gpu
from training.memory.profile import ProfiledStep, profile_step
from training.memory.step import predict_step
from training.memory.step_spec import StepSpec

P = ParamSpec("P")
T = TypeVar("T")

MODELS = "yolo11n", "yolo11s", "yolo11m", "yolo11n, 4 heads"
BATCHES = {640: 16, 1280: 4}
"""Images per batch, by image side in pixels."""
SMALL_MODELS = ("yolo11n",)
SMALL_BATCHES = {320: 2}
PRECISIONS = "bf16", "fp32"
SMALL_PRECISIONS = ("fp32",)
OFF_GOAL = 0.07
BUDGET_GIB, SMALL_BUDGET_GIB = 8.0, 0.6
"""Memory in which the predicted largest batch has to run."""
STEP_S = 6.0
"""Remaining seconds below which no step is started."""
FITTING_STEPS = 3
"""Number of steps whose time is reserved for the largest batch."""
PROCESSES = 6
COLUMNS = (
    "model", "px", "batch", "precision", "measured MB", "predicted MB", "off by",
    "reserved by torch MB", "predicted with gaps MB",
)  # fmt: skip
FITTING = "model", "px", "precision", "GiB allowed", "batch", "measured MB", "outcome"


def main() -> None:
    """Measure the steps, and write each row as soon as its prediction is available."""
    options = step_parser(__doc__.splitlines()[0], "one model, small images").parse_args()
    end = time.monotonic() + options.limit
    results = Results(options.out)
    names = specs_of(options)
    budget = int((SMALL_BUDGET_GIB if options.small else BUDGET_GIB) * GIB)
    n_processes = min(PROCESSES, (os.cpu_count() or 1) // 2)
    context = get_context("spawn")
    pool = ProcessPoolExecutor(n_processes, mp_context=context) if n_processes > 1 else Inline()
    try:
        fitted = with_batch(names[0][1], 1)
        largest = pool.submit(largest_batch, fitted, budget)
        steps(names, results, pool, end)
        if time.monotonic() + STEP_S < end:
            fitting(fitted, largest, budget, results, end)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class Inline(Executor):
    """Executor that runs every call immediately, for machines with few cores."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function, and return its completed future."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def specs_of(options: argparse.Namespace) -> list[tuple[str, StepSpec]]:
    """List the steps with their model names, most important first."""
    models = SMALL_MODELS if options.small else MODELS
    batches = SMALL_BATCHES if options.small else BATCHES
    return [
        (model, spec_of(model, side, precision, batch, options.device))
        for side, batch in batches.items()
        for precision in (SMALL_PRECISIONS if options.small else PRECISIONS)
        for model in models
    ]


def steps(
    names: Sequence[tuple[str, StepSpec]], results: Results, pool: Executor, end: float
) -> None:
    """Measure steps while time remains, and compare each with its prediction."""
    results.table("A step", COLUMNS)
    waiting: list[tuple[str, StepSpec, ProfiledStep, Future[StepMemory]]] = []
    offs: list[float] = []
    fitting_s = FITTING_STEPS * STEP_S

    def write(*, wait: bool) -> None:
        while waiting and (wait or waiting[0][3].done()):
            name, spec, measured, future = waiting.pop(0)
            try:
                predicted = future.result(timeout=max(end - time.monotonic(), 1))
            except TimeoutError:
                results.note(f"{name} at {spec.imgsz} px: the prediction was not ready in time.")
                continue
            offs.append(predicted.allocated_bytes / measured.total_bytes - 1)
            results.row(*_row(name, spec, measured, predicted))

    for name, spec in names:
        if time.monotonic() + fitting_s > end:
            results.note(f"{name} at {spec.imgsz} px in {spec.precision} is missing: out of time.")
            continue
        begin = time.monotonic()
        measured = profile_step(spec)
        free()
        print(f"{name} at {spec.imgsz} px: {time.monotonic() - begin:.1f} s", flush=True)
        known = replace(spec, pairs=measured.pairs)
        waiting.append((name, spec, measured, pool.submit(predict_step, known)))
        write(wait=False)
    write(wait=True)
    most = max(offs, key=abs, default=None)
    results.goal(
        f"memory of a step: predicted within {OFF_GOAL:.0%}",
        "" if most is None else f"at most {most:+.1%} off in {len(offs)} steps",
        None if most is None else abs(most) <= OFF_GOAL,
    )


def _row(
    name: str, spec: StepSpec, measured: ProfiledStep, predicted: StepMemory
) -> tuple[str | int | None, ...]:
    return (
        name,
        spec.imgsz,
        spec.batch,
        spec.precision,
        f"{measured.total_bytes / MB:.0f}",
        f"{predicted.allocated_bytes / MB:.0f}",
        f"{predicted.allocated_bytes / measured.total_bytes - 1:+.1%}",
        f"{measured.reserved_bytes / MB:.0f}" if measured.reserved_bytes else None,
        f"{predicted.total_bytes / MB:.0f}",
    )


def largest_batch(spec: StepSpec, budget: int) -> int:
    """Find the largest batch that is predicted to fit into limited memory with its margin."""
    gpu = Gpu(
        name="the limit",
        total_bytes=budget,
        usable_bytes=budget,
        bf16=True,
        device=spec.device,
    )
    return find_launch(partial(with_batch, spec), gpu, MOST_IMAGES, MOST_IMAGES).largest


def fitting(
    spec: StepSpec, largest: Future[int], budget: int, results: Results, end: float
) -> None:
    """Run the predicted largest batch, and 1.3 times that batch, in limited memory."""
    results.table("The suggested batch in limited memory", FITTING)
    try:
        suggested = largest.result(timeout=max(end - time.monotonic(), 1))
    except TimeoutError:
        results.note("The suggested batch was not ready in time.")
        return
    beyond = ceil(BEYOND * suggested)
    goals = {suggested: "the suggested batch runs"}
    goals[beyond] = "1.3 times the suggested batch does not run"
    for batch, goal in goals.items():
        outcome = within(with_batch(spec, batch), budget)
        free()
        total = outcome["total_bytes"]
        results.row(
            spec.model,
            spec.imgsz,
            spec.precision,
            f"{budget / GIB:.2g}",
            batch,
            None if total is None else f"{total / MB:.0f}",
            "runs" if outcome["runs"] else "out of memory" if total is None else "is more",
        )
        results.goal(goal, f"batch {batch}", outcome["runs"] == (batch == suggested))


def free() -> None:
    """Release the memory of the last measurement."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # a normal exit would wait for predictions that are no longer needed
