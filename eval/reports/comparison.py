"""Comparison report: whether one model scores higher than another on the same ground truth.

:mod:`eval.metrics.comparison` computes it.
"""

from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal, TypeAlias

from eval.reports.evaluation import Interval

Metric: TypeAlias = Literal["ap", "ap50"]
"""AP over IoU .5:.05:.95, or at IoU .5."""
Verdict: TypeAlias = Literal["A is better", "B is better", "no difference shown"]
LETTERS = ascii_uppercase
"""Names of compared models: A is compared with B, C ..."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Score of A minus score of B."""

    a: float | None
    """Mean over the runs of A; None without ground truth."""
    b: float | None
    difference: float | None
    interval: Interval | None
    """Interval of the difference; None with ground truth on fewer than two pages."""
    verdict: Verdict
    """A or B is better if the interval does not contain 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDifference:
    """Difference in the AP of one class.

    About five of 100 classes without a difference have a verdict other than "no difference shown"
    by chance.
    """

    name: str
    n_truths: int
    ap: Difference


@dataclass(frozen=True, kw_only=True, slots=True)
class RunGroup:
    """Runs of one recipe with different seeds."""

    macro: tuple[float | None, ...]
    """Macro AP of each run; None without ground truth."""
    mean: float | None
    spread: float | None
    """Standard deviation between the runs; None with fewer than two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonReport:
    """Difference between two models, A and B, or between groups of runs."""

    metric: Metric
    n_pages: int
    a: RunGroup
    b: RunGroup
    macro: Difference
    """Difference of the mean over all classes with ground truth, equally weighted."""
    frequent_macro: Difference
    instance_weighted: Difference
    classes: tuple[ClassDifference, ...]
    """In the order of the class names."""
    n_bootstrap: int
    """Samples from which the intervals were computed."""
    seed: int
    """Seed of the bootstrap."""

    @property
    def verdict(self) -> Verdict:
        """Verdict on the macro mean."""
        return self.macro.verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedModel:
    """Model, or group of runs of one recipe."""

    letter: str
    """Name in tables and figures: A, B, C ..."""
    name: str
    """Folder of the evaluation, or of the evaluations of a group."""
    runs: tuple[str, ...]
    """Weights or predictions of each run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelComparison:
    """Comparison of two or more models with the first one, A."""

    models: tuple[ComparedModel, ...]
    unit: str
    """Scored images: ``page`` or ``tile``."""
    data: str
    """Name and split of the data set."""
    reports: tuple[ComparisonReport, ...]
    """Comparisons of A with each other model, in the order of ``models[1:]``."""
    settings: tuple[tuple[str, tuple[str, ...]], ...]
    """Labels of settings and inputs, each with its value for every model."""
    protocol_differences: tuple[str, ...] = ()
    """Parts of the protocol that differ, if different protocols are allowed."""
    notes: tuple[str, ...] = ()
    """Remarks on the files that were read."""
