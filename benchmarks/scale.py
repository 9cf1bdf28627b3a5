"""Conversion of many annotation files: time and memory by their number, and by workers.

    python -m benchmarks.scale

Each file is like a shard of the complete DeepScoresV2, but smaller: 1,000 pages with 200,000
annotations, made on the fly. Rows are whole commands, including the start of all processes. A
second table compares one large file with one of these.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import dense_like
from benchmarks.measuring import CommandCost, measure_cost

PAGES, ANNOTATIONS = 1_000, 200_000
"""Pages and annotations of a file."""
TIMES = 15
"""Size of the large file, as a multiple of the others."""
COMPLETE_FILES, COMPLETE_PAGES, COMPLETE_ANNOTATIONS = 129, 255_385, 151_000_000
"""The complete DeepScoresV2."""
CORES = 24
"""Cores of the machine that figures are extrapolated to."""
START_S = 15
"""Seconds for the processes of a cluster to start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A measured command."""

    task: str
    files: int
    cost: CommandCost
    mb_written: float


def write_files(folder: Path, n: int, annotations: int = ANNOTATIONS, pages: int = PAGES) -> None:
    """Write annotation files whose images have different names.

    Args:
        folder: Folder to create.
        n: Number of files.
        annotations: Number of annotations of each.
        pages: Number of pages of each.
    """
    folder.mkdir()
    for i in range(n):
        path = dense_like.write(folder / "one", pages=pages, annotations=annotations, seed=i)
        text = path.read_text().replace('"filename": "', f'"filename": "s{i}_')
        (folder / f"deepscores-complete-{i}_train.json").write_text(text)
        shutil.rmtree(folder / "one")


def subset(folder: Path, n: int, target: Path) -> Path:
    """Link the first files of a folder into another one."""
    target.mkdir()
    for i in range(n):
        name = f"deepscores-complete-{i}_train.json"
        (target / name).hardlink_to(folder / name)
    return target


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """Start a Dask scheduler and workers, and yield the address of the scheduler."""
    address = "tcp://127.0.0.1:8798"
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "8798", "--no-show"]
    worker = ["worker", address, "--nworkers", str(workers), "--nthreads", "1"]
    with (folder / "dask.log").open("w") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "dask", *command, "--no-dashboard"],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(Path.cwd())},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            for command in (scheduler, worker)
        ]
        try:
            time.sleep(START_S)
            yield address
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()


def convert(task: str, source: Path, target: Path, *options: str) -> Row:
    """Measure one conversion of labels, and remove its output."""
    command = [sys.executable, "-m", "omr", "convert", str(source), str(target), "--labels-only"]
    cost = measure_cost([*command, "--classes", "deepscores", *options])
    written = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    shutil.rmtree(target)
    files = len(list(source.iterdir()))
    return Row(task=task, files=files, cost=cost, mb_written=written / 1e6)


def measured_rows(work: Path, most: int) -> Iterator[Row]:
    """Measure conversions of 1, 2, 4 ... files, and of all of them with several processes."""
    all_files, out = work / "all", work / "out"
    write_files(all_files, most)
    n = 1
    while n <= most:
        source = subset(all_files, n, work / f"first{n}")
        yield convert("1 process", source, out, "--workers", "1")
        n *= 2
    yield convert("2 processes", all_files, out, "--workers", "2")
    with cluster(work, 2) as address:
        yield convert("2 Dask workers", all_files, out, "--backend", "dask", "--scheduler", address)


def large_file_rows(work: Path, times: int) -> Iterator[tuple[float, Row]]:
    """Measure conversions of one file, and of one that is larger; yield MB of JSON and the row."""
    for n, workers in ((1, 1), (times, 1), (times, 2)):
        folder = work / f"large{n}"
        if not folder.is_dir():
            dense_like.write(folder, pages=n * PAGES, annotations=n * ANNOTATIONS)
        n_bytes = sum(path.stat().st_size for path in folder.iterdir())
        task = "1 process" if workers == 1 else f"{workers} processes"
        yield n_bytes / 1e6, convert(task, folder, work / "out", "--workers", str(workers))


def print_large_files(rows: list[tuple[float, Row]]) -> None:
    """Print a table of single files, and how much more the large one takes."""
    print("\n| task | MB of JSON | s | CPU s | peak MB |")
    print("|---|---|---|---|---|")
    for mb, row in rows:
        cost = row.cost
        print(
            f"| {row.task} | {mb:,.0f} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} | "
            f"{cost.peak_mb:.0f} |"
        )
    (_, small), (_, large), (_, two) = rows
    print(f"\nPeak memory of the large file: {large.cost.peak_mb / small.cost.peak_mb:.2f} times")
    print(f"2 processes: {large.cost.wall_s / two.cost.wall_s:.2f} times as fast as 1")


def print_report(rows: list[Row]) -> None:
    """Print a table, and what it means for the complete data set."""
    print("| task | files | s | CPU s | CPU s per file | peak MB | MB written |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        cost = row.cost
        print(
            f"| {row.task} | {row.files} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} | "
            f"{cost.cpu_s / row.files:.2f} | {cost.peak_mb:.0f} | {row.mb_written:.0f} |"
        )
    one, two, dask = (row for row in rows if row.files == rows[-1].files)
    print(f"\n2 processes: {one.cost.wall_s / two.cost.wall_s:.2f} times as fast as 1")
    print(f"2 Dask workers: {dask.cost.wall_s / two.cost.wall_s:.2f} times as long as 2 processes")
    factor = COMPLETE_ANNOTATIONS / (one.files * ANNOTATIONS)
    hours = one.cost.cpu_s * factor / 3600
    print(
        f"Complete DeepScoresV2, extrapolated by annotations: {hours:.1f} h of CPU time, "
        f"{hours / CORES * 60:.0f} min on {CORES} cores; {one.mb_written * factor / 1e3:.0f} GB"
    )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=8, help="Largest number of files; 0: none.")
    parser.add_argument("--times", type=int, default=TIMES, help="Size of the large file; 0: none.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.files:
            print_report(list(measured_rows(Path(folder), options.files)))
        if options.times:
            print_large_files(list(large_file_rows(Path(folder), options.times)))


if __name__ == "__main__":
    main()
