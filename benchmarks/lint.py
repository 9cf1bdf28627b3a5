"""CPU time of each rule of ``omr lint``: boxes of a dense data set, and the ink of engraved pages.

    OMP_NUM_THREADS=1 python -m benchmarks.lint                  1,714 pages, 1.1 M boxes
    OMP_NUM_THREADS=1 python -m benchmarks.lint --pages 171      a tenth of them

Rules that read no pixels run on labels like those of DeepScoresV2 dense, whose staff space is taken
as recorded; the others on engraved pages of the same size.
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2

import class_maps
from benchmarks import dense_like
from benchmarks.timing import Phases
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from eval.lint import pages as pages_module
from eval.lint.pages import LintPage, lint_pages
from eval.lint.rules import RULES, Rule, default_settings, lint

PAGES, SYMBOLS = 1714, 1_100_000
"""Approximate size of DeepScoresV2 dense, train and test; Zenodo 4012193."""
STAFF_SPACE_PX = 17.0
"""Staff space of DeepScoresV2."""
SPLITS_ONLY = "leak-similar"
"""Rule that reads pixels only if there are several splits."""
INK_RULES = (
    "shifted-boxes",
    "missing-labels",
    SPLITS_ONLY,
    "unlabelled-ink",
    "box-without-ink",
    "swapped-classes",
    "negative-image",
)
INK_ROUNDS = 4
"""Number of times that the pixels are read; on a busy machine, a single round takes longer."""
READING = "reading labels, totals"
GOAL_S, GOAL_PAGES_PER_S = 15.0, 10.0


def box_rules(folder: Path, n_pages: int) -> None:
    """Time the rules that read no pixels."""
    n_symbols = round(SYMBOLS * n_pages / PAGES)
    dense_like.write_as_yolo(folder, pages=n_pages, annotations=n_symbols)
    dataset = open_dataset(folder)
    pages = (replace(page, recorded_space=STAFF_SPACE_PX) for page in lint_pages(dataset))
    rules = [r for r in RULES if r.id not in INK_RULES and not r.needs_predictions]
    seconds = phases(pages, dataset.names, rules, {})
    print(f"\n{n_pages:,} pages, {n_symbols:,} boxes\n")
    print_table("CPU s", seconds)
    total = sum(seconds.values())
    print(f"\nGoal of {GOAL_S:g} s: {'met' if total <= GOAL_S else 'missed'}")
    print(f"Peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def ink_rules(folder: Path, n_pages: int) -> None:
    """Time the rules that read pixels."""
    dense_like.write_pages(folder / "pages", pages=n_pages)
    options = ConversionOptions(class_map=class_maps.load("harmony"), val=0.2)
    convert(folder / "pages", folder / "data", options)
    dataset = open_dataset(folder / "data")
    rules = [rule for rule in RULES if rule.id in INK_RULES]
    reading = {
        "decoding": (images, "read"),
        "finding ink": (pages_module, "find_ink"),
        "finding unlabelled ink": (pages_module, "find_unlabelled"),
    }
    rounds = [phases(lint_pages(dataset), dataset.names, rules, reading) for _ in range(INK_ROUNDS)]
    seconds = {name: min(of_round[name] for of_round in rounds) for name in rounds[0]}
    print(f"\n{n_pages:,} engraved pages, minimum of {INK_ROUNDS} rounds\n")
    print_table("CPU ms per page", {name: 1e3 * s / n_pages for name, s in seconds.items()})
    total = sum(seconds.values())
    rates = {"several splits": n_pages / total}
    rates["a single split"] = n_pages / (total - seconds[SPLITS_ONLY])
    for data, rate in rates.items():
        goal = f"goal of {GOAL_PAGES_PER_S:g} {'met' if rate >= GOAL_PAGES_PER_S else 'missed'}"
        print(f"\n{rate:.1f} pages per second per core for {data}; {goal}")


def phases(
    pages: Iterable[LintPage],
    names: Sequence[str],
    rules: Sequence[Rule],
    functions: Mapping[str, tuple[Any, str]],
) -> dict[str, float]:
    """Check pages with some rules, and return the CPU seconds of each, and of further functions.

    Args:
        pages: Pages to check.
        names: Names of the classes.
        rules: Rules to check.
        functions: Module and name of each further function.
    """
    settings = default_settings()
    active = {rule.id for rule in rules}
    settings |= {
        name: replace(of_rule, level="off")
        for name, of_rule in settings.items()
        if name not in active
    }
    watch = Phases(outermost=READING)
    checks: dict[str, tuple[Any, str]] = {rule.id: (rule.check, "add") for rule in rules}
    with watch.watching({**functions, **checks}):
        lint(pages, names, settings)
    return {name: watch.seconds.get(name, 0.0) for name in (READING, *functions, *checks)}


def print_table(unit: str, values: Mapping[str, float]) -> None:
    """Print values and their sum."""
    print(f"| step or rule | {unit} |\n|---|---|")
    for name, value in (*values.items(), ("total", sum(values.values()))):
        print(f"| {name} | {value:.2f} |")


def main() -> None:
    """Write the data, and time the rules on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=PAGES, help="pages for rules about boxes")
    parser.add_argument("--ink-pages", type=int, default=60, help="pages for rules about ink")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    command = " ".join(["python -m benchmarks.lint", *sys.argv[1:]])
    print(f"`{command}`, Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        box_rules(Path(folder) / "boxes", arguments.pages)
        ink_rules(Path(folder) / "ink", arguments.ink_pages)


if __name__ == "__main__":
    main()
