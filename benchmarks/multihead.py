"""One head against several: ``python -m benchmarks.multihead TILES PAGES --results FILE``.

TILES is what ``omr convert --tile`` wrote, with pages held out, and PAGES the same pages, whole, of
the same scale. Every head is trained from nothing with the same data, steps and seeds, and scored
on the pages held out, by tiles and by whole pages:

* single: one head
* wide: one head whose class branch is so much wider that it costs as much as the separate heads
* grouped: a class branch for each group, one box branch
* separate: a box branch for each group, too, which starts at the sizes of its own classes
* random: separate, the classes dealt out to as many groups by chance

The rest varies the separate heads: boxes that start at 15 strides as in Ultralytics, at the sizes
of all classes, or at each group's own, with bins from -2 to 15 strides or from 0; and what stands
in the way of thin symbols: an augmentation that drops them, an assigner that gives them no weight.

A line of the results is a training. What stands in the file is not trained again, so that a
comparison of many hours can be cut off, or shared out among processes.
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
from converters.formats.yolo import YoloDataset, open_dataset
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
LEARNT = 0.5
"""AP50 from which a class counts as learnt."""
STRIDES = (8, 16, 32)
FULL_PAGE = 640
"""Pixels."""


def main() -> None:
    """Train what is not there yet, and print the tables."""
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
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tiles", type=Path, help="folder that omr convert --tile wrote")
    parser.add_argument("pages", type=Path, help="the same pages, whole, of the same scale")
    parser.add_argument("--results", type=Path, required=True, help="file of one line a training")
    parser.add_argument("--compare", choices=COMPARED, default="heads")
    parser.add_argument("--only", nargs="+", help="some of them, or others")
    parser.add_argument("--groups", default="harmony", help="head config whose groups are taken")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", default="omr-tiny")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--imgsz", type=int, default=320, help="pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--steps", type=int, default=111, help="from one look to the next")
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
    """Lay out mean and range over the seeds, in points."""
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
        own = [line for line in lines if line["name"] == name]
        cells = [name, str(len(own))]
        cells += [spread([figure(line) for line in own]) for figure in columns.values()]
        cells += [_steps(own, None), _steps(own, THIN), _steps(own, SMALL)]
        cells += [f"{own[0]['gigaflops']:.2f}", f"{statistics.mean(x['seconds'] for x in own):.0f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _mean_of(line: dict[str, Any], names: Sequence[str]) -> float | None:
    of_classes = line["pages"]["classes"]
    own = [of_classes[name]["ap50"] for name in names if name in of_classes]
    return statistics.mean(own) if own else None


def _class(name: str) -> Figure:
    return lambda line: line["pages"]["classes"].get(name, {}).get("ap50")


def _steps(lines: Sequence[dict[str, Any]], names: Sequence[str] | None) -> str:
    """Steps after which classes are learnt: the median over them, and the seeds' range.

    Args:
        lines: Trainings.
        names: Classes; None for all frequent ones.
    """
    medians = [_median_steps(line, names) for line in lines]
    if len(medians) == 1:
        return _step(medians[0])
    return f"{_step(statistics.median(medians))} ({_step(min(medians))}-{_step(max(medians))})"


def _median_steps(line: dict[str, Any], names: Sequence[str] | None) -> float:
    first = [_learnt_after(line, name) for name in names or _frequent(line) if _has(line, name)]
    return statistics.median_high(first) if first else float("inf")


def class_steps(lines: Sequence[dict[str, Any]], shown: Sequence[str]) -> str:
    """Lay out the steps after which each frequent class is learnt, the median over the seeds."""
    names = list(dict.fromkeys(name for line in lines for name in _frequent(line)))
    rows = [f"| steps to AP50 .5 | {' | '.join(shown)} |", f"|{'---|' * (len(shown) + 1)}"]
    for name in names:
        cells = [
            statistics.median_high(
                _learnt_after(line, name) for line in lines if line["name"] == what
            )
            for what in shown
        ]
        rows.append(f"| {name} | {' | '.join(map(_step, cells))} |")
    return "\n".join(rows)


def _frequent(line: dict[str, Any]) -> list[str]:
    of_classes = line["tiles"]["classes"]
    return [name for name, row in of_classes.items() if row["truths"] >= FREQUENT]


def _has(line: dict[str, Any], name: str) -> bool:
    return name in line["tiles"]["classes"]


def _learnt_after(line: dict[str, Any], name: str) -> float:
    """Steps after which a class had an AP50 of ``LEARNT`` for the first time."""
    steps = (int(step) for step, ap50 in line["curve"].items() if ap50.get(name, 0) >= LEARNT)
    return min(steps, default=float("inf"))


def _step(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "never"


def spread(values: Sequence[float | None]) -> str:
    """Mean and range in points, a single figure as it is, a dash where there is none."""
    known = [100 * value for value in values if value is not None]
    if len(known) < 2:
        return f"{known[0]:.1f}" if known else "-"
    return f"{statistics.mean(known):.1f} ({min(known):.1f}-{max(known):.1f})"


def ceilings(rig: Rig, compared: Mapping[str, Variant]) -> str:
    """Lay out the share of symbols that can each have an anchor point of their own."""
    rows = [f"| input | symbols | {' | '.join(compared)} |", f"|---|---|{'---|' * len(compared)}"]
    for what, data, imgsz in (
        (f"whole pages at {FULL_PAGE} px", rig.pages, FULL_PAGE),
        (f"tiles at {rig.imgsz} px, 1:1", rig.tiles, rig.imgsz),
    ):
        symbols = _symbols(data, imgsz)
        shares = [
            capacity(symbols, _heads_of(data.names, variant), STRIDES)[0] / len(symbols)
            for variant in compared.values()
        ]
        cells = [what, str(len(symbols)), *(f"{100 * share:.2f} %" for share in shares)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _symbols(data: YoloDataset, imgsz: int) -> Symbols:
    pages = (page for split in data.splits for page in data.pages(split))
    return symbols_of(pages, len(data.names), imgsz)


def _heads_of(names: Sequence[str], variant: Variant) -> np.ndarray[Any, np.dtype[np.int64]]:
    heads = np.empty(len(names), np.int64)
    for number, own in enumerate(variant.heads.labels(names)):
        heads[list(own)] = number
    return heads


if __name__ == "__main__":
    main()
