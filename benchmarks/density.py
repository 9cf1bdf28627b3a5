"""Time of each step of ``omr analyze-density``, on as many labels as in a dense data set.

    python -m benchmarks.density                 1,714 pages with 1.1 million symbols
    python -m benchmarks.density --pages 171     a tenth of them
    python -m benchmarks.density --mosaic 1      with four pages per image

The steps of the command are timed while it runs, in one process; ``OMP_NUM_THREADS=1`` limits it to
one core. The memory prediction is for yolo11n.
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

PAGES, SYMBOLS = 1714, 1_100_000
"""Approximate size of DeepScoresV2 dense, train and test; Zenodo 4012193."""
BATCH = 16
GPU = "rtx5090"


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print the time of a step, and the peak memory of the process so far."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} |")


def steps(data: Path, mosaic: float) -> None:
    """Run the command, and print a row after each step."""
    print("| step | s | CPU s | peak MB |\n|---|---|---|---|")
    with step("imports"):
        from eval.reports.density import density_page
        from training.config import TrainConfig
        from training.density import analysis, crowding, report
        from training.memory.gpus import find_gpu
    for module, names in (
        (crowding, ("pages_of", "simulate_draws", "symbols_of", "points_by_level")),
        (analysis, ("size_rows", "least_scale", "largest_tile", "anchor_rows")),
        (analysis, ("anchor_competition", "maximum_recall", "initial_weights")),
        (report, ("head_form", "find_launch", "memory_over_batch")),
    ):
        for name in names:
            setattr(module, name, _timed(name, getattr(module, name)))
    config = TrainConfig(data=data, out=data / "run", mosaic=mosaic, batch=BATCH)
    with step("all of analyze"):
        analysed = report.analyze(config, find_gpu(GPU))
    with step("page"):
        density_page(analysed.report())


def _timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*args: object, **kwargs: object) -> object:
        with step(name):
            return call(*args, **kwargs)

    return timed


def main() -> None:
    """Write the data, and time the steps on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--mosaic", type=float, default=0.0)
    arguments = parser.parse_args()
    command = " ".join(["python -m benchmarks.density", *sys.argv[1:]])
    print(f"`{command}`, Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        # In a separate process, whose memory and imports do not count.
        writer = get_context("spawn").Process(target=_write, args=(data, arguments.pages))
        writer.start()
        writer.join()
        if writer.exitcode:
            sys.exit("the data could not be written")
        steps(data, arguments.mosaic)


def _write(data: Path, pages: int) -> None:
    from benchmarks import dense_like

    dense_like.write_as_yolo(data, pages=pages, annotations=round(SYMBOLS * pages / PAGES))


if __name__ == "__main__":
    main()
