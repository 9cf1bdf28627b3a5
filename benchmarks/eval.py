"""Time and memory of an evaluation, compared with plain pycocotools.

    python -m benchmarks.eval                   352 pages, and 5,000 without a peer
    python -m benchmarks.eval --pages 20 --many 100
    python -m benchmarks.eval --many 0          without the second size

Each page has 700 symbols and 1,500 predictions of 136 classes. Every task runs in a process of its
own; its peak memory includes the pages, which are drawn before the time starts: up to 64 MB of
truths and of predictions each, while the rest is in temporary files. "pycocotools" and "hotcoco"
are the AP alone: loading, ``evaluate`` and ``accumulate`` with one area range and one limit.
"evaluate" is :func:`eval.metrics.coco.evaluate`, with checks and means. "in depth" is the whole
report. ``OMP_NUM_THREADS`` does not limit hotcoco; ``RAYON_NUM_THREADS=1`` does.
"""

import argparse
import os
import platform
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from benchmarks.crowded_pages import crowded_pages
from benchmarks.timing import Cost, measured
from converters.page import Page
from converters.stored_pages import StoredPages
from eval.metrics.backends import Backend, run
from eval.metrics.batches import evaluator_input
from eval.metrics.coco import evaluate
from eval.metrics.evaluation import evaluate_in_depth
from eval.metrics.matching import pair_pages

PAGES, MANY_PAGES = 352, 5000
TRUTHS, PREDICTIONS, CLASSES = 700, 1500, 136
"""Symbols and predictions per page, and classes; close to DeepScoresV2 dense."""
SAMPLES = 1000
"""Bootstrap samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """Cost of a task, and what it computed."""

    cost: Cost
    peak_mb: float
    curves: NDArray[np.float64] | None = None
    """All precisions and recalls, if the task is one of the evaluators."""


def evaluator(backend: Backend, n_pages: int) -> Result:
    """Run an evaluator alone."""
    truths, predictions, _ = _pages(n_pages)
    curves: dict[str, NDArray[np.float64]] = {}

    def task() -> None:
        data = evaluator_input(pair_pages(truths, predictions, CLASSES)[:], CLASSES)
        curves.update(run(data, backend).eval)

    cost = measured(task)
    values = np.concatenate([np.ravel(curves[key]) for key in ("precision", "recall")])
    return Result(cost=cost, peak_mb=_peak_mb(), curves=values)


def metrics(n_pages: int) -> Result:
    """Compute the metrics of ``omr eval`` with hotcoco."""
    truths, predictions, names = _pages(n_pages)
    cost = measured(lambda: evaluate(truths, predictions, names))
    return Result(cost=cost, peak_mb=_peak_mb())


def in_depth(n_pages: int, n_samples: int) -> Result:
    """Compute the whole report."""
    truths, predictions, names = _pages(n_pages)
    cost = measured(
        lambda: evaluate_in_depth(
            truths, predictions, names, unit="page", chosen_threshold=0.25, n_bootstrap=n_samples
        )
    )
    return Result(cost=cost, peak_mb=_peak_mb())


def _pages(n_pages: int) -> tuple[Sequence[Page], Sequence[Page], tuple[str, ...]]:
    """Draw pages into temporary files, as ``omr eval`` stores them."""
    truths, predictions = StoredPages(), StoredPages()
    names: tuple[str, ...] = ()
    for i in range(n_pages):
        drawn = crowded_pages(
            n_pages=1, n_truths=TRUTHS, n_predictions=PREDICTIONS, n_classes=CLASSES, seed=i
        )
        for stored, (page,) in zip((truths, predictions), drawn[:2], strict=True):
            stored.append(replace(page, image=PurePosixPath(f"{i:06}.png")))
        names = drawn[2]
    return truths, predictions, names


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(task: Callable[..., Result], *arguments: object) -> Result:
    """Run a task in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(task, arguments)


def row(n_pages: int, name: str, result: Result, reference: Result | None) -> str:
    """Return a row of the table; the ratio is that of CPU time."""
    ratio = f"{reference.cost.cpu_s / result.cost.cpu_s:.1f}" if reference else ""
    cost = f"{result.cost.wall_s:.2f} | {result.cost.cpu_s:.2f}"
    per_page = f"{1000 * result.cost.cpu_s / n_pages:.2f}"
    return f"| {n_pages} | {name} | {cost} | {per_page} | {ratio} | {result.peak_mb:.0f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--many", type=int, default=MANY_PAGES, help="pages of the second size")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="bootstrap samples")
    options = parser.parse_args()
    command = " ".join(["python -m benchmarks.eval", *sys.argv[1:]])
    print(f"`{command}`, Python {platform.python_version()}, {os.cpu_count()} cores,")
    print(f"hotcoco {version('hotcoco')}, pycocotools {version('pycocotools')}\n")
    print("| pages | task | s | CPU s | CPU ms per page | times as fast | peak MB |")
    print("|---|---|---|---|---|---|---|")
    reference = alone(evaluator, "pycocotools", options.pages)
    print(row(options.pages, "pycocotools", reference, reference), flush=True)
    engine = alone(evaluator, "hotcoco", options.pages)
    print(row(options.pages, "hotcoco", engine, reference), flush=True)
    print(row(options.pages, "evaluate", alone(metrics, options.pages), reference), flush=True)
    if options.many:
        print(row(options.many, "evaluate", alone(metrics, options.many), None), flush=True)
    report = alone(in_depth, options.pages, options.samples)
    print(row(options.pages, "in depth", report, reference), flush=True)
    if options.many:
        report = alone(in_depth, options.many, options.samples)
        print(row(options.many, "in depth", report, None), flush=True)
    assert reference.curves is not None
    assert engine.curves is not None
    difference = np.abs(engine.curves - reference.curves).max()
    print(f"\nLargest difference in any precision or recall: {difference:g}")


if __name__ == "__main__":
    main()
