"""Simulated coverage of confidence intervals of AP: ``python -m benchmarks.interval_coverage``.

Sets of pages of different difficulty are drawn again and again. The table shows in which share of
cases the interval of :mod:`eval.metrics.bootstrap` contains the AP of a very large set; 95 % is the
goal.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from eval.metrics.bootstrap import Resampling
from eval.metrics.hits import Hits, weighted_ap

LARGE = 40_000
"""Pages from which the true AP is computed."""


def drawn_hits(rng: np.random.Generator, n_pages: int) -> Hits:
    """Draw predictions of one class: difficult pages have more misses, and lower scores."""
    difficulty = rng.normal(0, 0.6, n_pages)
    n_truths = rng.poisson(4, n_pages)
    n_found = rng.binomial(n_truths, 1 / (1 + np.exp(difficulty - 1.2)))
    n_false = rng.poisson(2 * np.exp(difficulty / 2))
    pages = np.repeat(np.tile(np.arange(n_pages), 2), [*n_found, *n_false])
    is_hit = np.arange(len(pages)) < n_found.sum()
    scores = rng.normal(is_hit * (1 - difficulty[pages] / 2), 1)
    order = np.argsort(-scores)
    return Hits(
        scores=scores[order],
        labels=np.zeros(len(pages), np.int64),
        pages=pages[order],
        is_hit=is_hit[order][None],
        n_truths=n_truths[:, None],
    )


def coverage(n_pages: int, n_simulations: int, n_samples: int, seed: int = 0) -> float:
    """Return the share of simulations whose interval contains the true AP.

    Args:
        n_pages: Pages of a set.
        n_simulations: Number of sets.
        n_samples: Bootstrap samples of each set.
        seed: Seed of the sets.
    """
    rng = np.random.default_rng(seed)
    truth = _ap(drawn_hits(rng, LARGE), np.ones((LARGE, 1)))[0]
    n_inside = 0
    for i in range(n_simulations):
        samples = Resampling.of(n_pages, n_samples, seed=i)
        interval = samples.interval(_ap(drawn_hits(rng, n_pages), samples.weights))
        n_inside += interval is not None and interval.low <= truth <= interval.high
    return n_inside / n_simulations


def _ap(hits: Hits, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return weighted_ap(hits, weights)[:, 0]


def main() -> None:
    """Print the coverage for several numbers of pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, nargs="+", default=[20, 60, 150, 350])
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples")
    options = parser.parse_args()
    print("| pages | coverage | standard error |\n|---|---|---|")
    for n_pages in options.pages:
        share = coverage(n_pages, options.simulations, options.samples)
        error = (share * (1 - share) / options.simulations) ** 0.5
        print(f"| {n_pages} | {share:.1%} | {error:.1%} |", flush=True)


if __name__ == "__main__":
    main()
