"""Web page of an evaluation, self-contained.

The page starts with the answer (the scores, and which class to work on next), and then shows the
figures behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from class_maps import short_list
from eval.html.inline import inline
from eval.html.number_format import amount, counted
from eval.html.page import Fact, Table, render
from eval.reports.confusion_matrix import confusions, full_matrix, reduced_matrix
from eval.reports.detection import FREQUENT, MeanMetrics
from eval.reports.evaluation import EvaluationReport
from eval.reports.evaluation_figures import (
    ABSENT_NOTE,
    CLASS_NOTE,
    ERROR_NOTE,
    class_bars,
    class_rows,
    class_table,
    confusion_table,
    error_bars,
    error_table,
    limits,
    precision_recall_curves,
    reliability_diagrams,
    score,
    slice_sections,
)
from eval.reports.evaluation_priorities import MEASURE_NAMES, WorkNext, work_next
from eval.reports.page_overlays import PageOverlay

MEANS = (
    ("macro", "Macro mean", "all classes count equally"),
    ("frequent_macro", "Frequent macro mean", f"only classes with {FREQUENT} truths or more"),
    ("instance_weighted", "Instance-weighted mean", "all symbols count equally"),
)
"""Key, title and weighting of each mean."""
WHY_MEANS_DIFFER = (
    "The means can differ much, because a few classes, such as noteheads and stems, make up most "
    "symbols: they decide the instance-weighted mean, but are only a few of the classes in the "
    "macro mean."
)
PROTOCOLS = (
    ("coco", "COCO", "interpolated precision at 101 recalls"),
    ("voc2007", "PASCAL VOC 2007", "interpolated precision at 11 recalls"),
    ("voc2010", "PASCAL VOC 2010", "area under the interpolated precision"),
    ("ultralytics", "Ultralytics", "area under its own curve of 101 points, 0.995 at best"),
)
"""Key, name and method of each protocol."""
WHY_PROTOCOLS_DIFFER = (
    "All four are macro means at IoU 0.5 of the same predictions; they differ in how they average "
    "the precision over the recall, so compare a number only with numbers of the same protocol."
)
_NAMED = 12
"""Maximum number of class names in a list."""
NO_TRUTHS = "Nothing can be scored without ground truth."


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSubject:
    """Predictions and data that a report is about."""

    weights: str
    """Weights or predictions, as the user named them."""
    data: str
    split: str
    protocol: Sequence[tuple[str, str]] = ()
    """Labels and values that identify the protocol: hashes, settings and versions."""
    notes: Sequence[str] = ()
    """Remarks that limit the meaning of the scores."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CountCheck:
    """Comparison of the number of truths in the data with the numbers that were counted."""

    agrees: bool
    sentence: str
    table: Table


def evaluation_page(
    report: EvaluationReport, subject: EvaluationSubject, overlays: Sequence[PageOverlay] = ()
) -> str:
    """Return the HTML page of an evaluation; it needs no network and no other file.

    Args:
        report: Report to draw.
        subject: Predictions and data that the report is about.
        overlays: Pages with the most errors, from
            :func:`~eval.reports.page_overlays.page_overlays`.

    Raises:
        ValueError: The classes of the report are not in the order of its detection metrics.
    """
    return render(
        "evaluation.html.j2",
        report=report,
        subject=subject,
        overlays=overlays,
        script=inline(["page_overlays.js"]),
        score=score,
        amount=amount,
        counted=counted,
        **_answer(report, subject),
        **_sections(report),
    )


def _answer(report: EvaluationReport, subject: EvaluationSubject) -> dict[str, object]:
    """Return the variables of the first part of the page."""
    work = work_next(report)
    return {
        "headline": headline(report),
        "subtitle": subtitle(report, subject),
        "means": _mean_facts(report),
        "why_means_differ": WHY_MEANS_DIFFER,
        "interval_note": interval_note(report),
        "work_next": work,
        "measure": MEASURE_NAMES[work.measure],
        "uncertain": uncertain_lines(report, work),
    }


def _sections(report: EvaluationReport) -> dict[str, object]:
    """Return the variables of the sections that follow."""
    rows, pairs = class_rows(report), confusions(report.confusion)
    return {
        "protocols": _protocol_facts(report),
        "why_protocols_differ": WHY_PROTOCOLS_DIFFER,
        "frequent": FREQUENT,
        "class_bars": class_bars(rows),
        "class_table": class_table(rows),
        "class_note": CLASS_NOTE.format(threshold=report.chosen_threshold),
        "absent_note": ABSENT_NOTE,
        "absent": absent_classes(report),
        "error_note": ERROR_NOTE,
        "error_bars": error_bars(report),
        "error_table": error_table(report),
        "confused": confusion_table(pairs),
        "matrix": reduced_matrix(report.confusion),
        "full_matrix": full_matrix(report.confusion),
        "curves": precision_recall_curves(rows),
        "reliability": reliability_diagrams(report.calibration),
        "slices": slice_sections(report),
        "count_check": count_check(report),
    }


def headline(report: EvaluationReport) -> str:
    """Return the most important score in one sentence."""
    ap50 = report.detection.macro.ap50
    if ap50 is None:
        return NO_TRUTHS
    interval = report.intervals.get("macro")
    between = f" (95% interval {limits(interval)})" if interval else ""
    return f"Macro AP50 {score(ap50)}{between}"


def subtitle(report: EvaluationReport, subject: EvaluationSubject) -> str:
    """Return what was evaluated, in one line."""
    detection = report.detection
    return (
        f"{subject.weights} on the split {subject.split} of {subject.data}: "
        f"{counted(detection.n_images, report.unit, f'{report.unit}s')}, "
        f"{counted(detection.n_truths, 'truth', 'truths')}, "
        f"{counted(detection.n_predictions, 'prediction', 'predictions')}"
    )


def interval_note(report: EvaluationReport) -> str:
    """Explain where the intervals come from, or why there are none."""
    if not any(report.intervals.values()):
        return f"Intervals need at least two {report.unit}s with truths."
    return (
        f"Intervals: 95%, by bootstrap over {report.unit}s "
        f"({counted(report.n_bootstrap, 'sample', 'samples')}, seed {report.seed})."
    )


def uncertain_lines(report: EvaluationReport, work: WorkNext) -> list[str]:
    """Name the classes that are not measured well enough."""
    lines = []
    if work.uncertain:
        names = short_list(work.uncertain, _NAMED)
        lines.append(
            f"Wide interval of the AP50, which more annotated {report.unit}s would narrow: {names}."
        )
    if work.without_interval:
        names = short_list(work.without_interval, _NAMED)
        lines.append(f"No interval, because all truths are on a single {report.unit}: {names}.")
    if work.rare:
        is_ranked = all(row.n_truths < FREQUENT for row in report.detection.classes)
        consequence = "" if is_ranked else ", so not ranked above"
        lines.append(f"Fewer than {FREQUENT} truths{consequence}: {short_list(work.rare, _NAMED)}.")
    return lines


def mean_of(report: EvaluationReport, key: str) -> MeanMetrics:
    """Return one of the means by its key in ``MEANS``."""
    metrics: MeanMetrics = getattr(report.detection, key)
    return metrics


def _mean_facts(report: EvaluationReport) -> list[Fact]:
    facts = []
    for key, title, weighting in MEANS:
        mean, interval = mean_of(report, key), report.intervals.get(key)
        lines = [f"95% interval {limits(interval)}"] if interval else []
        lines += [f"AP50-95 {score(mean.ap)}, AP75 {score(mean.ap75)}", weighting]
        facts.append(Fact(label=f"{title} of AP50", figure=score(mean.ap50), note="\n".join(lines)))
    return facts


def protocol_values(report: EvaluationReport) -> list[tuple[str, str, float | None]]:
    """Return name, method and macro mean of each protocol."""
    values = {"coco": report.detection.macro.ap50} | {
        key: getattr(report.other, key) for key in ("voc2007", "voc2010", "ultralytics")
    }
    return [(name, method, values[key]) for key, name, method in PROTOCOLS]


def _protocol_facts(report: EvaluationReport) -> list[Fact]:
    return [
        Fact(label=name, figure=score(value), note=method)
        for name, method, value in protocol_values(report)
    ]


def absent_classes(report: EvaluationReport) -> list[str]:
    """Return the classes without truths, each with its number of predictions."""
    return [
        f"{row.name} ({amount(row.n_predictions)})"
        for row in report.detection.classes
        if not row.n_truths
    ]


def count_check(report: EvaluationReport) -> CountCheck:
    """Compare the number of truths in the data with the number that each part counted."""
    detection, confusion = report.detection, report.confusion
    counts = [
        ("in the data", detection.n_truths),
        ("counted by class", sum(row.n_truths for row in detection.classes)),
        (f"counted by {report.unit}", sum(page.n_truths for page in report.pages)),
        (f"found or missed, by {report.unit}", sum(p.n_found + p.n_missed for p in report.pages)),
        ("in the confusion matrix", sum(map(sum, confusion.counts[:-1]))),
    ]
    agrees = len({n for _, n in counts}) == 1
    if agrees and not detection.n_truths:
        sentence = "The data contain no truths, and none were counted."
    elif agrees:
        sentence = (
            f"All {counted(detection.n_truths, 'truth', 'truths')} of the data were counted "
            "by every part of the evaluation."
        )
    else:
        sentence = "The numbers of truths differ: the scores are not valid."
    table = Table(
        label="Number of truths",
        columns=("truths", "number"),
        rows=[(name, amount(n)) for name, n in counts],
    )
    return CountCheck(agrees=agrees, sentence=sentence, table=table)
