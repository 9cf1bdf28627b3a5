"""CPU time of each rule of ``omr lint``: boxes of a dense data set, and the ink of engraved pages.

    OMP_NUM_THREADS=1 python -m benchmarks.lint                  1,714 pages, 1.1 M boxes
    OMP_NUM_THREADS=1 python -m benchmarks.lint --pages 171      a tenth of them

Rules that read no pixels run on labels like those of DeepScoresV2 dense, whose staff space is taken
as recorded; the others on engraved pages of the same size. Rules run one after the other; images
are decoded and their ink is found once for all rules.
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2

import class_maps
from benchmarks import dense_like
from converters.conversion import ConversionOptions, convert
from converters.formats.yolo_dataset import open_dataset
from eval.lint.pages import LintPage, lint_pages
from eval.lint.rules import RULES, RuleSettings, default_settings, lint

PAGES, SYMBOLS = 1714, 1_100_000
"""Approximate size of DeepScoresV2 dense, train and test; Zenodo 4012193."""
STAFF_SPACE_PX = 17.0
"""Staff space of DeepScoresV2."""
INK_RULES = ("shifted-boxes", "missing-labels", "box-without-ink", "swapped-classes")
GOAL_S, GOAL_PAGES_PER_S = 15.0, 10.0


def only(rule: str) -> dict[str, RuleSettings]:
    """Return settings with which only one rule is checked."""
    settings = default_settings()
    off = {name: replace(s, level="off") for name, s in settings.items() if name != rule}
    return settings | {
        name: RuleSettings(level="off", thresholds=s.thresholds) for name, s in off.items()
    }


def cpu_seconds(task: Callable[[], object]) -> float:
    """Run a task once."""
    started = time.process_time()
    task()
    return time.process_time() - started


def box_rules(folder: Path, n_pages: int) -> None:
    """Time the rules that read no pixels."""
    n_symbols = round(SYMBOLS * n_pages / PAGES)
    dense_like.write_as_yolo(folder, pages=n_pages, annotations=n_symbols)
    dataset = open_dataset(folder)
    pages: list[LintPage] = []
    reading = cpu_seconds(
        lambda: pages.extend(
            replace(page, recorded_space=STAFF_SPACE_PX) for page in lint_pages(dataset)
        )
    )
    rules = [rule.id for rule in RULES if rule.id not in INK_RULES]
    print(f"\n{n_pages:,} pages, {sum(len(page.rows) for page in pages):,} boxes\n")
    total = print_times({"reading": reading}, rules, pages, dataset.names, "s", 1.0)
    print(f"\nGoal of {GOAL_S:g} s: {'met' if total <= GOAL_S else 'missed'}")
    print(f"Peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def ink_rules(folder: Path, n_pages: int) -> None:
    """Time the rules that read the ink."""
    dense_like.write_pages(folder / "pages", pages=n_pages)
    options = ConversionOptions(class_map=class_maps.load("harmony"))
    convert(folder / "pages", folder / "data", options)
    dataset = open_dataset(folder / "data")
    pages = list(lint_pages(dataset))
    reading = {
        "decoding": cpu_seconds(lambda: [page.pixels for page in pages]),
        "finding ink": cpu_seconds(lambda: [page.ink for page in pages]),
    }
    print(f"\n{len(pages):,} engraved pages, {sum(len(page.rows) for page in pages):,} boxes\n")
    total = print_times(reading, INK_RULES, pages, dataset.names, "ms per page", 1e3 / len(pages))
    rate = 1000 / total
    goal = f"goal of {GOAL_PAGES_PER_S:g} {'met' if rate >= GOAL_PAGES_PER_S else 'missed'}"
    print(f"\n{rate:.1f} pages per second per core; {goal}")


def print_times(
    reading: dict[str, float],
    rules: Sequence[str],
    pages: Sequence[LintPage],
    names: Sequence[str],
    unit: str,
    factor: float,
) -> float:
    """Print the time of each step and rule, and return their sum in ``unit``.

    Args:
        reading: CPU seconds before the first rule, by step.
        rules: Rules to time.
        pages: Pages to check.
        names: Names of the classes.
        unit: Unit of the times.
        factor: Factor from seconds to this unit.
    """
    seconds = dict(reading)
    for rule in rules:
        seconds[rule] = cpu_seconds(lambda rule=rule: lint(pages, names, only(rule)))  # type: ignore[misc]
    print(f"| step or rule | CPU {unit} |\n|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {factor * value:.2f} |")
    total = factor * sum(seconds.values())
    print(f"| total | {total:.1f} |")
    return total


def main() -> None:
    """Write the data, and time the rules on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=PAGES, help="pages for rules about boxes")
    parser.add_argument("--ink-pages", type=int, default=24, help="pages for rules about ink")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    command = " ".join(["python -m benchmarks.lint", *sys.argv[1:]])
    print(f"`{command}`, Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        box_rules(Path(folder) / "boxes", arguments.pages)
        ink_rules(Path(folder) / "ink", arguments.ink_pages)


if __name__ == "__main__":
    main()
