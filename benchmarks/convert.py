"""Time and memory of ``omr convert``, compared with other tools on the same labels.

    python -m benchmarks.convert                 labels like DeepScoresV2 dense, then tiles
    python -m benchmarks.convert --pages 136     a tenth of the labels
    python -m benchmarks.convert --parquet       a million labels, from JSON and from Parquet

Every row is a separate command. Tasks take turns, and times are medians over rounds, because the
machine may be shared.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import measure

TILE, OVERLAP = 640, 128
PARQUET_LABELS = 1_000_000
SAME_NAMES = "same.yaml"
"""Name of the class map that keeps the categories of a Parquet data set."""
TILE_PAGES = 60
"""Number of pages of 1960 x 2772 px from which tiles are cut."""


def json_load(work: Path) -> None:
    """Parse the JSON with the standard library, and do nothing else."""
    json.loads((work / "dense" / "deepscores_train.json").read_bytes())


def ultralytics_convert_coco(work: Path) -> None:
    """Convert the same labels in COCO format with Ultralytics' tool."""
    from ultralytics.data.converter import convert_coco

    convert_coco(str(work / "coco" / "annotations"), save_dir=str(_fresh(work)), cls91to80=False)


def opencv_tiles(work: Path) -> None:
    """Read each page and write the same tiles with OpenCV alone, in one process."""
    import cv2

    from converters.prepare.tiles import TileOptions, starts

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
    """Write the same tiles, reading and writing greyscale."""
    import cv2

    plain = cv2.imread
    cv2.imread = lambda path: plain(path, cv2.IMREAD_GRAYSCALE)  # type: ignore[assignment]
    opencv_tiles(work)


LABELS = ("json_load", "ultralytics_convert_coco", "omr_convert", "omr_convert_half")
PARQUET = ("omr_json", "omr_parquet", "omr_write_parquet")
TILES = ("opencv_tiles", "opencv_tiles_grey", "omr_tiles", "omr_tiles_2")


def _command(task: str, work: Path) -> list[str]:
    """Build the command of a task: ``omr convert``, or this module with ``--task``."""
    labels = ("--classes", "deepscores", "--labels-only")
    tiles = ("--tile", TILE, "--overlap", OVERLAP, "--workers")
    arguments: dict[str, tuple[object, ...]] = {
        "omr_convert": ("dense", *labels),
        "omr_convert_half": ("half", *labels),
        "omr_json": ("dense", *labels),
        "omr_parquet": ("parquet", "--classes", work / SAME_NAMES, "--labels-only"),
        "omr_write_parquet": ("dense", *labels, "--format", "parquet"),
        "omr_tiles": ("pages", *tiles, 1),
        "omr_tiles_2": ("pages", *tiles, 2),
    }
    if task not in arguments:
        return [sys.executable, "-m", "benchmarks.convert", "--work", str(work), "--task", task]
    source, *options = map(str, arguments[task])
    return [sys.executable, "-m", "omr", "convert", str(work / source), str(work / "out"), *options]


def _fresh(work: Path) -> Path:
    shutil.rmtree(work / "out", ignore_errors=True)
    return work / "out"


def _measure(task: str, work: Path) -> tuple[float, float]:
    """Measure time in seconds and peak MB of a task."""
    _fresh(work)
    return measure(_command(task, work))


def _run_task(name: str, work: Path, pages: int) -> None:
    if name == _prepare.__name__:
        _prepare(work, pages)
    elif name == _prepare_parquet.__name__:
        _prepare_parquet(work)
    else:
        globals()[name](work)


def _prepare(work: Path, pages: int) -> None:
    from benchmarks import dense_like

    pages = pages or dense_like.DENSE_PAGES
    annotations = round(dense_like.DENSE_ANNOTATIONS * pages / dense_like.DENSE_PAGES)
    path = dense_like.write(work / "dense", pages=pages, annotations=annotations)
    dense_like.write(work / "half", pages=pages // 2, annotations=annotations // 2, seed=1)
    dense_like.write_as_coco(path, work / "coco")
    dense_like.write_pages(work / "pages", pages=TILE_PAGES)
    size = path.stat().st_size / 1e6
    print(f"{pages} pages, {annotations} annotations, {size:.0f} MB of JSON\n")


def _prepare_parquet(work: Path) -> None:
    from benchmarks import dense_like
    from class_maps import load

    pages = round(dense_like.DENSE_PAGES * PARQUET_LABELS / dense_like.DENSE_ANNOTATIONS)
    path = dense_like.write(work / "dense", pages=pages, annotations=PARQUET_LABELS)
    subprocess.run(_command("omr_write_parquet", work), check=True, stdout=subprocess.DEVNULL)
    (work / "out").rename(work / "parquet")
    names = json.dumps(load("deepscores").names)
    text = f"name: same\nclasses: {names}\nsources: {{parquet: {{map: same names}}}}\n"
    (work / SAME_NAMES).write_text(text)
    tables = sum(file.stat().st_size for file in (work / "parquet").rglob("*.parquet"))
    sizes = f"{path.stat().st_size / 1e6:.0f} MB of JSON, {tables / 1e6:.0f} MB of Parquet"
    print(f"{pages} pages, {PARQUET_LABELS} annotations, {sizes}\n", flush=True)


def _table(tasks: tuple[str, ...], work: Path, repeat: int, peer: str) -> None:
    rows: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repeat):
        for task in tasks:
            rows.setdefault(task, []).append(_measure(task, work))
    seconds = {task: statistics.median(s for s, _ in runs) for task, runs in rows.items()}
    print(f"| task | s | {peer} / this | peak MB |\n|---|---|---|---|")
    for task, runs in rows.items():
        ratio = seconds[peer] / seconds[task]
        print(f"| {task} | {seconds[task]:.1f} | {ratio:.2f} | {max(mb for _, mb in runs):.0f} |")
    print()


def main() -> None:
    """Prepare the data, run the tasks, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=0, help="0: as many as DeepScoresV2 dense")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--parquet", action="store_true", help="compare JSON and Parquet only")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--task")
    arguments = parser.parse_args()
    if arguments.task:
        _run_task(arguments.task, arguments.work, arguments.pages)
        return
    command_line = " ".join(["python -m benchmarks.convert", *sys.argv[1:]])
    print(f"`{command_line}`, Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if arguments.parquet:
            subprocess.run(_command(_prepare_parquet.__name__, work), check=True)
            _table(PARQUET, work, arguments.repeat, "omr_json")
            return
        command = [*_command(_prepare.__name__, work), "--pages", str(arguments.pages)]
        subprocess.run(command, check=True)
        _table(LABELS, work, arguments.repeat, "ultralytics_convert_coco")
        _table(TILES, work, arguments.repeat, "opencv_tiles")


if __name__ == "__main__":
    main()
