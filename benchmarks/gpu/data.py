"""Data for the steps of the GPU run: engraved pages, tiles, whole pages and COCO-like images.

    python -m benchmarks.gpu.data WORK [--small] [--workers N]

Every part gets its final name in WORK only when it is complete, and existing parts are kept, so
that steps can start while later parts are still being created:

* ``whole``: full pages with all 136 classes, the longer side 640 px, for throughput;
* ``coco_like``: photograph-like JPEG images with 7 objects of 80 classes on average;
* ``sheets``: full pages in their own size with their labels, for prediction;
* ``pages``: engraved pages; pieces and music font of the validation pages do not occur
  elsewhere;
* ``tiles``: the same pages in tiles of 320 px, for learning.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from benchmarks.gpu.coco_like import draw_image
from benchmarks.gpu.results import Results
from converters import images
from converters.files.atomic_folder import atomic_folder
from converters.files.process_pool import in_order
from omr.demo import options as demo
from omr.options import n_processes

RESULTS_FILE = "data.json"
IMAGE_SUFFIXES = ".png", ".jpg"
PARTS = "whole", "coco_like", "sheets", "pages", "tiles"
IMGSZ = 640
"""Longer side of whole pages and COCO-like images in pixels."""
TILE = demo.TILE
"""Side of a tile in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Amounts:
    """Sizes of the data sets."""

    pages: int
    """Engraved pages that are cut into tiles."""
    held_out: float
    """Fraction of their pieces that is held out."""
    staff_space: int
    """Staff space of the tiles in pixels; a smaller value gives fewer tiles."""
    whole: int
    """Number of different whole pages, the fuller half of the engraved pages."""
    whole_copies: int
    """Files per whole page, so that an epoch has enough batches for every loader process."""
    coco_like: int
    """COCO-like training images."""
    sheets: int
    """Full pages in their own size."""
    val: int
    """Validation images of ``whole`` and ``coco_like``."""


FULL = Amounts(
    pages=800,
    held_out=0.05,
    staff_space=demo.STAFF_SPACE,
    whole=64,
    whole_copies=16,
    coco_like=1024,
    sheets=24,
    val=8,
)
SMALL = Amounts(
    pages=4, held_out=0.25, staff_space=6, whole=1, whole_copies=16, coco_like=16, sheets=1, val=1
)


def main() -> None:
    """Create all missing parts, and record how long each took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for the data sets")
    parser.add_argument("--small", action="store_true", help="a few images of each kind")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 = one per core")
    options = parser.parse_args()
    prepare(options.work, SMALL if options.small else FULL, n_processes(options.workers))


def prepare(work: Path, amounts: Amounts, workers: int) -> None:
    """Create all missing parts, in the order in which they are needed.

    Args:
        work: Folder of the data sets, which is created.
        amounts: Sizes of the data sets.
        workers: Worker processes.
    """
    makers: dict[str, Callable[[Path, Amounts, int], None]] = {
        "whole": make_whole,
        "coco_like": make_coco_like,
        "sheets": make_sheets,
        "pages": make_pages,
        "tiles": make_tiles,
    }
    work.mkdir(parents=True, exist_ok=True)
    results = Results(work / RESULTS_FILE)
    results.table(f"Data, made by {workers} processes", ("part", "images", "s"))
    for name in PARTS:
        if (work / name).exists():
            continue
        begin = time.monotonic()
        makers[name](work, amounts, workers)
        seconds = round(time.monotonic() - begin, 1)
        files = (work / name).rglob("*.*")
        results.row(name, sum(file.suffix in IMAGE_SUFFIXES for file in files), seconds)


def make_sheets(work: Path, amounts: Amounts, workers: int) -> None:
    """Engrave full pages, and convert them in their own size."""
    engrave(work / ".sheets", amounts.sheets, workers)
    how = ["--classes", "harmony", "--workers", workers]
    run_omr("convert", work / ".sheets", work / "sheets", *how)


def make_pages(work: Path, amounts: Amounts, workers: int) -> None:
    """Engrave the pages that are cut into tiles."""
    hold_out = ["--val", amounts.held_out, "--holdout-font", demo.HOLDOUT_FONT]
    engrave(work / "pages", amounts.pages, workers, "--size", demo.SIZE, *hold_out)


def make_tiles(work: Path, amounts: Amounts, workers: int) -> None:
    """Convert the pages as ``omr demo`` does."""
    scale = ["--scale", f"staff-space:{amounts.staff_space}"]
    how = ["--classes", "harmony", "--tile", TILE, *scale, "--workers", workers]
    run_omr("convert", work / "pages", work / "tiles", *how)


def make_whole(work: Path, amounts: Amounts, workers: int) -> None:
    """Engrave pages of full size, keep the fullest, and resize them to the network's input.

    Otherwise the loader would decode 5-megapixel images, which would hide the speed of training
    itself. Labels do not change, because they are fractions of the image.
    """
    scratch = work / ".whole"
    shutil.rmtree(scratch, ignore_errors=True)
    engrave(scratch / "pages", 2 * amounts.whole, workers)
    converted = scratch / "data"
    how = ["--classes", "deepscores", "--workers", workers]
    run_omr("convert", scratch / "pages", converted, *how)
    stems = fullest(converted / "labels" / "train", amounts.whole)
    with atomic_folder(work / "whole") as folder:
        for split in ("train", "val"):
            (folder / "images" / split).mkdir(parents=True)
            (folder / "labels" / split).mkdir(parents=True)
        copies = {"train": amounts.whole_copies, "val": 1}
        tasks = [
            (converted, folder, stem, split, n)
            for split, n in copies.items()
            for stem in (stems if split == "train" else stems[: amounts.val])
        ]
        for _ in in_order(resize_page, tasks, workers):
            pass
        write_data_yaml(folder, yaml.safe_load((converted / "data.yaml").read_text())["names"])
    shutil.rmtree(scratch)


def fullest(labels: Path, n: int) -> list[str]:
    """Choose the pages with the most symbols.

    Args:
        labels: Folder of YOLO label files.
        n: Pages to choose.

    Returns:
        Names without suffix, fullest first.
    """
    n_symbols = {file.stem: file.read_text("ascii").count("\n") for file in labels.glob("*.txt")}
    return sorted(n_symbols, key=lambda stem: (-n_symbols[stem], stem))[:n]


def resize_page(task: tuple[Path, Path, str, str, int]) -> None:
    """Write a page at the size of the network's input, under several names.

    Args:
        task: Converted data set, folder to fill, name of the page, split, and number of files.
    """
    source, folder, stem, split, n_copies = task
    page = images.read(source / "images" / "train" / f"{stem}.png")
    height, width = page.shape[:2]
    factor = IMGSZ / max(height, width)
    small = images.scaled(page, round(width * factor), round(height * factor))
    label_file = source / "labels" / "train" / f"{stem}.txt"
    for copy in range(n_copies):
        image = folder / "images" / split / f"{stem}_{copy}.png"
        labels = folder / "labels" / split / f"{stem}_{copy}.txt"
        if copy == 0:
            images.write(small, image)
            shutil.copyfile(label_file, labels)
        else:
            os.link(image.with_name(f"{stem}_0.png"), image)
            os.link(labels.with_name(f"{stem}_0.txt"), labels)


def make_coco_like(work: Path, amounts: Amounts, workers: int) -> None:
    """Draw images with the density of COCO."""
    with atomic_folder(work / "coco_like") as folder:
        for split, n, first in (("train", amounts.coco_like, 0), ("val", amounts.val, 10**6)):
            (folder / "images" / split).mkdir(parents=True)
            (folder / "labels" / split).mkdir(parents=True)
            draw = partial(draw_image, folder, split)
            for _ in in_order(draw, range(first, first + n), workers):
                pass
        write_data_yaml(folder, {label: f"class{label}" for label in range(80)})


def write_data_yaml(folder: Path, names: dict[int, str]) -> None:
    """Write the ``data.yaml`` of a YOLO folder with a train and a val split."""
    content = {"train": "images/train", "val": "images/val", "names": names}
    (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")


def engrave(folder: Path, n_pages: int, workers: int, *options: object) -> None:
    """Engrave pages in both styles."""
    how = ["--pages", n_pages, "--style", "mixed", "--workers", workers, *options]
    run_omr("engrave", folder, *how)


def run_omr(*arguments: object) -> None:
    """Run an ``omr`` command in a separate process.

    Raises:
        SystemExit: The command failed; the message contains the end of its output.
    """
    command = [sys.executable, "-m", "omr", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}: exit status {result.returncode}\n{result.stderr[-2000:]}")


if __name__ == "__main__":
    main()
