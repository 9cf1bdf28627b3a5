"""Measurement of tasks, each in a separate process that stays alive between its rounds.

``python -m benchmarks.assigner_measuring TASK CASE DEVICE GB`` draws the case, reports that it is
ready, and runs a round for every line of input. The first round is one call, for warm-up and
memory; on a CUDA device a few calls, for memory, kernels and host synchronisations.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import torch

from benchmarks import assigner_cuda, assigner_memory
from benchmarks.assigner_scenes import Case, draw
from benchmarks.assigner_tasks import TASKS, estimated_gb, n_positives
from training.assigners.candidate_pairs import pairs_inside

MODULE = "benchmarks.assigner_measuring"
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Makes waiting threads sleep, unless the environment overrides it. If another process uses a core,
spinning threads lose a scheduler tick at every operation: a call of 10 ms takes 1.5 s."""
LONG_S = 5.0
"""Duration in seconds from which a call is not repeated."""
LEAST_MB = 1.0
"""Smallest memory of a call that can be measured."""
TURN_S = 0.3
"""Duration of a round in seconds, in which short calls are repeated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Time and memory of a task."""

    pairs: int
    """Candidate pairs of the task-aligned assigner in the whole batch."""
    s: float
    """Time of the fastest call in seconds."""
    mb: float
    positives: int | None
    """Number of assigned anchor points; None for a loss."""
    threads: int
    launches: int | None = None
    syncs: int | None = None
    copies: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TooLarge:
    """A task that was not measured because it would need too much memory."""

    gb: float
    """Estimated memory; the limit if the task was tried and failed."""
    tried: bool

    def __str__(self) -> str:
        return f"tried, > {self.gb:g} GB" if self.tried else f"estimate: {self.gb:.1f} GB"


def measure(
    case: Case, tasks: Iterable[str], repeats: int, device: str, most_gb: float
) -> dict[str, Cost | TooLarge]:
    """Measure the tasks of a case in rounds, so that other load affects all of them equally.

    Args:
        case: Size of the batch.
        tasks: Task names.
        repeats: Number of rounds after the first one.
        device: Device type in torch.
        most_gb: Memory limit of a task; tasks with a higher estimate are skipped.

    Returns:
        Result of each task, in the given order.
    """
    costs: dict[str, Cost | TooLarge] = {}
    with ExitStack() as stack:
        workers = {}
        for task in tasks:
            gb = estimated_gb(task, case)
            if gb > most_gb:
                costs[task] = TooLarge(gb=gb, tried=False)
            else:
                workers[task] = stack.enter_context(Worker(task, case, device, most_gb))
        for worker in workers.values():
            worker.wait()
        for task, worker in workers.items():
            costs[task] = worker.first()
        for _ in range(repeats):
            for task, worker in workers.items():
                before = costs[task]
                if isinstance(before, Cost) and before.s < LONG_S:
                    costs[task] = replace(before, s=min(before.s, worker.again()))
    return {task: costs[task] for task in tasks}


class Worker:
    """Process that runs one task on one case."""

    def __init__(self, task: str, case: Case, device: str, most_gb: float) -> None:
        command = [sys.executable, "-m", MODULE, task, case.text, device, str(most_gb)]
        # Ultralytics has set the number of threads to 1 in this process's environment.
        ours = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "YOLO_VERBOSE": "false"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, env=WAITING | os.environ | ours, stdin=pipe, stdout=pipe, text=True
        )
        self._most_gb = most_gb

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind:
            self._process.kill()
        self._process.communicate()

    def wait(self) -> None:
        """Wait until the case is drawn."""
        self._answer()

    def first(self) -> Cost | TooLarge:
        """Run the first round."""
        answer = self._ask()
        return Cost(**answer) if answer else TooLarge(gb=self._most_gb, tried=True)

    def again(self) -> float:
        """Run another round, and return the time of its fastest call in seconds."""
        return float(self._ask()["s"])

    def _ask(self) -> dict[str, Any]:
        if self._process.stdin is None:
            raise ValueError("the process has no input")
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        for line in self._process.stdout or ():
            if line.startswith("{"):  # Ultralytics may print lines in between
                answer: dict[str, Any] = json.loads(line)
                return answer
        sys.exit(f"{' '.join(map(str, self._process.args))} failed")  # type: ignore[arg-type]


def timed(call: Callable[[], object], device: str) -> tuple[float, object]:
    """Time one call in seconds, and return its result too."""
    started = time.perf_counter()
    result = call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started, result


def fastest(call: Callable[[], object], device: str) -> float:
    """Repeat a call for the duration of a round, and return the fastest time in seconds."""
    best, until = math.inf, time.perf_counter() + TURN_S
    while best == math.inf or time.perf_counter() < until:
        best = min(best, timed(call, device)[0])
    return best


def serve(task: str, case: Case, device: str, most_gb: float) -> None:
    """Run a round for every line of input, and answer each with a line of JSON."""
    # Let torch finish its one-time initialisation first.
    small = Case(n_images=1, n_boxes=2, n_classes=2, side=64)
    TASKS[task](draw(small).to(device))()
    scene = draw(case).to(device)
    pairs = len(pairs_inside(scene.anchors, scene.targets)[0])
    call = TASKS[task](scene)
    if device == "cpu":
        assigner_memory.limit_gb(most_gb)
    print("{}", flush=True)
    sys.stdin.readline()
    try:
        cost = first_cost(call, device)
    except (MemoryError, RuntimeError) as error:
        if "memory" not in str(error):
            raise
        print("{}", flush=True)
        return
    print(json.dumps({"pairs": pairs, "threads": torch.get_num_threads()} | cost), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"s": fastest(call, device)}), flush=True)


def first_cost(call: Callable[[], object], device: str) -> dict[str, float | None]:
    """Measure memory, and the time in case there is no other round."""
    if device == "cpu":
        mb, (seconds, result) = assigner_memory.added_mb(lambda: timed(call, device))
        return {"s": seconds, "mb": mb, "positives": n_positives(result)}
    call()
    mb, positives = assigner_cuda.added_mb(lambda: n_positives(call()))
    counted = assigner_cuda.counts(call)
    return {"s": timed(call, device)[0], "mb": mb, "positives": positives, **counted}


if __name__ == "__main__":
    serve(sys.argv[1], Case.parse(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
