"""Findings of ``omr lint`` on the terminal."""

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console

from class_maps import short_list
from eval.html.number_format import counted, share
from omr.console import note, paragraph, say, table

if TYPE_CHECKING:
    from eval.lint.findings import Finding, LintReport

MOST_NAMES = 6
"""Maximum number of class names in a cell."""


def print_report(report: "LintReport", *, to: Console) -> None:
    """Print the findings by rule, and their number.

    Args:
        report: Findings.
        to: Console for the findings; notes go to stderr.
    """
    for _, group in groupby(report.findings, key=lambda finding: finding.rule):
        _print_rule(list(group), to=to)
    for skipped in report.skipped:
        note(f"not checked: {skipped}")
    counts = (
        counted(report.n_errors, "error", "errors"),
        counted(report.n_warnings, "warning", "warnings"),
    )
    images = counted(report.n_images, "image", "images")
    boxes = counted(report.n_boxes, "box", "boxes")
    say(f"{', '.join(counts)} in {images} with {boxes}", to=to)


def _print_rule(findings: list["Finding"], *, to: Console) -> None:
    first = findings[0]
    has_sources = any(finding.occurrence.source for finding in findings)
    columns = ("class", *(["source"] if has_sources else []), "count", "share", "example")
    table(
        f"{first.level}: {first.rule}",
        (*columns, "details"),
        [_row(finding, has_sources=has_sources) for finding in findings],
        to=to,
    )
    paragraph(f"Usual cause: {first.meaning}. To do: {first.remedy}.", to=to)
    say("", to=to)


def _row(finding: "Finding", *, has_sources: bool) -> tuple[object, ...]:
    occurrence = finding.occurrence
    names = short_list(occurrence.class_name.split(", "), MOST_NAMES) or "-"
    return (
        names,
        *([occurrence.source or "-"] if has_sources else []),
        occurrence.count,
        share(occurrence.share),
        occurrence.examples[0].text if occurrence.examples else "-",  # the others are in the JSON
        occurrence.detail or "-",
    )
