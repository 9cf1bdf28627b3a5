"""Measures tasks, each in a process of its own that stays alive between its turns.

``python -m benchmarks.assigner_measuring TASK CASE DEVICE GB`` draws the case, says so, and takes a
turn for every line it is sent. The first is one call, to warm up and for the memory; on a CUDA
device it is a few, for memory, kernels and words to the host.
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
from training.assigners.assignment import candidate_pairs

MODULE = "benchmarks.assigner_measuring"
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait for each other sleep, unless the environment says otherwise. Where another
process has one of the cores, threads that spin wait until the scheduler's next tick at every
operation: a call of 10 ms takes 1.5 s."""
LONG_S = 5.0
"""Seconds from which a call is made once."""
LEAST_MB = 1.0
"""Memory below which a call's is lost in that of its process."""
TURN_S = 0.3
"""Seconds that a task repeats a short call for when it is its turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a task took."""

    pairs: int
    """Candidates of the task-aligned assigner, of the whole batch."""
    s: float
    """Seconds of the fastest call."""
    mb: float
    positives: int | None
    """Anchor points assigned, of an assigner."""
    threads: int
    launches: int | None = None
    syncs: int | None = None
    copies: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TooLarge:
    """A task that was not measured."""

    gb: float
    """Memory that it would take, reckoned; of a task that was tried and failed, what it had."""
    tried: bool

    def __str__(self) -> str:
        return f"tried, > {self.gb:g} GB" if self.tried else f"estimate: {self.gb:.1f} GB"


def measure(
    case: Case, tasks: Iterable[str], repeats: int, device: str, most_gb: float
) -> dict[str, Cost | TooLarge]:
    """Measure the tasks of a case in rounds, so that load on the machine is shared by all.

    Args:
        case: Size of the batch.
        tasks: Names.
        repeats: Rounds after the first one.
        device: Of torch.
        most_gb: Memory that a task may add; one that is reckoned to need more is left out.

    Returns:
        Of each task, in this order.
    """
    found: dict[str, Cost | TooLarge] = {}
    with ExitStack() as stack:
        workers = {}
        for task in tasks:
            gb = estimated_gb(task, case)
            if gb > most_gb:
                found[task] = TooLarge(gb=gb, tried=False)
            else:
                workers[task] = stack.enter_context(Worker(task, case, device, most_gb))
        for worker in workers.values():
            worker.wait()
        for task, worker in workers.items():
            found[task] = worker.first()
        for _ in range(repeats):
            for task, worker in workers.items():
                before = found[task]
                if isinstance(before, Cost) and before.s < LONG_S:
                    found[task] = replace(before, s=min(before.s, worker.again()))
    return {task: found[task] for task in tasks}


class Worker:
    """A process with one task and one case."""

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
        """Make the first call."""
        answer = self._ask()
        return Cost(**answer) if answer else TooLarge(gb=self._most_gb, tried=True)

    def again(self) -> float:
        """Seconds of the fastest call of one more turn."""
        return float(self._ask()["s"])

    def _ask(self) -> dict[str, Any]:
        if self._process.stdin is None:
            raise ValueError("the process has no input")
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        for line in self._process.stdout or ():
            if line.startswith("{"):  # Ultralytics may have something to say in between
                answer: dict[str, Any] = json.loads(line)
                return answer
        sys.exit(f"{' '.join(map(str, self._process.args))} failed")  # type: ignore[arg-type]


def timed(call: Callable[[], object], device: str) -> tuple[float, object]:
    """Seconds of one call, and its result."""
    started = time.perf_counter()
    result = call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started, result


def fastest(call: Callable[[], object], device: str) -> float:
    """Seconds of the fastest of as many calls as fit into a turn, of one at least."""
    best, until = math.inf, time.perf_counter() + TURN_S
    while best == math.inf or time.perf_counter() < until:
        best = min(best, timed(call, device)[0])
    return best


def serve(task: str, case: Case, device: str, most_gb: float) -> None:
    """Take a turn for every line of the input, and answer each with a line of JSON."""
    # What torch sets up at its first use is no one's cost.
    small = Case(n_images=1, n_boxes=2, n_classes=2, side=64)
    TASKS[task](draw(small).to(device))()
    scene = draw(case).to(device)
    pairs = len(candidate_pairs(scene.anchors, scene.targets)[0])
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
    """All that is measured once: memory, and seconds in case there is no second time."""
    if device == "cpu":
        mb, (seconds, result) = assigner_memory.added_mb(lambda: timed(call, device))
        return {"s": seconds, "mb": mb, "positives": n_positives(result)}
    call()
    mb, positives = assigner_cuda.added_mb(lambda: n_positives(call()))
    counted = assigner_cuda.counts(call)
    return {"s": timed(call, device)[0], "mb": mb, "positives": positives, **counted}


if __name__ == "__main__":
    serve(sys.argv[1], Case.parse(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
