"""Web page of a comparison, self-contained: the verdict first, then the figures behind it."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.html.number_format import amount, counted
from eval.html.page import Fact, Plot, PlotGroup, Table, render
from eval.html.score_plots import Bar, BarRow, differences
from eval.reports.comparison import (
    ClassDifference,
    ComparedModel,
    ComparisonReport,
    ModelComparison,
)
from eval.reports.comparison_text import (
    METRIC_NAMES,
    by_chance,
    by_size,
    class_table,
    evidence,
    groups_of,
    headline,
    is_shown,
    means_table,
    pair_title,
    protocol_warning,
    ranking_table,
    scope,
    score,
    settings_table,
    signed,
    signed_limits,
    title,
)
from eval.reports.detection import FREQUENT

_ROWS_PER_PLOT = 15
_LEAST_REACH = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSection:
    """Figures of A and one other model."""

    letter: str
    title: str
    evidence: str
    chance: str
    means: Table
    plots: PlotGroup
    table: Table


def comparison_page(comparison: ModelComparison) -> str:
    """Return the HTML page of a comparison; it needs no network and no other file.

    Args:
        comparison: Comparison to draw.
    """
    first, *models = comparison.models
    others = zip(models, comparison.reports, strict=True)
    return render(
        "comparison.html.j2",
        title=title(comparison),
        headline=headline(comparison),
        subtitle=subtitle(comparison),
        models=_model_facts(comparison),
        warning=protocol_warning(comparison),
        scope=scope(comparison),
        method=method(comparison),
        notes=comparison.notes,
        ranking=ranking_table(comparison),
        frequent=FREQUENT,
        sections=[_section(first, model, report) for model, report in others],
        settings=settings_table(comparison),
    )


def subtitle(comparison: ModelComparison) -> str:
    """Return which models were compared, and on what, in one line."""
    n_pages = comparison.reports[0].n_pages
    metric = METRIC_NAMES[comparison.reports[0].metric]
    units = counted(n_pages, comparison.unit, f"{comparison.unit}s")
    return f"{title(comparison)}: {metric} on {units} of {comparison.data}"


def method(comparison: ModelComparison) -> str:
    """Explain where the intervals come from."""
    report = comparison.reports[0]
    return (
        f"Intervals: 95%, by paired bootstrap over {comparison.unit}s "
        f"({counted(report.n_bootstrap, 'sample', 'samples')}, seed {report.seed}). A difference "
        "is shown if its interval does not contain 0."
    )


def _model_facts(comparison: ModelComparison) -> list[Fact]:
    facts = []
    metric = METRIC_NAMES[comparison.reports[0].metric]
    for model, group in zip(comparison.models, groups_of(comparison), strict=True):
        lines = [f"macro {metric}"]
        if len(model.runs) > 1:
            runs = ", ".join(map(score, group.macro))
            lines = [f"mean macro {metric} of {len(model.runs)} runs: {runs}"]
            lines.append(f"spread (standard deviation) {score(group.spread)}")
        label = f"{model.letter}: {model.name}"
        facts.append(Fact(label=label, figure=score(group.mean), note="\n".join(lines)))
    return facts


def _section(
    first: ComparedModel, model: ComparedModel, report: ComparisonReport
) -> ComparisonSection:
    letter = model.letter
    return ComparisonSection(
        letter=letter,
        title=pair_title(first, model),
        evidence=evidence(report, letter),
        chance=by_chance(report, letter),
        means=means_table(report, letter),
        plots=_class_plots(report, letter),
        table=class_table(report, letter),
    )


def _class_plots(report: ComparisonReport, letter: str) -> PlotGroup:
    """Draw the difference of each class with its interval; those not shown are hidden at first."""
    classes = by_size(report)
    n_shown = sum(is_shown(row.ap) for row in classes)
    shown = _plots(classes[:n_shown], letter, "shown")
    others = _plots(classes[n_shown:], letter, "others")
    count = counted(len(classes) - n_shown, "class", "classes")
    return PlotGroup(
        name=f"class-bars-{letter}",
        plots=shown or others[:1],
        hidden=others if shown else others[1:],
        hidden_title=f"{count} without a shown difference" if shown else "Other classes",
    )


def _plots(classes: Sequence[ClassDifference], letter: str, name: str) -> list[Plot]:
    plots = []
    for i in range(0, len(classes), _ROWS_PER_PLOT):
        part = classes[i : i + _ROWS_PER_PLOT]
        rows = [_bar_row(row, letter) for row in part]
        label = f"A - {letter} by class: {'; '.join(f'{row.name} {row.note}' for row in rows)}"
        plot = f"plot-{letter}-{name}-{i // _ROWS_PER_PLOT}"
        plots.append(Plot(svg=differences(plot, label, rows, reach=_reach(classes))))
    return plots


def _bar_row(row: ClassDifference, letter: str) -> BarRow:
    interval = row.ap.interval
    tooltip = (
        f"{row.name}: A {score(row.ap.a)}, {letter} {score(row.ap.b)}, 95% interval of the "
        f"difference {signed_limits(interval)}, {amount(row.n_truths)} truths"
    )
    bar = Bar(
        value=row.ap.difference,
        interval=(interval.low, interval.high) if interval else None,
        tooltip=tooltip,
        pale=not is_shown(row.ap),
    )
    note = f"{signed(row.ap.difference)}, n = {amount(row.n_truths)}"
    return BarRow(name=row.name, note=note, bars=[bar])


def _reach(classes: Sequence[ClassDifference]) -> float:
    """Return the distance of the axis' ends from 0, so that all bars and intervals fit."""
    ends = [abs(row.ap.difference or 0) for row in classes]
    intervals = [row.ap.interval for row in classes if row.ap.interval]
    ends += [max(abs(one.low), abs(one.high)) for one in intervals]
    return min(1.0, max(_LEAST_REACH, 1.02 * max(ends)))
