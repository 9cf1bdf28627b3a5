"""Times ``omr convert`` beside named peers, in one run, on the same labels.

    python -m benchmarks.convert                 labels of the dense set's size, then tiles
    python -m benchmarks.convert --pages 136     a tenth of it, to try

Every row is a process of its own, so that its memory is its own: the peak over the process and its
children, from the kernel (``ru_maxrss``; of children the largest one). Runs take turns and each
figure is the median of its repetitions: these machines are shared.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import dense_like

TILE, OVERLAP = 640, 128
TILE_PAGES = 12
"""Pages of 1960 x 2772 px that the tiles are cut from."""


def json_load(work: Path) -> None:
    """Only decode the text, the standard library's way."""
    json.loads((work / "dense" / "deepscores_train.json").read_bytes())


def omr_convert(work: Path, source: str = "dense") -> None:
    """``omr convert --labels-only``, everything included: geometry, cleaning, manifest."""
    _omr(work, source, "--classes", "deepscores", "--labels-only")


def omr_convert_half(work: Path) -> None:
    """Half the pages and half the annotations: is the growth linear?"""
    omr_convert(work, "half")


def ultralytics_convert_coco(work: Path) -> None:
    """The usual tool, on the same boxes written as COCO."""
    from ultralytics.data.converter import convert_coco

    convert_coco(str(work / "coco" / "annotations"), save_dir=str(_fresh(work)), cls91to80=False)


def opencv_tiles(work: Path) -> None:
    """Bare OpenCV, one process: read each page, write the same tiles."""
    import cv2

    from converters.tiles import TileOptions, starts

    target, options = _fresh(work), TileOptions(size=TILE, overlap=OVERLAP)
    target.mkdir()
    for path in sorted((work / "pages" / "images").iterdir()):
        image = cv2.imread(str(path))
        assert image is not None
        for y in starts(image.shape[0], options):
            for x in starts(image.shape[1], options):
                part = image[y : y + TILE, x : x + TILE]
                cv2.imwrite(str(target / f"{path.stem}_{x}_{y}.png"), part)


def opencv_tiles_grey(work: Path) -> None:
    """The same, told that the pages are grey."""
    import cv2

    plain = cv2.imread
    cv2.imread = lambda path: plain(path, cv2.IMREAD_GRAYSCALE)  # type: ignore[assignment]
    opencv_tiles(work)


def omr_tiles(work: Path) -> None:
    """``omr convert --tile`` in one process, labels, checks and manifest included."""
    _omr(work, "pages", "--tile", str(TILE), "--overlap", str(OVERLAP), "--workers", "1")


def omr_tiles_2(work: Path) -> None:
    """The same in two processes."""
    _omr(work, "pages", "--tile", str(TILE), "--overlap", str(OVERLAP), "--workers", "2")


LABELS: tuple[Callable[[Path], None], ...] = (
    json_load,
    ultralytics_convert_coco,
    omr_convert,
    omr_convert_half,
)
TILES: tuple[Callable[[Path], None], ...] = (
    opencv_tiles,
    opencv_tiles_grey,
    omr_tiles,
    omr_tiles_2,
)


def _omr(work: Path, source: str, *options: str) -> None:
    from omr.cli import app

    app(["convert", str(work / source), str(_fresh(work)), *options], standalone_mode=False)


def _fresh(work: Path) -> Path:
    shutil.rmtree(work / "out", ignore_errors=True)
    return work / "out"


def _measure(name: str, work: Path) -> tuple[float, float]:
    """Seconds and peak MB of one task in a process of its own, its start included."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.convert", "--work", str(work), "--task", name]
    quiet = os.environ | {"YOLO_OFFLINE": "true"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=quiet)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    return seconds, float(done.stdout.splitlines()[-1])


def _run_task(name: str, work: Path, pages: int) -> None:
    if name == _prepare.__name__:
        _prepare(work, pages)
        return
    globals()[name](work)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"\n{(own + children) / 1024:.0f}")


def _prepare(work: Path, pages: int) -> None:
    annotations = round(dense_like.DENSE_ANNOTATIONS * pages / dense_like.DENSE_PAGES)
    path = dense_like.write(work / "dense", pages=pages, annotations=annotations)
    dense_like.write(work / "half", pages=pages // 2, annotations=annotations // 2, seed=1)
    dense_like.write_as_coco(path, work / "coco")
    dense_like.write_pages(work / "pages", pages=TILE_PAGES)
    size = path.stat().st_size / 1e6
    print(f"{pages} pages, {annotations} annotations, {size:.0f} MB of JSON\n")


def _table(tasks: tuple[Callable[[Path], None], ...], work: Path, repeat: int, peer: str) -> None:
    rows: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repeat):
        for task in tasks:
            rows.setdefault(task.__name__, []).append(_measure(task.__name__, work))
    seconds = {name: statistics.median(s for s, _ in runs) for name, runs in rows.items()}
    print(f"| task | s | {peer} / this | peak MB |\n|---|---|---|---|")
    for name, runs in rows.items():
        ratio = seconds[peer] / seconds[name]
        print(f"| {name} | {seconds[name]:.1f} | {ratio:.2f} | {max(mb for _, mb in runs):.0f} |")
    print()


def main() -> None:
    """Prepare the data, run the tasks, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=dense_like.DENSE_PAGES)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--task")
    arguments = parser.parse_args()
    if arguments.task:
        _run_task(arguments.task, arguments.work, arguments.pages)
        return
    command = " ".join(["python -m benchmarks.convert", *sys.argv[1:]])
    print(f"`{command}`, Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        # in a process of its own: a child's peak begins at the size of the process it came from
        again = [sys.executable, "-m", "benchmarks.convert", "--task", _prepare.__name__]
        subprocess.run([*again, "--work", folder, "--pages", str(arguments.pages)], check=True)
        _table(LABELS, work, arguments.repeat, "ultralytics_convert_coco")
        _table(TILES, work, arguments.repeat, "opencv_tiles")


if __name__ == "__main__":
    main()
