"""Simulated coverage of confidence intervals of AP.

    python -m benchmarks.interval_coverage
    python -m benchmarks.interval_coverage --pages 25 --sets 4000 --samples 1000

Sets of pages of different difficulty are drawn again and again, with predictions of three models
for rare and frequent classes that are easy or hard to find: A, B, which is equally good, and C,
which is as good as A in the next harder class. The table contains the percentage of sets in which
the interval of :mod:`eval.metrics.bootstrap` contains the value of a very large set, to the three
digits of a report. In brackets: percentage of sets in which the interval has no width and is not
counted, because the class is perfect, or the scores are equal on all samples.

Shapes: P pages, C classes, M models, N predictions.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eval.metrics.bootstrap import (
    class_sizes,
    difference_interval,
    interval,
    mean_ap,
    mean_sizes,
    page_weights,
)
from eval.metrics.hits import Hits, weighted_ap
from eval.reports.evaluation import Interval

EASES = (-0.3, 0.745, 1.79, 3.74, 5.48)
"""Ease of finding the symbols of a class, hardest first; the AP is about .22, .5, .75, .95, .99."""
RATES = (0.5, 20.0)
"""Symbols per page of rare and frequent classes."""
CLASSES = tuple((rate, (ease, ease, harder)) for rate in RATES for harder, ease in pairwise(EASES))
"""Symbols per page and ease for A, B and C of each class."""
LARGE = 40_000
"""Pages from which the true AP is computed."""
FULL = 60
"""Pages of a set up to which all sets are drawn; of larger ones fewer, to save time."""
ROUNDING = 0.0005
"""Error of a limit with three digits."""


def drawn_hits(
    rng: np.random.Generator, n_pages: int, classes: Sequence[tuple[float, tuple[float, ...]]]
) -> list[Hits]:
    """Draw the predictions of M models; all find fewer symbols on difficult pages.

    Args:
        rng: Source of random numbers.
        n_pages: Number of pages, P.
        classes: Symbols per page, and ease for each model, of each class, length C.
    """
    difficulty = rng.normal(0, 0.6, n_pages)
    tables: list[list[NDArray[np.float64]]] = [[] for _ in classes[0][1]]
    n_truths = np.zeros((n_pages, len(classes)), np.int64)
    for label, (rate, eases) in enumerate(classes):
        n_truths[:, label] = rng.poisson(rate * np.exp(rng.normal(-0.125, 0.5, n_pages)))
        pages = np.repeat(np.arange(n_pages), n_truths[:, label])
        hardness = difficulty[pages] + rng.normal(0, 1, len(pages))
        for table, ease in zip(tables, eases, strict=True):
            is_found = rng.random(len(pages)) < 1 / (1 + np.exp(hardness - ease))
            scores = rng.normal(ease - hardness[is_found] / 2, 1)
            n_false = rng.poisson(rate / 2 * np.exp(difficulty / 2))
            false_pages = np.repeat(np.arange(n_pages), n_false)
            false_scores = rng.normal(0, 1, len(false_pages))
            table.append(_rows(label, scores, pages[is_found], is_hit=True))
            table.append(_rows(label, false_scores, false_pages, is_hit=False))
    return [_hits(np.hstack(table), n_truths) for table in tables]


def _rows(
    label: int, scores: NDArray[np.float64], pages: NDArray[np.int64], *, is_hit: bool
) -> NDArray[np.float64]:
    """Return labels, scores, pages and hits of predictions, shape ``(4, N)``."""
    n = len(scores)
    return np.vstack((np.full(n, label), scores, pages, np.full(n, is_hit)))


def _hits(table: NDArray[np.float64], n_truths: NDArray[np.int64]) -> Hits:
    labels, scores, pages, is_hit = table[:, np.lexsort((-table[1], table[0]))]
    return Hits(
        scores=scores,
        labels=labels.astype(np.int64),
        pages=pages.astype(np.int64),
        is_hit=is_hit[None] > 0,
        n_truths=n_truths,
    )


def true_ap() -> NDArray[np.float64]:
    """Return the AP of each class for A, B and C, shape ``(M, C)``, on a very large set.

    The number of symbols per page does not matter in so large a set.
    """
    classes = [(RATES[-1], (ease,)) for ease in EASES]
    [hits] = drawn_hits(np.random.default_rng(0), LARGE, classes)
    ap = weighted_ap(hits, np.ones((LARGE, 1)))[0]
    return np.tile([ap[1:], ap[1:], ap[:-1]], len(RATES))


def intervals(
    rng: np.random.Generator, n_pages: int, n_samples: int, truth: NDArray[np.float64]
) -> Iterator[tuple[str, Interval | None, float]]:
    """Draw one set, and yield each statistic with its interval and true value.

    Args:
        rng: Source of random numbers.
        n_pages: Pages of the set.
        n_samples: Bootstrap samples.
        truth: True AP, shape ``(M, C)``.
    """
    weights = page_weights(n_pages, n_samples, seed=int(rng.integers(1 << 32)))
    models = drawn_hits(rng, n_pages, CLASSES)
    n_truths = models[0].n_truths
    ap = [weighted_ap(hits, weights) for hits in models]  # M x (W, C)
    for label, size in enumerate(class_sizes(n_truths)):
        a, b, c = (values[:, label] for values in ap)
        name = f"{CLASSES[label][0]:g} | {truth[0, label]:.2f}"
        yield f"class A | {name}", interval(a, size), truth[0, label]
        yield f"class A - B | {name}", difference_interval(a, b, size), 0.0
        change = truth[0, label] - truth[2, label]
        name += f" - {truth[2, label]:.2f}"
        yield f"class A - C | {name}", difference_interval(a, c, size), change
    a, b, c = (mean_ap(values, n_truths, weights)["macro"] for values in ap)
    size = mean_sizes(n_truths)["macro"]
    better, _, worse = truth[:, n_truths.any(axis=0)].mean(axis=1)
    yield "macro A | | ", interval(a, size), better
    yield "macro A - B | | ", difference_interval(a, b, size), 0.0
    yield "macro A - C | | ", difference_interval(a, c, size), better - worse


def coverage(
    n_pages: int, n_sets: int, n_samples: int, truth: NDArray[np.float64], seed: int = 0
) -> dict[str, tuple[float | None, float]]:
    """Measure the coverage of the intervals of each statistic.

    Args:
        n_pages: Pages of a set.
        n_sets: Number of sets.
        n_samples: Bootstrap samples of each set.
        truth: True AP, shape ``(M, C)``.
        seed: Seed of the sets.

    Returns:
        Share of the intervals that contain the true value, None if all are without width; and
        share of intervals without width.
    """
    rng = np.random.default_rng(seed)
    contains: dict[str, list[bool]] = defaultdict(list)
    n_intervals: dict[str, int] = defaultdict(int)
    for _ in range(n_sets):
        for name, limits, value in intervals(rng, n_pages, n_samples, truth):
            if limits is not None:
                n_intervals[name] += 1
                if limits.low < limits.high:
                    is_inside = limits.low - ROUNDING <= value <= limits.high + ROUNDING
                    contains[name].append(is_inside)
    return {
        name: (
            float(np.mean(contains[name])) if contains[name] else None,
            1 - len(contains[name]) / n,
        )
        for name, n in n_intervals.items()
    }


def cell(share: float | None, without_width: float) -> str:
    """Format the coverage and the share of intervals without width."""
    text = "" if share is None else f"{share:.1%}"
    return f"{text} ({without_width:.0%})" if without_width >= 0.005 else text


def main() -> None:
    """Print the coverage for several numbers of pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, nargs="+", default=[15, 25, 60, 150, 350])
    parser.add_argument("--sets", type=int, default=1000, help="sets of up to 60 pages")
    parser.add_argument("--samples", type=int, default=100, help="bootstrap samples")
    options = parser.parse_args()
    truth = true_ap()
    columns = []
    for n_pages in options.pages:
        n_sets = max(1, options.sets * FULL // max(n_pages, FULL))
        print(f"{n_pages} pages: {n_sets} sets", file=sys.stderr)
        columns.append(coverage(n_pages, n_sets, options.samples, truth))
    print("| score | symbols per page | AP |", *(f"{n} |" for n in options.pages))
    print("|---" * (3 + len(columns)) + "|")
    for name in columns[-1]:
        print(f"| {name} |", *(f"{cell(*column[name])} |" for column in columns))


if __name__ == "__main__":
    main()
