"""Confidence intervals by bootstrap over pages.

Symbols of a page are not independent of each other: a page that is printed badly lowers the score
of all its symbols. Whole pages are therefore drawn with replacement, as many as there are. Pages of
the same work are not independent either, which no method corrects.

The samples alone vary too little if there are few pages, and hardly at all near an AP of 1, because
a set with few errors contains no sign of the others. Their spread is therefore converted to the
number of independent truths that would vary as much (the effective sample size, at most the number
of truths), and the interval is that of a proportion with so many truths, as Korn and Graubard do
for surveys, with Jeffreys' interval. It is extended to the percentiles of the samples, because AP
near 1 moves in steps of .01, from recall to recall. The interval of a difference is composed of
those of its two scores, so that it is skewed like them.

``benchmarks.interval_coverage`` measures the coverage with 15 to 350 pages: 93 to 97 % for most
scores and differences, and up to 100 % near an AP of 1, or where a rare class has few errors.

hotcoco's own bootstrap is not used: it drops duplicates from each sample, so that its intervals are
narrower.

Shapes: P pages, C classes, S samples, W = 1 + S weightings of the pages.

Sources: E. Korn and B. Graubard, Confidence intervals for proportions with small expected number of
positive counts estimated from survey data, Survey Methodology 24 (1998);
C. Franco, R. Little, T. Louis and E. Slud, Comparative study of confidence intervals for
proportions in complex sample surveys, J. Surv. Stat. Methodol. 7 (2019);
L. Kish, Survey Sampling (1965), for the effective size of a weighted mean;
G. Zou and A. Donner, Construction of confidence limits about effect measures, Stat. Med. 27 (2008),
for differences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from eval.metrics.hits import Weights, weighted_sums
from eval.reports.detection import FREQUENT
from eval.reports.evaluation import Interval

CONFIDENCE = 0.95
"""Probability that an interval contains the value for all pages of this kind."""
MEANS = ("macro", "frequent_macro", "instance_weighted")
"""Names of the means, as in :class:`~eval.reports.detection.DetectionReport`."""
_LEVELS = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSize:
    """Amount of ground truth from which a score is computed."""

    n_pages: int
    """Pages with truths."""
    n_truths: float
    """Truths of a class; of a mean, the number whose plain mean would vary as much."""


def page_weights(n_pages: int, n_samples: int, seed: int) -> NDArray[np.uint16]:
    """Draw samples of the pages.

    Args:
        n_pages: Number of pages, P.
        n_samples: Number of random samples, S.
        seed: Seed of the random numbers.

    Returns:
        Number of times that each page counts, shape ``(P, W)``: once in the first column, then as
        often as it is drawn.

    Raises:
        ValueError: ``n_samples`` is below 1.
    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}")
    weights = np.ones((n_pages, 1 + n_samples), np.uint16)
    if n_pages:
        shares, generator = np.full(n_pages, 1 / n_pages), np.random.default_rng(seed)
        for i in range(n_samples):
            weights[:, 1 + i] = generator.multinomial(n_pages, shares)
    return weights


def interval(values: NDArray[np.float64], size: SampleSize) -> Interval | None:
    """Return the confidence interval of a score.

    Args:
        values: Score of each weighting, 0 to 1, shape ``(W,)``; NaN where it is not defined.
        size: Ground truth of the score.

    Returns:
        Interval; None if fewer than two pages contribute, because their spread is unknown. A score
        of 0 or 1 has no width: the errors of other pages cannot be known from it.
    """
    if not _has_spread(values, size):
        return None
    if values[0] in (0, 1):
        return Interval(low=float(values[0]), high=float(values[0]))
    low, high = _limits(values, size)
    return Interval(low=low, high=high)


def difference_interval(
    a: NDArray[np.float64], b: NDArray[np.float64], size: SampleSize
) -> Interval | None:
    """Return the confidence interval of the difference between two scores on the same pages.

    It is composed of the intervals of both as if they were independent, and scaled by the spread of
    the difference compared with that of independent scores.

    Args:
        a: First score of each weighting, as in :func:`interval`.
        b: Second score.
        size: Ground truth of both.

    Returns:
        Interval of a - b; None as in :func:`interval`. It has no width if the scores are equal on
        every sample.
    """
    difference = a - b
    if not _has_spread(difference, size):
        return None
    if not np.nan_to_num(difference).any():
        return Interval(low=0.0, high=0.0)
    (low_a, high_a), (low_b, high_b) = _limits(a, size), _limits(b, size)
    independent = np.hypot(np.nanstd(a[1:]), np.nanstd(b[1:]))
    ratio = float(np.nanstd(difference[1:]) / independent) if independent > 0 else 1.0
    value = float(difference[0])
    return Interval(
        low=value - ratio * float(np.hypot(a[0] - low_a, high_b - b[0])),
        high=value + ratio * float(np.hypot(high_a - a[0], b[0] - low_b)),
    )


def _has_spread(values: NDArray[np.float64], size: SampleSize) -> bool:
    """Return whether the spread of a score over pages is known."""
    return size.n_pages >= 2 and not np.isnan(values[0]) and not np.isnan(values[1:]).all()


def _limits(values: NDArray[np.float64], size: SampleSize) -> tuple[float, float]:
    """Return the limits of a score, which are inside 0 and 1 even for a score of 0 or 1."""
    estimate, samples = float(values[0]), values[1:][~np.isnan(values[1:])]
    n = size.n_truths
    variance = float(samples.var()) * size.n_pages / (size.n_pages - 1)
    if variance > 0:
        few_pages = (_t_quantile(n - 1) / _t_quantile(size.n_pages - 1)) ** 2
        n = min(n, few_pages * estimate * (1 - estimate) / variance)
    jeffreys = _beta_quantiles(estimate * n + 0.5, (1 - estimate) * n + 0.5, _LEVELS)
    limits = [estimate, *jeffreys, *np.quantile(samples, _LEVELS)]
    return float(min(limits)), float(max(limits))


@cache
def _t_quantile(freedom: float) -> float:
    """Return the upper limit of Student's t, whose square is a ratio of the beta distribution."""
    freedom = max(freedom, 1.0)
    [share] = _beta_quantiles(0.5, freedom / 2, [CONFIDENCE])
    return float((freedom * share / (1 - share)) ** 0.5)


def _beta_quantiles(a: float, b: float, levels: Sequence[float]) -> list[float]:
    """Return quantiles of the beta distribution, by integration over the logit; a, b >= .5."""
    steps = np.linspace(-20, 20, 1001)
    logits = np.log(a / b) + steps * (1 / a + 1 / b) ** 0.5
    logs = -a * np.logaddexp(0, -logits) - b * np.logaddexp(0, logits)
    densities = np.exp(logs - logs.max())
    shares = (densities.cumsum() - densities / 2) / densities.sum()
    quantiles = 1 / (1 + np.exp(-np.interp(levels, shares, logits)))
    return [float(quantile) for quantile in quantiles]


def class_sizes(n_truths: NDArray[np.int64]) -> list[SampleSize]:
    """Count the ground truth of each class.

    Args:
        n_truths: Truths by page and class, shape ``(P, C)``.
    """
    n_pages = np.count_nonzero(n_truths, axis=0).tolist()
    totals = n_truths.sum(axis=0).tolist()
    return [SampleSize(n_pages=p, n_truths=n) for p, n in zip(n_pages, totals, strict=True)]


def mean_sizes(n_truths: NDArray[np.int64]) -> dict[str, SampleSize]:
    """Return the ground truth of the means of :func:`mean_ap`, by name.

    Args:
        n_truths: Truths by page and class, shape ``(P, C)``.
    """
    totals = n_truths.sum(axis=0)  # (C,)
    weights = _class_weights((totals > 0)[None], n_truths, np.ones((len(n_truths), 1)))
    return {name: _mean_size(n_truths, shares[0]) for name, shares in weights.items()}


def _mean_size(n_truths: NDArray[np.int64], shares: NDArray[np.float64]) -> SampleSize:
    """Return the ground truth of a mean over classes with weights, shape ``(C,)``."""
    n_truths, shares = n_truths[:, shares > 0], shares[shares > 0]
    squares = (shares**2 / n_truths.sum(axis=0)).sum()
    return SampleSize(
        n_pages=int(n_truths.any(axis=1).sum()),
        n_truths=float(shares.sum() ** 2 / squares) if len(shares) else 0.0,
    )


def mean_ap(
    ap: NDArray[np.float64], n_truths: NDArray[np.int64], weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Average the AP over classes in the three ways of a detection report.

    Frequent classes are those of all pages, not of a sample.

    Args:
        ap: AP of each class, shape ``(W, C)``; NaN for a class without truths.
        n_truths: Truths by page and class, shape ``(P, C)``.
        weights: Number of times that each page counts, shape ``(P, W)``.

    Returns:
        Means by name, shape ``(W,)``; NaN if no class has truths.
    """
    has_ap = ~np.isnan(ap)
    values = np.where(has_ap, ap, 0.0)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        return {
            name: (values * shares).sum(axis=1) / shares.sum(axis=1)
            for name, shares in _class_weights(has_ap, n_truths, weights).items()
        }


def _class_weights(
    has_ap: NDArray[np.bool_], n_truths: NDArray[np.int64], weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Return the weight of each class in each mean, shape ``(W, C)``."""
    return {
        "macro": has_ap.astype(np.float64),
        "frequent_macro": (has_ap & (n_truths.sum(axis=0) >= FREQUENT)).astype(np.float64),
        "instance_weighted": weighted_sums(weights, n_truths),
    }
