"""Times what ``omr analyze-density`` does, step by step, on labels of a dense set's size.

    python -m benchmarks.density                 1,714 pages with 1.1 million symbols
    python -m benchmarks.density --pages 171     a tenth of it, to try
    python -m benchmarks.density --mosaic 1      with four pages in one image

Each step is timed on its own, in one process; ``OMP_NUM_THREADS=1`` keeps it to one core.
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

PAGES, SYMBOLS = 1714, 1_100_000
"""About the size of DeepScoresV2 dense, train and test together; Zenodo 4012193."""
BATCH = 16


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print how long something takes, and the highest memory of the process until then."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} |")


def steps(data: Path, mosaic: float) -> None:
    """Go through the steps in their order."""
    print("| step | s | CPU s | peak MB |\n|---|---|---|---|")
    with step("imports"):
        from training.density.as_trained import as_trained, pages_of
        from training.density.batches import batch_max, batch_sum, epoch_most
        from training.density.stages import stages
        from training.joint_data import join
        from training.train_config import TrainConfig
    config = TrainConfig(data=data, out=data / "run", mosaic=mosaic, batch=BATCH)
    joint = join(config.sources())
    with step("labels"):
        pages = pages_of(joint)
    with step("as trained"):
        found = as_trained(config, joint, pages)
    with step("stages"):
        stored = [len(page.labels) for page in pages]
        stages(stored, found.n_symbols, joint.sources[0].dataset.converted_pages("train"))
    with step("batches"):
        for measure in (batch_max, batch_sum, epoch_most):
            measure(found.n_symbols, config.batch, found.images)


def main() -> None:
    """Write the data, or time the steps on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--mosaic", type=float, default=0.0)
    arguments = parser.parse_args()
    words = " ".join(["python -m benchmarks.density", *sys.argv[1:]])
    print(f"`{words}`, Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        # In a process of its own: its memory does not count, nor what it imports.
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
