"""Files of a session's report: ``report.html`` and ``report.md``."""

from dataclasses import replace
from pathlib import Path

from eval.html.page import PlotGroup, Table, render
from eval.html.run_curves import RunCurve, run_curves
from eval.reports.comparison import ModelComparison
from eval.reports.comparison_page import method
from eval.reports.comparison_text import (
    evidence,
    means_table,
    pair_title,
    protocol_warning,
    ranking_table,
    scope,
)
from eval.reports.markdown import escaped, markdown_table
from eval.reports.session import (
    SessionReport,
    comparison_scope,
    failures,
    headline,
    loss_curves,
    progress_line,
    runs_table,
    validation_curves,
)

MOST_PLOTS = 12
"""Plots that are shown at once; the others are hidden until the reader opens them."""


def session_page(report: SessionReport, comparison_file: str) -> str:
    """Return the report as an HTML page, which needs no network and no other file.

    Args:
        report: Session to describe.
        comparison_file: Page with the comparison per class, relative to this page.
    """
    comparison = report.comparison
    ap, losses = validation_curves(report), loss_curves(report)
    pairs = zip(comparison.models[1:], comparison.reports, strict=True) if comparison else ()
    return render(
        "session.html.j2",
        title=f"Session {report.name}",
        headline=headline(report),
        progress=progress_line(report),
        failures=failures(report),
        notes=[*report.notes, *(comparison.notes if comparison else ())],
        runs=runs_table(report),
        ap=_plots("ap", "validation AP", ap, top=_highest(ap)),
        loss=_plots("loss", "training loss", losses, top=_highest(_after_first(losses))),
        comparison_file=comparison_file,
        scope=comparison_scope(report),
        method=f"{method(comparison)} {scope(comparison)}" if comparison else "",
        warning=protocol_warning(comparison) if comparison else "",
        ranking=_ranking(comparison) if comparison else None,
        pairs=[
            (
                model.letter,
                pair_title(comparison.models[0], model),
                evidence(pair, model.letter),
                means_table(pair, model.letter),
            )
            for model, pair in pairs
            if comparison
        ],
    )


def _plots(name: str, measure: str, curves: list[RunCurve], *, top: float) -> PlotGroup | None:
    if not any(curve.points for curve in curves):
        return None
    plots = run_curves(name, measure, curves, top=top)
    n_hidden = len(plots) - MOST_PLOTS
    return PlotGroup(
        name=f"curves-{name}",
        plots=plots[:MOST_PLOTS],
        hidden=plots[MOST_PLOTS:],
        hidden_title=f"{n_hidden} more" if n_hidden > 0 else "",
    )


def _highest(curves: list[RunCurve]) -> float:
    return 1.05 * max((value for curve in curves for _, value in curve.points), default=0) or 1.0


def _after_first(curves: list[RunCurve]) -> list[RunCurve]:
    """Drop the first epoch of longer runs, whose loss would flatten the rest of the curves."""
    return [
        RunCurve(name=curve.name, group=curve.group, points=curve.points[1:] or curve.points)
        for curve in curves
    ]


def _ranking(comparison: ModelComparison) -> Table:
    """Return all recipes, highest macro mean first."""
    table = ranking_table(comparison)
    columns = ["recipe" if column == "folder" else column for column in table.columns]
    return replace(table, columns=columns)


def session_markdown(report: SessionReport, files: tuple[str, str]) -> str:
    """Return the report as Markdown.

    Args:
        report: Session to describe.
        files: Pages with the curves, and with the comparison per class, relative to this file.
    """
    page, comparison_file = files
    comparison = report.comparison
    parts = [f"# {escaped(headline(report))}", escaped(progress_line(report))]
    parts += [f"- {escaped(line)}" for line in (*failures(report), *report.notes)]
    parts += ["## Runs", markdown_table(runs_table(report)), f"Curves: [{page}]({page})"]
    if comparison:
        others = list(zip(comparison.models[1:], comparison.reports, strict=True))
        parts += [f"## Comparison\n\n{escaped(comparison_scope(report))}"]
        parts += [f"**{escaped(evidence(pair, model.letter))}**" for model, pair in others]
        parts += [
            escaped(line) for line in (protocol_warning(comparison), *comparison.notes) if line
        ]
        parts += [markdown_table(_ranking(comparison))]
        parts += [escaped(f"{method(comparison)} {scope(comparison)}")]
        for model, pair in others:
            parts.append(f"### {escaped(pair_title(comparison.models[0], model))}")
            parts.append(markdown_table(means_table(pair, model.letter)))
        parts.append(f"Differences by class: [{comparison_file}]({comparison_file})")
    return "\n\n".join(parts) + "\n"


def write_session(
    html: Path, markdown: Path, report: SessionReport, *, page: str, comparison_file: str
) -> None:
    """Write the report as a web page and as Markdown.

    Args:
        html: File of the page.
        markdown: File of the Markdown.
        report: Session to describe.
        page: Name of the page, for the link in the Markdown.
        comparison_file: Page with the comparison per class, relative to both files.

    Raises:
        OSError: A file cannot be written.
    """
    html.write_text(session_page(report, comparison_file), "utf-8")
    markdown.write_text(session_markdown(report, (page, comparison_file)), "utf-8")
