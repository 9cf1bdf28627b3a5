"""Figures of an evaluation report: classes, errors, curves, calibration, parts of the data.

Every function describes one section; :mod:`eval.reports.evaluation_page` puts them together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from eval.html.number_format import NONE, amount, counted, share
from eval.html.page import Plot, PlotGroup, Table
from eval.html.score_plots import Bar, BarRow, Dot, bars, curve, reliability
from eval.reports.confusion_matrix import Confused
from eval.reports.detection import FREQUENT, ClassMetrics
from eval.reports.evaluation import (
    Calibration,
    ClassEvaluation,
    EvaluationReport,
    Interval,
    OperatingPoint,
    Slice,
)

_ROWS_PER_PLOT = 15
_VISIBLE_PLOTS = 2
_CURVES = 12
"""Number of classes whose curve is drawn."""
_CONFUSED = 15
"""Maximum number of rows in the table of confusions."""
ERROR_TYPES = {
    "class": "wrong class (IoU 0.5 or more)",
    "localisation": "right class, imprecise box (IoU 0.1 to 0.5)",
    "both": "wrong class and imprecise box (IoU 0.1 to 0.5)",
    "duplicate": "symbol already found by a better prediction",
    "background": "no symbol there",
    "missed": "symbol without any prediction",
}
"""Meaning of each type."""
ERROR_NOTE = (
    "Gain in macro AP50 if all errors of one type were repaired (TIDE). The gains do not add up, "
    "because repairing one error can reveal another. Predictions of any confidence are counted, "
    "most of which have a low one."
)
"""Explanation of the types of errors."""
CLASS_NOTE = (
    "P, R and F1 are precision, recall and F1 at IoU 0.5: at the best threshold of each class, and "
    "at the chosen threshold, {threshold:g}. Centre recall is the share of symbols with a "
    "prediction of their class at their centre, whatever its size. Extended boxes, for thin "
    "classes only, are larger on all sides."
)
"""Explanation of the table of classes."""
ABSENT_NOTE = "Classes without truths, which have no AP, with their number of predictions:"
_SLICE_TITLES = {"size": "symbol size", "density": "number of symbols"}
"""Titles of dimensions whose name is not clear on its own."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClassRow:
    """Both kinds of measures of a class."""

    metrics: ClassMetrics
    detail: ClassEvaluation


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceSection:
    """Plot and table of the slices of one dimension."""

    title: str
    note: str
    """Remark on slices that the plot omits; empty without any."""
    plot: Markup
    table: Table


def class_rows(report: EvaluationReport) -> list[ClassRow]:
    """Join the measures of each class.

    Raises:
        ValueError: ``report.classes`` is not in the order of ``report.detection.classes``.
    """
    names = [row.name for row in report.detection.classes]
    if names != [detail.name for detail in report.classes]:
        raise ValueError("the classes of the report are not in the order of its detection metrics")
    rows = zip(report.detection.classes, report.classes, strict=True)
    return [ClassRow(metrics=metrics, detail=detail) for metrics, detail in rows]


def worst_first(rows: Sequence[ClassRow]) -> list[ClassRow]:
    """Return the classes with ground truth, lowest AP at IoU .5 first."""
    present = [row for row in rows if row.metrics.n_truths]
    return sorted(present, key=lambda row: (row.metrics.ap50 or 0.0, row.metrics.name))


def score(value: float | None) -> str:
    """Format a score between 0 and 1."""
    return NONE if value is None else f"{value:.3f}"


def limits(interval: Interval | None) -> str:
    """Format an interval."""
    return NONE if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def class_bars(rows: Sequence[ClassRow]) -> PlotGroup:
    """Draw the AP of each class with its interval, lowest first."""
    shown = [
        BarRow(
            name=row.metrics.name,
            note=f"{score(row.metrics.ap50)}, n = {amount(row.metrics.n_truths)}",
            bars=[_class_bar(row)],
        )
        for row in worst_first(rows)
    ]
    plots = []
    for i in range(0, len(shown), _ROWS_PER_PLOT):
        part = shown[i : i + _ROWS_PER_PLOT]
        label = f"AP50 by class: {'; '.join(f'{row.name} {row.note}' for row in part)}"
        plots.append(Plot(svg=bars(f"plot-classes-{i // _ROWS_PER_PLOT}", label, part)))
    n_hidden = max(0, len(shown) - _VISIBLE_PLOTS * _ROWS_PER_PLOT)
    return PlotGroup(
        name="class-bars",
        plots=plots[:_VISIBLE_PLOTS],
        hidden=plots[_VISIBLE_PLOTS:],
        hidden_title=counted(n_hidden, "class with a higher AP50", "classes with a higher AP50"),
    )


def _class_bar(row: ClassRow) -> Bar:
    interval = row.detail.ap50_interval
    tooltip = f"{row.metrics.name}: AP50 {score(row.metrics.ap50)}"
    if interval:
        tooltip += f", 95% interval {limits(interval)}"
    ends = (interval.low, interval.high) if interval else None
    is_rare = row.metrics.n_truths < FREQUENT
    return Bar(value=row.metrics.ap50, interval=ends, tooltip=tooltip, pale=is_rare)


def _point(key: str, field: str) -> Callable[[ClassRow], str]:
    def cell(row: ClassRow) -> str:
        point: OperatingPoint | None = getattr(row.detail, key)
        return score(getattr(point, field, None))

    return cell


_POINT_FIELDS = (("P", "precision"), ("R", "recall"), ("F1", "f1"))
CLASS_COLUMNS: Sequence[tuple[str, Callable[[ClassRow], str]]] = (
    ("class", lambda row: row.metrics.name),
    ("truths", lambda row: amount(row.metrics.n_truths)),
    ("predictions", lambda row: amount(row.metrics.n_predictions)),
    ("AP50", lambda row: score(row.metrics.ap50)),
    ("95% interval", lambda row: limits(row.detail.ap50_interval)),
    ("AP75", lambda row: score(row.metrics.ap75)),
    ("AP50-95", lambda row: score(row.metrics.ap)),
    ("best threshold", _point("best", "threshold")),
    *((f"{short} at best", _point("best", field)) for short, field in _POINT_FIELDS),
    *((f"{short} at chosen", _point("chosen", field)) for short, field in _POINT_FIELDS),
    ("recall at any confidence", lambda row: score(row.metrics.recall50)),
    ("centre recall", lambda row: score(row.detail.centre_recall)),
    ("AP50 of extended boxes", lambda row: score(row.detail.dilated_ap50)),
    ("VOC 2007", lambda row: score(row.detail.other.voc2007)),
    ("VOC 2010", lambda row: score(row.detail.other.voc2010)),
    ("Ultralytics", lambda row: score(row.detail.other.ultralytics)),
)
"""Title and cell of each column of the class table."""


def class_table(rows: Sequence[ClassRow]) -> Table:
    """Return all figures of the classes with truths or predictions, lowest AP first."""
    others = [row for row in rows if not row.metrics.n_truths and row.metrics.n_predictions]
    return Table(
        label="All classes",
        columns=[title for title, _ in CLASS_COLUMNS],
        rows=[[cell(row) for _, cell in CLASS_COLUMNS] for row in [*worst_first(rows), *others]],
        tall=True,
    )


def error_bars(report: EvaluationReport) -> Markup:
    """Draw the gain in AP from repairing each type of error."""
    most = max((error.delta_ap for error in report.errors), default=0.0)
    rows = [
        BarRow(
            name=error.name,
            note=f"{error.delta_ap:.3f}, {counted(error.count, 'error', 'errors')}",
            bars=[
                Bar(
                    value=error.delta_ap, tooltip=f"{error.name}: {ERROR_TYPES.get(error.name, '')}"
                )
            ],
        )
        for error in sorted(report.errors, key=lambda error: -error.delta_ap)
    ]
    label = f"Gain in macro AP50: {'; '.join(f'{row.name} {row.note}' for row in rows)}"
    return bars("plot-errors", label, rows, top=max(most, 0.01), colours=(4,))


def error_table(report: EvaluationReport) -> Table:
    """List the error types with their meaning, number and cost."""
    return Table(
        label="Types of errors",
        columns=("type", "errors", "cost in AP50", "meaning"),
        texts=(3,),
        rows=[
            (
                error.name,
                amount(error.count),
                f"{error.delta_ap:.4f}",
                ERROR_TYPES.get(error.name, ""),
            )
            for error in sorted(report.errors, key=lambda error: -error.delta_ap)
        ],
    )


def confusion_table(pairs: Sequence[Confused]) -> Table:
    """List the most frequent confusions."""
    return Table(
        label="Most frequent confusions",
        columns=("true class", "predicted as", "symbols", "of the true class"),
        texts=(1,),
        tall=True,
        rows=[
            (pair.truth, pair.predicted, amount(pair.count), share(pair.share))
            for pair in pairs[:_CONFUSED]
        ],
    )


def precision_recall_curves(rows: Sequence[ClassRow]) -> list[Plot]:
    """Draw the mean curve and those of the classes with the lowest AP above 0."""
    known = [(row, row.detail.precisions) for row in worst_first(rows) if row.detail.precisions]
    if not known:
        return []
    columns = zip(*(precisions for _, precisions in known), strict=True)
    mean = [sum(column) / len(known) for column in columns]
    title = f"Mean of {counted(len(known), 'class', 'classes')}"
    plots = [Plot(title=title, svg=curve("plot-curve-mean", f"{title}: precision by recall", mean))]
    drawn = [(row, precisions) for row, precisions in known if row.metrics.ap50]
    for i, (row, precisions) in enumerate(drawn[:_CURVES]):
        best = row.detail.best
        label = f"{row.metrics.name}: precision by recall, AP50 {score(row.metrics.ap50)}"
        svg = curve(
            f"plot-curve-{i}",
            label,
            precisions,
            marked=(best.recall, best.precision) if best else None,
        )
        plots.append(Plot(title=f"{row.metrics.name}: {score(row.metrics.ap50)}", svg=svg))
    return plots


def reliability_diagrams(calibrations: Sequence[Calibration]) -> list[Plot]:
    """Draw the precision by confidence of each head."""
    plots = []
    for i, head in enumerate(calibrations):
        title = f"{head.head or 'All classes'}: ECE {score(head.ece)}"
        most = max((one.n_predictions for one in head.bins), default=1)
        dots = [
            Dot(
                x=one.confidence,
                y=one.precision,
                weight=one.n_predictions / most,
                tooltip=f"{counted(one.n_predictions, 'prediction', 'predictions')} with a mean "
                f"confidence of {one.confidence:.3f}: precision {one.precision:.3f}",
            )
            for one in head.bins
        ]
        label = f"{title}; precision by confidence: " + "; ".join(dot.tooltip for dot in dots)
        plots.append(Plot(title=title, svg=reliability(f"plot-calibration-{i}", label, dots)))
    return plots


def slice_sections(report: EvaluationReport) -> list[SliceSection]:
    """Describe the slices of each dimension, in the order in which they were computed."""
    dimensions = dict.fromkeys(part.dimension for part in report.slices)
    return [
        _slice_section(
            _SLICE_TITLES.get(dimension, dimension),
            [part for part in report.slices if part.dimension == dimension],
            i,
            report.unit,
        )
        for i, dimension in enumerate(dimensions)
    ]


def _slice_section(title: str, parts: Sequence[Slice], i: int, unit: str) -> SliceSection:
    rows = [
        BarRow(
            name=part.value,
            note=f"{score(part.macro_ap50)} / {score(part.instance_weighted_ap50)}",
            bars=[
                Bar(value=value, tooltip=f"{part.value}: {name} AP50 {score(value)}")
                for name, value in (
                    ("macro", part.macro_ap50),
                    ("instance-weighted", part.instance_weighted_ap50),
                )
            ],
        )
        for part in parts
    ]
    drawn = rows
    if len(rows) > _ROWS_PER_PLOT:
        order = sorted(range(len(rows)), key=lambda row: parts[row].instance_weighted_ap50 or 0.0)
        drawn = [rows[row] for row in order[:_ROWS_PER_PLOT]]
    label = f"AP50 by {title}, macro / instance-weighted: " + "; ".join(
        f"{row.name} {row.note}" for row in drawn
    )
    table = Table(
        label=f"AP50 by {title}",
        tall=True,
        columns=(title, f"{unit}s", "truths", "macro AP50", "instance-weighted AP50"),
        rows=[
            (
                part.value, amount(part.n_pages), amount(part.n_truths),
                score(part.macro_ap50), score(part.instance_weighted_ap50),
            )
            for part in parts
        ],
    )  # fmt: skip
    return SliceSection(
        title=title,
        note=f"The {len(drawn)} lowest of {len(rows)}." if len(drawn) < len(rows) else "",
        plot=bars(f"plot-slices-{i}", label, drawn, colours=(0, 2)),
        table=table,
    )
