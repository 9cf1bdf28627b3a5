"""Simulated coverage of confidence intervals of AP.

    python -m benchmarks.interval_coverage --pages 15 25 60
    python -m benchmarks.interval_coverage --pages 150 350 --samples 100

Sets of pages of different difficulty are drawn again and again, with the predictions of models
whose AP is known from a very large set, two models of each AP. The table contains the percentage of
sets in which the interval of :mod:`eval.metrics.bootstrap` contains the known value, to the three
digits of a report, for the AP of a class, the difference of two models, and the mean over four
classes. In brackets: percentage of intervals without width, which are not counted. They occur where
a class is perfect, or two scores are equal on all samples.

Shapes: P pages, N truths, L levels of AP with two models each, W weightings of the pages.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from eval.metrics.bootstrap import (
    SampleSize,
    class_sizes,
    difference_interval,
    interval,
    page_weights,
)
from eval.metrics.hits import Hits, Weights, weighted_ap
from eval.reports.evaluation import Interval

EASES = (0.745, 1.7915, 3.74, 5.4792)
"""Ease of finding symbols at each level; the AP is about .5, .75, .95 and .99."""
RATES = (0.5, 20.0)
"""Symbols per page of rare and frequent classes."""
LARGE = 40_000
"""Pages from which the true AP is computed."""
FULL = 60
"""Pages up to which all sets are drawn; the number of larger sets is lower in proportion."""
ROUNDING = 0.0005
"""Error of a limit with three digits."""


def drawn_hits(rng: np.random.Generator, n_pages: int, rate: float) -> list[Hits]:
    """Draw symbols of one class, and the predictions of two models per level.

    Args:
        rng: Source of random numbers.
        n_pages: Number of pages, P; all models find fewer symbols on difficult ones.
        rate: Symbols per page.

    Returns:
        Predictions of both models of the first level, then of the second ..., length 2 L.
    """
    difficulty = rng.normal(0, 0.6, n_pages)
    n_truths = rng.poisson(rate * np.exp(rng.normal(-0.125, 0.5, n_pages)))
    pages = np.repeat(np.arange(n_pages), n_truths)  # (N,)
    hardness = difficulty[pages] + rng.normal(0, 1, len(pages))
    models = []
    for ease in np.repeat(EASES, 2):
        is_found = rng.random(len(pages)) < 1 / (1 + np.exp(hardness - ease))
        n_false = rng.poisson(rate / 2 * np.exp(difficulty / 2))
        found_scores = rng.normal(ease - hardness[is_found] / 2, 1)
        scores = np.concatenate((found_scores, rng.normal(0, 1, n_false.sum())))
        order = np.argsort(-scores)
        models.append(
            Hits(
                scores=scores[order],
                labels=np.zeros(len(scores), np.int64),
                pages=np.concatenate((pages[is_found], np.repeat(np.arange(n_pages), n_false)))[
                    order
                ],
                is_hit=(order < len(found_scores))[None],
                order=order,
                n_truths=n_truths[:, None],
            )
        )
    return models


def level_ap(models: list[Hits], weights: Weights) -> NDArray[np.float64]:
    """Return the AP of both models of each level, shape ``(L, 2, W)``."""
    ap = [weighted_ap(hits, weights)[:, 0] for hits in models]
    return np.reshape(ap, (len(EASES), 2, -1))


def true_ap() -> NDArray[np.float64]:
    """Return the AP of each level on a very large set, shape ``(L,)``.

    The number of symbols per page does not matter in so large a set.
    """
    models = drawn_hits(np.random.default_rng(0), LARGE, RATES[-1])
    means: NDArray[np.float64] = level_ap(models, np.ones((LARGE, 1))).mean(axis=(1, 2))
    return means


def intervals(
    ap: NDArray[np.float64], size: SampleSize, truth: NDArray[np.float64]
) -> Iterator[tuple[str, Interval | None, float]]:
    """Yield each statistic of a set with its interval and true value.

    Args:
        ap: AP of both models of each level, shape ``(L, 2, W)``.
        size: Ground truth of the class.
        truth: True AP of each level, shape ``(L,)``.
    """
    for (a, b), value in zip(ap, truth, strict=True):
        for model in (a, b):
            yield f"AP {value:.2f}", interval(model, size), value
        yield f"difference {value:.2f} - {value:.2f}", difference_interval(a, b, size), 0.0
    for level in range(1, len(truth)):
        high, low = truth[level], truth[level - 1]
        limits = difference_interval(ap[level, 0], ap[level - 1, 0], size)
        yield f"difference {high:.2f} - {low:.2f}", limits, high - low
    size = SampleSize(n_pages=size.n_pages, n_truths=size.n_truths * len(truth))
    a, b = ap.mean(axis=0)
    for model in (a, b):
        yield "macro mean", interval(model, size), float(truth.mean())
    yield "difference of macro means", difference_interval(a, b, size), 0.0


def set_intervals(
    n_pages: int, rate: float, n_sets: int, n_samples: int, truth: NDArray[np.float64]
) -> Iterator[tuple[str, Interval | None, float]]:
    """Draw sets of pages, and yield the statistics of each, as :func:`intervals` does.

    Args:
        n_pages: Pages of a set.
        rate: Symbols per page.
        n_sets: Number of sets.
        n_samples: Bootstrap samples of each set.
        truth: True AP of each level, shape ``(L,)``.
    """
    rng = np.random.default_rng([n_pages, int(10 * rate)])
    for seed in range(n_sets):
        models = drawn_hits(rng, n_pages, rate)
        ap = level_ap(models, page_weights(n_pages, n_samples, seed))
        yield from intervals(ap, class_sizes(models[0].n_truths)[0], truth)


def coverage(rows: Iterator[tuple[str, Interval | None, float]]) -> dict[str, str]:
    """Format the coverage of each statistic, and the share of its intervals without width."""
    contains: dict[str, list[bool]] = defaultdict(list)
    n_intervals: dict[str, int] = defaultdict(int)
    for name, limits, value in rows:
        if limits is not None:
            n_intervals[name] += 1
            if limits.low < limits.high:
                is_inside = limits.low - ROUNDING <= value <= limits.high + ROUNDING
                contains[name].append(is_inside)
    cells = {}
    for name, n in n_intervals.items():
        share = f"{np.mean(contains[name]):.1%}" if contains[name] else ""
        without_width = 1 - len(contains[name]) / n
        cells[name] = share + (f" ({without_width:.0%})" if without_width >= 0.005 else "")
    return cells


def main() -> None:
    """Print the coverage for several numbers of pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, nargs="+", default=[15, 25, 60, 150, 350])
    parser.add_argument("--sets", type=int, default=600, help="sets of up to 60 pages")
    parser.add_argument("--samples", type=int, default=400, help="bootstrap samples")
    options = parser.parse_args()
    truth = true_ap()
    print("| symbols per page | score |", *(f"{n} pages |" for n in options.pages))
    print("|---" * (2 + len(options.pages)) + "|")
    for rate in RATES:
        columns = []
        for n_pages in options.pages:
            n_sets = max(1, options.sets * FULL // max(n_pages, FULL))
            print(f"{rate:g} symbols, {n_pages} pages: {n_sets} sets", file=sys.stderr)
            rows = set_intervals(n_pages, rate, n_sets, options.samples, truth)
            columns.append(coverage(rows))
        for name in columns[-1]:
            print(f"| {rate:g} | {name} |", *(f"{column[name]} |" for column in columns))


if __name__ == "__main__":
    main()
