"""One and several heads compared: ``python -m benchmarks.multihead TILES PAGES --results FILE``.

TILES is the output of ``omr convert --tile`` with held-out pages, and PAGES the same pages, uncut
and at the same scale. Every head is trained from scratch with the same data, steps and seeds, and
scored on the held-out pages, by tile and by whole page:

* single: one head
* wide: one head whose class branch is so wide that it costs as much as the separate heads
* grouped: a class branch per group, one box branch
* separate: also a box branch per group, which starts at the sizes of the group's classes
* random: separate, with randomly assigned classes

Further comparisons vary the separate heads: boxes that start at 15 strides as in Ultralytics, at
the sizes of all classes, or at those of each group, with bins from -2 to 15 strides or from 0; and
obstacles to thin symbols, such as an augmentation that drops them, or an assigner that gives them
no weight.

Each line of the results file is a training run. Runs with an existing line are not repeated, so
that a comparison of many hours can be interrupted, or distributed over processes.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.assigner import machine
from benchmarks.multihead_runs import SMALL, THIN, Figure, Rig, Variant, run, variants
from converters.formats.datasets import open_dataset
from converters.formats.yolo_dataset import YoloDataset
from eval.reports.detection import FREQUENT
from training.grouping.matching import capacity
from training.grouping.statistics import Symbols, symbols_of

HEADS = ("single", "wide", "grouped", "separate", "random")
STARTS = (
    "stock start, stock bins",
    "stock start",
    "shared start, stock bins",
    "shared start",
    "own start, stock bins",
    "separate",
)
WALLS = (
    "separate",
    "stock augmentation",
    "stock assigner",
    "ciou",
    "stems by wasserstein",
    "stems by dilated iou",
    "stems by beta 3",
    "p2",
    "480 px",
)
COMPARED = {"heads": HEADS, "starts": STARTS, "walls": WALLS}
LEARNED = 0.5
"""AP50 from which a class counts as learned."""
STRIDES = (8, 16, 32)
FULL_PAGE = 640
"""Input side for whole pages in pixels."""


def main() -> None:
    """Carry out the missing training runs, and print the tables."""
    options = options_of()
    rig = Rig(
        tiles=open_dataset(options.tiles),
        pages=open_dataset(options.pages),
        threads=torch.get_num_threads(),
        **{
            name: getattr(options, name)
            for name in ("model", "epochs", "imgsz", "batch", "lr", "device", "steps")
        },
    )
    known = variants(rig.tiles.names, options.groups, rig)
    names = options.only or COMPARED[options.compare]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    for seed in options.seeds:
        for name in names:
            if not _is_there(options.results, name, seed):
                _append(options.results, run(name, known[name], seed, rig))
    lines = _lines(options.results)
    shown = [name for name in names if any(line["name"] == name for line in lines)]
    print(table(lines, shown))
    print(f"\n{class_steps(lines, shown)}")
    print(f"\n{ceilings(rig, {name: known[name] for name in ('single', 'separate', 'random')})}")
    print(f"\n{machine(rig.threads, options.device, 'multihead')}")


def options_of() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tiles", type=Path, help="folder that omr convert --tile wrote")
    parser.add_argument("pages", type=Path, help="the same pages, whole, with the same scale")
    parser.add_argument("--results", type=Path, required=True, help="file with a line per training")
    parser.add_argument("--compare", choices=COMPARED, default="heads")
    parser.add_argument("--only", nargs="+", help="names of the variants to compare")
    parser.add_argument("--groups", default="harmony", help="head config that defines the groups")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", default="omr-tiny")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--imgsz", type=int, default=320, help="pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--steps", type=int, default=111, help="steps between evaluations")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def _lines(results: Path) -> list[dict[str, Any]]:
    if not results.is_file():
        return []
    return [json.loads(line) for line in results.read_text("utf-8").splitlines()]


def _is_there(results: Path, name: str, seed: int) -> bool:
    return any((line["name"], line["seed"]) == (name, seed) for line in _lines(results))


def _append(results: Path, figures: dict[str, Any]) -> None:
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(figures) + "\n")


def table(lines: Sequence[dict[str, Any]], shown: Sequence[str]) -> str:
    """Format mean and range over the seeds in points."""
    columns: dict[str, Figure] = {
        "AP, pages": lambda line: line["pages"]["macro"]["ap"],
        "AP by instances, pages": lambda line: line["pages"]["instance_weighted"]["ap"],
        "AP50, pages": lambda line: line["pages"]["macro"]["ap50"],
        "AP, tiles": lambda line: line["tiles"]["macro"]["ap"],
        "AP of frequent, tiles": lambda line: line["tiles"]["frequent_macro"]["ap"],
        "AP50 of thin, pages": lambda line: _mean_of(line, THIN),
        "AP50 of small, pages": lambda line: _mean_of(line, SMALL),
        **{f"AP50 {name}": _class(name) for name in (*THIN, *SMALL)},
    }
    titles = ["", "seeds", *columns, "steps to AP50 .5", "thin", "small", "GFLOPs", "s"]
    rows = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for name in shown:
        runs = [line for line in lines if line["name"] == name]
        cells = [name, str(len(runs))]
        cells += [spread([figure(line) for line in runs]) for figure in columns.values()]
        cells += [_steps(runs, None), _steps(runs, THIN), _steps(runs, SMALL)]
        seconds = statistics.mean(line["seconds"] for line in runs)
        cells += [f"{runs[0]['gigaflops']:.2f}", f"{seconds:.0f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _mean_of(line: dict[str, Any], names: Sequence[str]) -> float | None:
    classes = line["pages"]["classes"]
    values = [classes[name]["ap50"] for name in names if name in classes]
    return statistics.mean(values) if values else None


def _class(name: str) -> Figure:
    return lambda line: line["pages"]["classes"].get(name, {}).get("ap50")


def _steps(lines: Sequence[dict[str, Any]], names: Sequence[str] | None) -> str:
    """Format the steps after which classes are learned: their median, and its range over seeds.

    Args:
        lines: Training runs that differ in their seed only.
        names: Class names; None for all frequent classes.
    """
    medians = [_median_steps(line, names) for line in lines]
    if len(medians) == 1:
        return _step(medians[0])
    return f"{_step(statistics.median(medians))} ({_step(min(medians))}-{_step(max(medians))})"


def _median_steps(line: dict[str, Any], names: Sequence[str] | None) -> float:
    first = [_learned_after(line, name) for name in names or _frequent(line) if _has(line, name)]
    return statistics.median_high(first) if first else float("inf")


def class_steps(lines: Sequence[dict[str, Any]], shown: Sequence[str]) -> str:
    """Format the steps after which each frequent class is learned, the median over the seeds."""
    names = list(dict.fromkeys(name for line in lines for name in _frequent(line)))
    rows = [f"| steps to AP50 .5 | {' | '.join(shown)} |", f"|{'---|' * (len(shown) + 1)}"]
    for name in names:
        cells = [
            statistics.median_high(
                _learned_after(line, name) for line in lines if line["name"] == variant
            )
            for variant in shown
        ]
        rows.append(f"| {name} | {' | '.join(map(_step, cells))} |")
    return "\n".join(rows)


def _frequent(line: dict[str, Any]) -> list[str]:
    classes = line["tiles"]["classes"]
    return [name for name, row in classes.items() if row["truths"] >= FREQUENT]


def _has(line: dict[str, Any], name: str) -> bool:
    return name in line["tiles"]["classes"]


def _learned_after(line: dict[str, Any], name: str) -> float:
    """Return the first step at which a class had an AP50 of ``LEARNED``."""
    steps = (int(step) for step, ap50 in line["curve"].items() if ap50.get(name, 0) >= LEARNED)
    return min(steps, default=float("inf"))


def _step(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "never"


def spread(values: Sequence[float | None]) -> str:
    """Format mean and range in points, a single value alone, or a dash without values."""
    known = [100 * value for value in values if value is not None]
    if len(known) < 2:
        return f"{known[0]:.1f}" if known else "-"
    return f"{statistics.mean(known):.1f} ({min(known):.1f}-{max(known):.1f})"


def ceilings(rig: Rig, compared: Mapping[str, Variant]) -> str:
    """Format the fraction of symbols that can each have a separate anchor point."""
    rows = [f"| input | symbols | {' | '.join(compared)} |", f"|---|---|{'---|' * len(compared)}"]
    for title, data, imgsz in (
        (f"whole pages at {FULL_PAGE} px", rig.pages, FULL_PAGE),
        (f"tiles at {rig.imgsz} px, 1:1", rig.tiles, rig.imgsz),
    ):
        symbols = _symbols(data, imgsz)
        shares = [
            capacity(symbols, _heads_of(data.names, variant), STRIDES)[0] / len(symbols)
            for variant in compared.values()
        ]
        cells = [title, str(len(symbols)), *(f"{100 * share:.2f} %" for share in shares)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _symbols(data: YoloDataset, imgsz: int) -> Symbols:
    pages = (page for split in data.splits for page in data.pages(split))
    return symbols_of(pages, len(data.names), imgsz)


def _heads_of(names: Sequence[str], variant: Variant) -> np.ndarray[Any, np.dtype[np.int64]]:
    heads = np.empty(len(names), np.int64)
    for number, labels in enumerate(variant.heads.labels(names)):
        heads[list(labels)] = number
    return heads


if __name__ == "__main__":
    main()
