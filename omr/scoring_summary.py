"""Summary of a model's metrics, printed by ``omr eval``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from class_maps import short_list
from eval.html.number_format import counted
from omr.console import note, paragraph, say, say_names, table

if TYPE_CHECKING:
    from eval.reports.detection import ClassMetrics, MeanMetrics
    from omr.scoring.result import ScoringResult

MOST_NAMES = 8
"""Maximum number of class names per line."""


def print_summary(result: "ScoringResult", *, to: Console) -> None:
    """Print the metrics, and what to know when reading them.

    Args:
        result: Metrics of a model on one split.
        to: Console for the results; notes go to stderr.
    """
    from eval.reports.detection import FREQUENT
    from eval.reports.evaluation_priorities import work_next

    report = result.report
    present = [row for row in report.classes if row.n_truths or row.n_predictions]
    totals, frequent_macro = _totals(present), report.frequent_macro
    frequent = [row for row in report.classes if row.n_truths >= FREQUENT]
    table(
        f"{result.split}: {_counted_units(result)}",
        ("class", "ground truth", "predictions", "AP50", "AP50-95", "recall50"),
        [(row.name, row.n_truths, row.n_predictions, *_metrics(row)) for row in present],
        [
            ("macro mean", *totals, *_metrics(report.macro)),
            (f"macro mean, {FREQUENT}+ symbols", *_totals(frequent), *_metrics(frequent_macro)),
            ("instance-weighted mean", *totals, *_metrics(report.instance_weighted)),
        ],
        to=to,
    )
    paragraph(
        "Macro: all classes with ground truth have the same weight. Instance-weighted: each class "
        "is weighted by its number of ground-truth symbols.",
        to=to,
    )
    paragraph(work_next(result.evaluation).headline, to=to)
    absent = [row.name for row in report.classes if row not in present]
    say_names("neither ground truth nor predictions", absent, to=to)
    _say_false_classes(report.classes, to=to)
    if classes := result.ignored_classes:
        paragraph(
            f"ignored {counted(result.ignored_predictions, 'prediction', 'predictions')} of "
            f"{counted(len(classes), 'class', 'classes')} that the data set does not have",
            to=to,
        )
    if remark := result.unlabelled_remark:
        paragraph(remark, to=to)
    reached = f"{result.unit}s that reached the limit of {result.max_det} detections"
    say(f"{reached}: {result.images_at_max_det}", to=to)
    if report.n_zero_area_truths:
        note(
            "ground-truth symbols of zero area, which no prediction can match: "
            f"{report.n_zero_area_truths}"
        )
    if result.duplicates:
        rows = counted(result.duplicates, "duplicate row", "duplicate rows")
        note(f"{rows} of the label files skipped")
    if missing := result.missing_classes:
        number = counted(len(missing), "class", "classes")
        verb = "is" if len(missing) == 1 else "are"
        note(
            f"{number} of the data set, without ground truth, {verb} not in the weights: "
            f"{short_list(missing, MOST_NAMES)}"
        )
    if result.differences:
        note(f"differs from the training: {'; '.join(result.differences)}")
    if result.is_unseen:
        say(result.training_remark, to=to)
    else:
        note(result.training_remark)


def _say_false_classes(classes: "Sequence[ClassMetrics]", *, to: Console) -> None:
    """Name the classes without ground truth that were predicted, since no mean contains them."""
    false = [row for row in classes if row.n_predictions and not row.n_truths]
    if false:
        number = counted(sum(row.n_predictions for row in false), "prediction", "predictions")
        names = [f"{row.name} ({row.n_predictions:,})" for row in false]
        say_names(f"in no mean: {number} of classes without ground truth", names, to=to)


def _counted_units(result: "ScoringResult") -> str:
    """Count what was scored: ``3 pages``, or ``40 tiles of 3 pages``."""
    units = counted(result.report.n_images, result.unit, f"{result.unit}s")
    if result.unit == "page" or result.n_pages is None:
        return units
    return f"{units} of {counted(result.n_pages, 'page', 'pages')}"


def _totals(classes: "Sequence[ClassMetrics]") -> tuple[int, int]:
    """Count the ground-truth symbols and predictions of classes."""
    return sum(row.n_truths for row in classes), sum(row.n_predictions for row in classes)


def _metrics(score: "ClassMetrics | MeanMetrics") -> list[str]:
    """Format the metrics of a table row, with a dash for classes without ground truth."""
    return [
        "-" if metric is None else f"{metric:.3f}"
        for metric in (score.ap50, score.ap, score.recall50)
    ]
