"""Training steps per second on a CPU while other programs run: ``python -m benchmarks.waiting``.

OpenMP threads that have finished their part spin until the others have, by default. On a quiet
machine this saves the time to wake them; where another program needs the core, the thread that
everyone waits for does not run. Each variant of the waiting is an environment variable of a process
of its own, which trains with and without busy processes beside it. Rounds alternate, so that other
load affects all variants equally.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarks.assigner import machine
from benchmarks.compiled import Step

VARIANTS = {
    "spinning (default of GNU OpenMP)": {},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=0": {"GOMP_SPINCOUNT": "0"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
}
CONTROLLED = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="omr-tiny")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--seconds", type=float, default=15, help="seconds per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", default="0,1,2", help="numbers of busy processes")
    parser.add_argument("--measure", action="store_true", help="measure in this process")
    options = parser.parse_args()
    if options.measure:
        print(_steps_per_second(options))
        return
    loads = [int(number) for number in options.busy.split(",")]
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for n_busy in loads:
            with _busy(n_busy):
                for variant in VARIANTS:
                    rates.setdefault((variant, n_busy), []).append(_measured(variant))
    print("| waiting | " + " | ".join(f"{n} busy: steps/s" for n in loads) + " |")
    print("|---" * (1 + len(loads)) + "|")
    for variant in VARIANTS:
        medians = [statistics.median(rates[variant, n]) for n in loads]
        print(f"| {variant} | " + " | ".join(f"{rate:.2f}" for rate in medians) + " |")
    print(f"\n{machine(torch.get_num_threads(), 'cpu', 'waiting')}")


def _measured(variant: str) -> float:
    """Run this module with ``--measure`` in a process of the variant."""
    environment = {name: v for name, v in os.environ.items() if name not in CONTROLLED}
    command = [sys.executable, "-m", "benchmarks.waiting", *sys.argv[1:], "--measure"]
    finished = subprocess.run(
        command, env=environment | VARIANTS[variant], capture_output=True, text=True, check=True
    )
    return float(finished.stdout)


def _steps_per_second(options: argparse.Namespace) -> float:
    step = Step(options.batch, options.imgsz, options.model)
    step(step.network)
    n_steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < options.seconds:
        step(step.network)
        n_steps += 1
    return n_steps / (time.perf_counter() - begin)


@contextmanager
def _busy(n_processes: int) -> Iterator[None]:
    """Keep processes busy while the block runs."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(n_processes)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
