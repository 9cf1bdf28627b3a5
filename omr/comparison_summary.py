"""Summary of a comparison, printed by ``omr compare``."""

from typing import TYPE_CHECKING

from rich.console import Console

from eval.html.number_format import NONE
from omr.console import note, paragraph, table

if TYPE_CHECKING:
    from eval.reports.comparison import ComparisonReport, ModelComparison


def print_comparison(comparison: "ModelComparison", *, to: Console) -> None:
    """Print models, differences and the verdict, which is the last line.

    Args:
        comparison: Comparison of models.
        to: Console for the results; notes go to stderr.
    """
    from eval.reports import comparison_text as text
    from eval.reports.comparison_page import method, subtitle

    for line in comparison.notes:
        note(line)
    if warning := text.protocol_warning(comparison):
        note(warning)
    paragraph(subtitle(comparison), to=to)
    for model, group in zip(comparison.models, text.groups_of(comparison), strict=True):
        if len(model.runs) > 1:
            scores = ", ".join(map(text.score, group.macro))
            spread = text.score(group.spread)
            paragraph(f"runs of {model.letter}: {scores} (spread {spread})", to=to)
    if len(comparison.reports) > 1:
        ranking = text.ranking_table(comparison)
        columns = [i for i in range(len(ranking.columns)) if ranking.columns[i] != "folder"]
        rows = [[row[i] for i in columns] for row in ranking.rows]
        table(ranking.label, [ranking.columns[i] for i in columns], rows, to=to)
    for model, report in zip(comparison.models[1:], comparison.reports, strict=True):
        heading = text.pair_title(comparison.models[0], model)
        with_classes = len(comparison.reports) == 1
        _print_report(report, heading, model.letter, to, with_classes=with_classes)
    paragraph(f"{method(comparison)} {text.scope(comparison)}", to=to)
    for model, report in zip(comparison.models[1:], comparison.reports, strict=True):
        paragraph(text.evidence(report, model.letter), to=to)
    paragraph(f"verdict: {text.headline(comparison)}", to=to)


def _print_report(
    report: "ComparisonReport", heading: str, letter: str, to: Console, *, with_classes: bool
) -> None:
    """Print the means, and the classes with a shown difference."""
    from eval.reports import comparison_text as text

    means = text.means_table(report, letter)
    table(heading, means.columns, means.rows, to=to)
    classes = text.class_table(report, letter)
    shown = [row[:-1] for row in classes.rows if row[-1] != NONE]  # the sign is the verdict
    if with_classes and shown:
        table("Classes with a difference", classes.columns[:-1], shown, to=to)
    paragraph(text.by_chance(report, letter), to=to)
