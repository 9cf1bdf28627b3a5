"""Markdown of an evaluation, as GitHub renders it."""

from collections.abc import Sequence

from class_maps import short_list
from eval.html.number_format import amount
from eval.html.page import Table
from eval.reports.confusion_matrix import confusions
from eval.reports.evaluation import EvaluationReport
from eval.reports.evaluation_figures import (
    ABSENT_NOTE,
    CLASS_NOTE,
    ERROR_NOTE,
    class_rows,
    class_table,
    confusion_table,
    error_table,
    limits,
    score,
    slice_sections,
)
from eval.reports.evaluation_page import (
    MEANS,
    WHY_MEANS_DIFFER,
    WHY_PROTOCOLS_DIFFER,
    EvaluationSubject,
    absent_classes,
    count_check,
    headline,
    interval_note,
    mean_of,
    protocol_values,
    subtitle,
    uncertain_lines,
)
from eval.reports.evaluation_priorities import MEASURE_NAMES, WorkNext, work_next
from eval.reports.markdown import escaped, markdown_table
from eval.reports.page_overlays import N_WORST

_NAMED = 40
"""Maximum number of class names in a list."""


def evaluation_markdown(report: EvaluationReport, subject: EvaluationSubject) -> str:
    """Return the report as Markdown, without figures.

    Args:
        report: Report with all figures.
        subject: Predictions and data that the report is about.

    Raises:
        ValueError: The classes of the report are not in the order of its detection metrics.
    """
    work = work_next(report)
    check = count_check(report)
    parts = [
        f"# {escaped(headline(report))}",
        escaped(subtitle(report, subject)),
        f"**{escaped(work.headline)}**",
        _means(report),
        escaped(f"{WHY_MEANS_DIFFER} {interval_note(report)}"),
        *_notes(subject.notes),
        "## Which class to work on next",
        *_work_next(report, work),
        "## AP50 by protocol",
        _protocols(report),
        escaped(WHY_PROTOCOLS_DIFFER),
        "## Classes",
        *_classes(report),
        *_section("## Errors and what they cost", error_table(report), ERROR_NOTE),
        *_section("## Confused classes", confusion_table(confusions(report.confusion))),
        *_calibration(report),
        *_slices(report),
        *_worst(report),
        "## Count check",
        escaped(check.sentence),
        markdown_table(check.table),
        "## Protocol",
        _protocol(report, subject),
    ]
    return "\n\n".join(parts) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *texts: int) -> str:
    return markdown_table(Table(label="", columns=columns, rows=rows, texts=texts))


def _section(title: str, table: Table, note: str = "") -> list[str]:
    if not table.rows:
        return []
    return [part for part in (title, escaped(note), markdown_table(table)) if part]


def _notes(notes: Sequence[str]) -> list[str]:
    return ["\n".join(f"* {escaped(note)}" for note in notes)] if notes else []


def _means(report: EvaluationReport) -> str:
    columns = ("mean", "AP50", "95% interval", "AP75", "AP50-95", "weighting")
    rows = []
    for key, title, weighting in MEANS:
        mean = mean_of(report, key)
        interval = limits(report.intervals.get(key))
        rows.append(
            (title, score(mean.ap50), interval, score(mean.ap75), score(mean.ap), weighting)
        )
    return _table(columns, rows, 5)


def _work_next(report: EvaluationReport, work: WorkNext) -> list[str]:
    measure = MEASURE_NAMES[work.measure]
    lines = [
        f"{i}. **{escaped(one.name)}**: {escaped(one.cause)}. {measure} {score(one.value)}; if "
        f"every prediction were right: macro +{score(one.macro_gain)}, instance-weighted "
        f"+{score(one.weighted_gain)}. {escaped(' '.join(one.evidence))}"
        for i, one in enumerate(work.priorities, 1)
    ] or [escaped(work.headline)]
    return ["\n".join(lines), *_notes([*work.notes, *uncertain_lines(report, work)])]


def _protocols(report: EvaluationReport) -> str:
    rows = [(name, score(value), method) for name, method, value in protocol_values(report)]
    return _table(("protocol", "macro AP50", "method"), rows, 2)


def _classes(report: EvaluationReport) -> list[str]:
    table, absent = class_table(class_rows(report)), absent_classes(report)
    note = escaped(CLASS_NOTE.format(threshold=report.chosen_threshold))
    parts = [note, markdown_table(table)] if table.rows else ["No class has truths."]
    if absent:
        names = short_list(absent, _NAMED)
        parts.append(escaped(f"{ABSENT_NOTE} {names}."))
    return parts


def _calibration(report: EvaluationReport) -> list[str]:
    rows = []
    for head in report.calibration:
        n_predictions = sum(one.n_predictions for one in head.bins)
        rows.append((head.head or "all classes", score(head.ece), amount(n_predictions)))
    return ["## Calibration", _table(("head", "ECE", "predictions"), rows)] if rows else []


def _slices(report: EvaluationReport) -> list[str]:
    sections = slice_sections(report)
    tables = [
        part
        for section in sections
        for part in (f"### By {escaped(section.title)}", markdown_table(section.table))
    ]
    return ["## Parts of the data", *tables] if tables else []


def _worst(report: EvaluationReport) -> list[str]:
    worst = [page for page in report.pages if page.n_missed or page.n_false][:N_WORST]
    if not worst:
        return []
    rows = [
        (page.image, *map(amount, (page.n_truths, page.n_found, page.n_missed, page.n_false)))
        for page in worst
    ]
    columns = (report.unit, "truths", "found", "missed", "false alarms")
    return [f"## {report.unit.capitalize()}s with the most errors", _table(columns, rows)]


def _protocol(report: EvaluationReport, subject: EvaluationSubject) -> str:
    rows = [
        ("unit", report.unit),
        ("predictions per image and class, at most", amount(report.detection.max_det_per_class)),
        *subject.protocol,
    ]
    return _table(("setting", "value"), rows, 1)
