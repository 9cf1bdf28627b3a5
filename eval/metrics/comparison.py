"""Comparison of models, or of groups of runs, on the same ground truth.

All are scored on the same random samples of the pages: pages that are hard for one are hard for
the other as well, so that their difference varies less than their scores. Runs of a group are drawn
as well, because another seed gives another score; with one run per group, the verdict is on these
sets of weights, and not on their recipes.

hotcoco's ``compare`` is not used, for the reason given in :mod:`eval.metrics.bootstrap`.

Shapes: P pages, C classes, K runs of a group, W weightings of the pages.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError
from converters.page import Page
from converters.tracking import Track, untracked
from eval.metrics.backends import Backend
from eval.metrics.batches import batches_of
from eval.metrics.bootstrap import (
    MEANS,
    SampleSize,
    class_sizes,
    difference_interval,
    mean_ap,
    mean_sizes,
    page_weights,
)
from eval.metrics.hits import Weights, find_hits, weighted_ap
from eval.metrics.matching import pair_pages
from eval.reports.comparison import (
    LETTERS,
    ClassDifference,
    ComparisonReport,
    Difference,
    Metric,
    RunGroup,
    Verdict,
)

TrackRuns: TypeAlias = Track[Iterable[Page]]
"""Yields runs unchanged while showing progress; the second argument is the number of runs."""
_IOUS = {"ap": tuple(np.linspace(0.5, 0.95, 10).tolist()), "ap50": (0.5,)}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Scores:
    """AP of one run, or mean of several, on samples of the pages."""

    classes: NDArray[np.float64]
    """AP of each class, shape ``(W, C)``; NaN without truths."""
    n_truths: NDArray[np.int64]
    """Truths by page and class, shape ``(P, C)``."""
    macro: NDArray[np.float64]
    """Mean over classes, shape ``(W,)``, like the next two."""
    frequent_macro: NDArray[np.float64]
    instance_weighted: NDArray[np.float64]


def compare_runs(
    truths: Iterable[Page],
    groups: Sequence[Sequence[Iterable[Page]]],
    names: Sequence[str],
    *,
    metric: Metric = "ap",
    n_bootstrap: int = 1000,
    seed: int = 0,
    backend: Backend = "hotcoco",
    track: TrackRuns = untracked,
) -> tuple[ComparisonReport, ...]:
    """Compare the AP of groups of predictions with that of the first group.

    Args:
        truths: Pages with ground truth, one per image.
        groups: Predictions of each run of A, B, C ..., with scores, one page per image of
            ``truths``.
        names: Class names, indexed by label.
        metric: AP over IoU .5:.05:.95, or at IoU .5, which takes a fifth of the time.
        n_bootstrap: Samples from which confidence intervals are computed.
        seed: Seed of these samples.
        backend: Evaluator that matches symbols.
        track: Wrapper around the runs that shows progress.

    Returns:
        Comparisons of A with B, of A with C ...; none for a single group.

    Raises:
        ConfigError: ``names`` or a group is empty, or ground truth and predictions are not for
            the same images, contain an image more than once, or disagree about an image's size.
        ValueError: A label is out of range, a prediction page has no scores, a coordinate or score
            is not finite, a box has a negative side, ``n_bootstrap`` is below 1, or there are more
            groups than letters.
    """
    if not names:
        raise ConfigError("no classes to compare; expected at least one class name")
    if len(groups) > len(LETTERS):
        raise ValueError(f"expected at most {len(LETTERS)} groups, got {len(groups)}")
    for letter, runs in zip(LETTERS, groups, strict=False):
        if not runs:
            raise ConfigError(f"{letter}: no predictions to compare; expected at least one run")
    pages = list(truths)
    weights = page_weights(len(pages), n_bootstrap, seed)
    every = [run for runs in groups for run in runs]
    scores = iter(
        [
            _run_scores(pages, run, len(names), weights, metric, backend)
            for run in track(every, len(every))
        ]
    )
    rng = np.random.default_rng([seed, 1])
    compared = [_compared(list(islice(scores, len(runs))), rng) for runs in groups]
    return tuple(
        ComparisonReport(
            metric=metric,
            n_pages=len(pages),
            a=compared[0].group,
            b=other.group,
            n_bootstrap=n_bootstrap,
            seed=seed,
            classes=_class_differences(names, compared[0].mean, other.mean),
            **_mean_differences(compared[0].mean, other.mean),
        )
        for other in compared[1:]
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Compared:
    """Scores of the runs of a group, on all pages and on samples."""

    group: RunGroup
    mean: _Scores


def _compared(runs: Sequence[_Scores], rng: np.random.Generator) -> _Compared:
    return _Compared(group=_group(runs), mean=_drawn_mean(runs, rng))


def _mean_differences(a: _Scores, b: _Scores) -> dict[str, Difference]:
    """Compare the means over classes, by name."""
    sizes = mean_sizes(a.n_truths)
    return {name: _difference(getattr(a, name), getattr(b, name), sizes[name]) for name in MEANS}


def _run_scores(
    truths: Sequence[Page],
    predictions: Iterable[Page],
    n_classes: int,
    weights: Weights,
    metric: Metric,
    backend: Backend,
) -> _Scores:
    """Score one run on all samples of the pages."""
    batches = batches_of(pair_pages(truths, predictions, n_classes), n_classes)
    hits = find_hits(batches, backend, _IOUS[metric])
    ap = weighted_ap(hits, weights, None)  # (W, C)
    return _Scores(classes=ap, n_truths=hits.n_truths, **mean_ap(ap, hits.n_truths, weights))


def _drawn_mean(runs: Sequence[_Scores], rng: np.random.Generator) -> _Scores:
    """Average over runs, which are drawn with replacement in the random samples of the pages.

    The mean of K drawn runs varies too little, by the factor ``(K - 1) / K`` of its variance, which
    is made up for.
    """
    n_runs, n_drawn = len(runs), len(runs[0].macro) - 1
    drawn = rng.multinomial(n_runs, np.full(n_runs, 1 / n_runs), n_drawn).T / n_runs  # (K, S)
    widening = (n_runs / (n_runs - 1)) ** 0.5 if n_runs > 1 else 1.0
    shares = np.full((n_runs, 1 + n_drawn), 1 / n_runs)  # (K, W)
    shares[:, 1:] += widening * (drawn - 1 / n_runs)

    def mean(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        weighted = [(value.T * share).T for value, share in zip(values, shares, strict=True)]
        return np.asarray(np.sum(weighted, axis=0))

    return _Scores(
        classes=mean([run.classes for run in runs]),
        n_truths=runs[0].n_truths,
        macro=mean([run.macro for run in runs]),
        frequent_macro=mean([run.frequent_macro for run in runs]),
        instance_weighted=mean([run.instance_weighted for run in runs]),
    )


def _group(runs: Sequence[_Scores]) -> RunGroup:
    """Return the macro AP of each run on all pages, with mean and spread."""
    macro = np.array([run.macro[0] for run in runs])
    has_spread = len(macro) > 1 and not np.isnan(macro).any()
    return RunGroup(
        macro=tuple(map(_known, macro.tolist())),
        mean=_known(float(macro.mean())),
        spread=float(macro.std(ddof=1)) if has_spread else None,
    )


def _class_differences(names: Sequence[str], a: _Scores, b: _Scores) -> tuple[ClassDifference, ...]:
    rows = zip(names, class_sizes(a.n_truths), a.classes.T, b.classes.T, strict=True)
    return tuple(
        ClassDifference(
            name=name, n_truths=int(size.n_truths), ap=_difference(values_a, values_b, size)
        )
        for name, size, values_a, values_b in rows
    )


def _difference(a: NDArray[np.float64], b: NDArray[np.float64], size: SampleSize) -> Difference:
    """Compare two scores.

    Args:
        a: Score of A on each sample, shape ``(W,)``, that on all pages first.
        b: Score of B.
        size: Ground truth of both.
    """
    interval = difference_interval(a, b, size)
    verdict: Verdict = "no difference shown"
    if interval is not None and interval.low > 0:
        verdict = "A is better"
    if interval is not None and interval.high < 0:
        verdict = "B is better"
    return Difference(
        a=_known(float(a[0])),
        b=_known(float(b[0])),
        difference=_known(float(a[0] - b[0])),
        interval=interval,
        verdict=verdict,
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
