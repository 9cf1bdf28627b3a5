"""Sentences and tables of a comparison, for its web page, its Markdown and the terminal."""

from collections.abc import Sequence

from eval.html.number_format import NONE, amount, counted
from eval.html.page import Table
from eval.reports.comparison import (
    ClassDifference,
    ComparedModel,
    ComparisonReport,
    Difference,
    ModelComparison,
    RunGroup,
    Verdict,
)
from eval.reports.detection import FREQUENT
from eval.reports.evaluation import Interval

METRIC_NAMES = {"ap": "AP50-95", "ap50": "AP50"}
MEANS = (
    ("macro", "macro"),
    ("frequent_macro", f"macro, {FREQUENT}+ symbols"),
    ("instance_weighted", "instance-weighted"),
)
"""Key and title of each mean."""
_ROUNDING = 1e-9
"""Largest difference of equal scores, by rounding."""
CHANCE = 0.05
"""Share of the classes without a real difference that show one by chance."""


def signed(value: float | None) -> str:
    """Format a difference between two scores; one that is not 0 never looks like 0."""
    if value is None:
        return NONE
    return f"{value:+.1g}" if _ROUNDING < abs(value) < 0.0005 else f"{value + 0.0:+.3f}"


def signed_limits(interval: Interval | None) -> str:
    """Format the interval of a difference."""
    return NONE if interval is None else f"{signed(interval.low)} to {signed(interval.high)}"


def score(value: float | None) -> str:
    """Format a score between 0 and 1."""
    return NONE if value is None else f"{value:.3f}"


def verdict_of(verdict: Verdict, letter: str) -> str:
    """Return a verdict with the letter of the model that A is compared with."""
    return verdict if verdict != "B is better" else f"{letter} is better"


def better(difference: Difference, letter: str) -> str:
    """Return the letter of the better model, or a dash if no difference is shown."""
    letters = {"A is better": "A", "B is better": letter}
    return letters.get(difference.verdict, NONE)


def is_shown(difference: Difference) -> bool:
    """Return whether one of the models is better."""
    return difference.verdict != "no difference shown"


def mean_of(report: ComparisonReport, key: str) -> Difference:
    """Return the difference of one of the means by its key in ``MEANS``."""
    difference: Difference = getattr(report, key)
    return difference


def title(comparison: ModelComparison) -> str:
    """Name what is compared: ``small (A, best.pt) compared with large (B, 3 runs)``."""
    labels = []
    for model in comparison.models:
        n_runs = len(model.runs)
        runs = model.runs[0] if n_runs == 1 else counted(n_runs, "run", "runs")
        labels.append(f"{model.name} ({model.letter}, {runs})")
    return f"{labels[0]} compared with {_joined(labels[1:])}"


def pair_title(a: ComparedModel, b: ComparedModel) -> str:
    """Name the folders of A and one other model."""
    return f"{a.name} ({a.letter}) compared with {b.name} ({b.letter})"


def headline(comparison: ModelComparison) -> str:
    """Return the verdict on all models in one sentence."""
    by_verdict: dict[str, list[str]] = {}
    for model, report in zip(comparison.models[1:], comparison.reports, strict=True):
        by_verdict.setdefault(report.verdict, []).append(model.letter)
    if all(report.macro.difference is None for report in comparison.reports):
        return "No difference shown: nothing can be compared without ground truth"
    if len(comparison.reports) == 1:
        a, b = (f"{model.name} ({model.letter})" for model in comparison.models)
        verdicts = {
            "A is better": f"{a} is better than {b}",
            "B is better": f"{b} is better than {a}",
        }
        return verdicts.get(
            comparison.reports[0].verdict, f"No difference shown between {a} and {b}"
        )
    parts = []
    for verdict, phrase in (("B is better", "better than A"), ("A is better", "worse than A")):
        if letters := by_verdict.get(verdict):
            parts.append(f"{_joined(letters)} {'is' if len(letters) == 1 else 'are'} {phrase}")
    if letters := by_verdict.get("no difference shown"):
        parts.append(f"no difference shown between A and {_joined(letters, 'or')}")
    text = "; ".join(parts)
    return text[0].upper() + text[1:]


def _joined(letters: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join(filter(None, (", ".join(letters[:-1]), letters[-1])))


def evidence(report: ComparisonReport, letter: str) -> str:
    """Return the scores and the difference behind a verdict in one sentence."""
    macro = report.macro
    if macro.difference is None:
        return "Nothing to compare: no class has ground truth."
    text = (
        f"Macro {METRIC_NAMES[report.metric]}: A {score(macro.a)}, {letter} {score(macro.b)}, "
        f"difference A - {letter} {signed(macro.difference)}"
    )
    if macro.interval is None:
        return f"{text}; no interval, because a single image has ground truth."
    return f"{text}, 95% interval {signed_limits(macro.interval)}."


def scope(comparison: ModelComparison) -> str:
    """Explain whether a verdict is about weights or about recipes."""
    if all(len(model.runs) > 1 for model in comparison.models):
        return (
            "The intervals include the variation between pages and between the runs of a group, so "
            "the verdict is on the recipes, as far as these few runs represent them."
        )
    single = [model.letter for model in comparison.models if len(model.runs) == 1]
    return (
        "The intervals include the variation between pages, but not between seeds of "
        f"{_joined(single)}: another seed of the same recipe can give another verdict."
    )


def by_chance(report: ComparisonReport, letter: str) -> str:
    """Count the classes with a difference, and those to expect by chance."""
    known = [row for row in report.classes if row.ap.interval is not None]
    n_a = sum(row.ap.verdict == "A is better" for row in known)
    n_b = sum(row.ap.verdict == "B is better" for row in known)
    n_absent = sum(not row.n_truths for row in report.classes)
    text = (
        f"{counted(len(known), 'class', 'classes')} with an interval: A is better in {n_a}, "
        f"{letter} in {n_b}, no difference shown in {len(known) - n_a - n_b}. Without any real "
        f"difference, about {amount(CHANCE * len(known))} would show one by chance."
    )
    n_other = len(report.classes) - len(known) - n_absent
    if n_other:
        text += f" {counted(n_other, 'class has', 'classes have')} truths on a single image."
    return text


def by_size(report: ComparisonReport) -> list[ClassDifference]:
    """Return the classes with truths, those with a shown difference first, by its size.

    Classes without an interval are last.
    """
    present = [row for row in report.classes if row.ap.difference is not None]
    return sorted(
        present,
        key=lambda row: (
            not is_shown(row.ap), row.ap.interval is None, -abs(row.ap.difference or 0), row.name,
        ),
    )  # fmt: skip


def class_table(report: ComparisonReport, letter: str) -> Table:
    """Return the scores and the difference of each class with truths."""
    return Table(
        label=f"Classes of A and {letter}",
        columns=("class", "truths", "A", letter, f"A - {letter}", "95% interval", "better"),
        rows=[(row.name, amount(row.n_truths), *_cells(row.ap, letter)) for row in by_size(report)],
        tall=True,
    )


def means_table(report: ComparisonReport, letter: str) -> Table:
    """Return the difference of each mean."""
    return Table(
        label=f"Means of A and {letter}",
        columns=("mean", "A", letter, f"A - {letter}", "95% interval", "better"),
        rows=[(title, *_cells(mean_of(report, key), letter)) for key, title in MEANS],
    )


def _cells(difference: Difference, letter: str) -> tuple[str, ...]:
    return (
        score(difference.a),
        score(difference.b),
        signed(difference.difference),
        signed_limits(difference.interval),
        better(difference, letter),
    )


def groups_of(comparison: ModelComparison) -> list[RunGroup]:
    """Return the scores of the runs of each model."""
    return [comparison.reports[0].a, *(report.b for report in comparison.reports)]


def ranking_table(comparison: ModelComparison) -> Table:
    """Return all models, highest macro mean first, each with its difference from A."""
    groups = groups_of(comparison)
    rows = []
    for i in sorted(range(len(groups)), key=lambda i: -(groups[i].mean or 0.0)):
        model, group = comparison.models[i], groups[i]
        difference = comparison.reports[i - 1].macro if i else None
        rows.append(
            (
                model.letter,
                model.name,
                amount(len(model.runs)),
                score(group.mean),
                score(group.spread),
                signed(None if difference is None else difference.difference),
                signed_limits(None if difference is None else difference.interval),
                NONE if difference is None else better(difference, model.letter),
            )
        )
    metric = METRIC_NAMES[comparison.reports[0].metric]
    return Table(
        label=f"Ranking by macro {metric}",
        columns=(
            "model", "folder", "runs", metric, "spread", "A - model", "95% interval", "better",
        ),
        texts=(1,),
        rows=rows,
    )  # fmt: skip


def settings_table(comparison: ModelComparison) -> Table:
    """Return the inputs and settings of each model."""
    return Table(
        label="Inputs and settings",
        columns=("", *(model.letter for model in comparison.models)),
        texts=tuple(range(1, len(comparison.models) + 1)),
        rows=[(label, *values) for label, values in comparison.settings],
    )


def protocol_warning(comparison: ModelComparison) -> str:
    """Name the parts of the protocol that differ; empty if none does."""
    if not comparison.protocol_differences:
        return ""
    return (
        f"Different protocols: {'; '.join(comparison.protocol_differences)}. The difference in "
        "scores may come from the protocol instead of the models."
    )
