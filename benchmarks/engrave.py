"""Speed and memory of ``omr engrave``, compared with another renderer, and counts of its symbols.

    python -m benchmarks.engrave                            speed, memory and table of categories
    python -m benchmarks.engrave --pages 20 --many 40       a short run

The reference draws the same scores without labels: verovio typesets and resvg rasterises them.
Speed excludes the start of the process: the time for all pages less the time for the first ones.
Tasks take turns, and figures are medians over rounds, because the machine may be shared.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Literal

from benchmarks.measuring import measure

WIDTH, HEIGHT = 1960, 2772
TASKS = ("verovio_resvg", "omr_numpy", "omr_blend2d", "omr_numpy_2", "omr_blend2d_2")
DEEPSCORES = 136
"""Number of DeepScoresV2's classes, which come first in the list of categories."""


def verovio_resvg(target: Path, pages: int) -> None:
    """Draw the same scores in the same layouts with resvg from verovio's SVG, without labels."""
    from resvg import render, usvg

    from converters.engraving import smufl, typesetting
    from converters.engraving.pieces import Piece, set_piece

    target.mkdir()
    for number in range(pages):
        rng = random.Random(f"0/{number}/0")
        layout = typesetting.draw_layout(rng, WIDTH, HEIGHT, smufl.FONTS)
        page = set_piece(Piece(work=number + 1), layout, (WIDTH, HEIGHT), "plain", rng)
        if page is not None:
            tree = usvg.Tree.from_str(page.svg, usvg.Options.default())
            (target / f"{number}.png").write_bytes(bytes(render(tree, (1, 0, 0, 0, 1, 0))))


def omr(
    target: Path,
    pages: int,
    rasteriser: Literal["numpy", "blend2d"],
    style: Literal["plain", "mixed"],
    workers: int,
) -> None:
    """Engrave a data set."""
    from converters.engraving.dataset import EngravingOptions, engrave
    from converters.engraving.pages import PageOptions

    page = PageOptions(width=WIDTH, height=HEIGHT, style=style, rasteriser=rasteriser)
    engrave(target, EngravingOptions(pages=pages, page=page), workers=workers)


def _run(task: str, target: Path, pages: int) -> None:
    if task == "verovio_resvg":
        verovio_resvg(target, pages)
    else:
        style: Literal["plain", "mixed"] = "mixed" if task == "omr_mixed" else "plain"
        rasteriser: Literal["numpy", "blend2d"] = "blend2d" if "blend2d" in task else "numpy"
        omr(target, pages, rasteriser, style, 2 if task.endswith("_2") else 1)


def _measure(task: str, pages: int, work: Path) -> tuple[float, float, Path]:
    """Run a task, and return its time in seconds, peak MB and output folder."""
    target = Path(tempfile.mkdtemp(dir=work)) / "out"
    options = ["--task", task, "--target", str(target), "--pages", str(pages)]
    seconds, peak = measure([sys.executable, "-m", "benchmarks.engrave", *options])
    return seconds, peak, target


def _speed(pages: int, repeat: int, work: Path) -> None:
    rates: dict[str, list[float]] = {}
    for _ in range(repeat):
        for task in TASKS:
            start, _, _ = _measure(task, 2, work)
            seconds, _, _ = _measure(task, pages, work)
            rates.setdefault(task, []).append((pages - 2) / (seconds - start))
    peer = statistics.median(rates[TASKS[0]])
    print(f"| task | pages/s | this / {TASKS[0]} |\n|---|---|---|")
    for task, values in rates.items():
        rate = statistics.median(values)
        print(f"| {task} | {rate:.2f} | {rate / peer:.2f} |")
    print()


def _memory_and_categories(many: int, work: Path) -> None:
    print("| pages | s | peak MB |\n|---|---|---|")
    target = work
    for pages in (many // 10, many):
        seconds, peak, target = _measure("omr_mixed", pages, work)
        print(f"| {pages} | {seconds:.0f} | {peak:.0f} |")
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    counts = manifest["categories"]
    deepscores = sum(1 for n in list(counts.values())[:DEEPSCORES] if n)
    print(f"\n{manifest['symbols']} symbols on {many} pages, about half of them decorated;")
    print(f"{deepscores} of DeepScoresV2's {DEEPSCORES} classes, {sum(map(bool, counts.values()))}")
    print(f"categories in total; {manifest['collisions']} symbols overlap another;")
    print(f"re-drawn: {manifest['rejected']}\n")
    print("| category | per 1,000 pages |\n|---|---|")
    for name, n in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"| {name} | {n * 1000 / many:.0f} |")


def main() -> None:
    """Run the tasks, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--task")
    parser.add_argument("--target", type=Path)
    arguments = parser.parse_args()
    if arguments.task:
        _run(arguments.task, arguments.target, arguments.pages)
        return
    command_line = " ".join(["python -m benchmarks.engrave", *sys.argv[1:]])
    print(f"`{command_line}`, Python {platform.python_version()}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as folder:
        _speed(arguments.pages, arguments.repeat, Path(folder))
        _memory_and_categories(arguments.many, Path(folder))


if __name__ == "__main__":
    main()
