"""Class sections of a density report: sizes, maximum recall, competition, table of all figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from markupsafe import Markup

from eval.html.number_format import NONE, amount, counted, pixels, share
from eval.html.page import Plot, PlotGroup, Table
from eval.html.plots import DotRow, RangeRow, dots, heat_map, ranges
from eval.reports.density_figures import (
    AnchorCompetition,
    ClassDensity,
    RecallAtIou,
    SideSpread,
    StartingBox,
)
from eval.reports.density_report import DensityReport

Row = TypeVar("Row")
Configuration = Literal["stock", "ours"]
"""Ultralytics' training, or that of ``omr train``."""

_ROWS_PER_PLOT = 15
"""Maximum number of rows per plot; on a phone, the axis of longer plots would be out of sight."""
_VISIBLE_PLOTS = 2
"""Number of plots that are visible without a click."""
_MAPPED = 12
"""Maximum number of classes in the heat map, so that their names fit on a phone."""
_THIN_PX = (1.0, 2.0, 4.0)
_MIN_PX = 0.05
"""Lower limit of the size axis: a side of 0 has no logarithm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSections:
    """Plots and tables of the classes."""

    present: bool
    """Whether any class has symbols; if not, all plots and tables are empty."""
    sizes: PlotGroup
    max_recall: PlotGroup
    max_recall_note: str
    max_recall_table: Table
    table: Table
    absent: Sequence[str]
    """Names of classes without symbols."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CompetitionSection:
    """Plot and table of the competition for anchor points."""

    summary: str
    heat_map_note: str
    heat_map: Markup
    pairs: Table


def class_sections(report: DensityReport) -> ClassSections:
    """Describe sizes, maximum recall and all further figures of the classes."""
    rows = [row for row in report.classes if row.count]
    recall_rows, n_complete = _max_recall_rows(rows)
    note = "Lowest first."
    if n_complete:
        note += f" Not shown: {counted(n_complete, 'class', 'classes')} at 100% with both."
    return ClassSections(
        present=bool(rows),
        sizes=_size_plots(rows),
        max_recall=_plot_group("plot-max-recall", recall_rows, _dot_plot),
        max_recall_note=note,
        max_recall_table=_max_recall_table(rows),
        table=Table(
            label="All classes",
            columns=[title for title, _ in _COLUMNS],
            rows=[[cell(row) for _, cell in _COLUMNS] for row in rows],
            tall=True,
        ),
        absent=[row.name for row in report.classes if not row.count],
    )


def classes_that_do_not_learn(
    classes: Sequence[ClassDensity], configuration: Configuration
) -> list[str]:
    """Return the names of classes without initial weight, or with few labels left.

    Args:
        classes: Classes of a report.
        configuration: Training to examine.
    """
    return [row.name for row in classes if not _learns(row, configuration)]


def _learns(row: ClassDensity, configuration: Configuration) -> bool:
    if not row.count or not row.start:
        return True
    return (row.start.stock if configuration == "stock" else row.start.ours).learns


def _size_plots(rows: Sequence[ClassDensity]) -> PlotGroup:
    sized = [(row, row.width_px, row.height_px) for row in rows if row.width_px and row.height_px]
    sized.sort(key=lambda entry: min(entry[1].p50, entry[2].p50))
    values = [p for _, *sides in sized for side in sides for p in (side.p5, side.p95)]
    limits = max(_MIN_PX, min([0.8, *values])) * 0.9, max([5.0, *values]) * 1.1
    shown = [
        RangeRow(
            name=row.name,
            ranges=[(side.p5, side.p50, side.p95) for side in sides],
            note=" x ".join(pixels(side.p50) for side in sides),
            warning=_warning(row),
        )
        for row, *sides in sized
    ]

    def draw(plot: str, part: Sequence[RangeRow]) -> Markup:
        medians = "; ".join(
            f"{row.name} {row.ranges[0][1]:.1f} by {row.ranges[1][1]:.1f}" for row in part
        )
        label = f"Median width and height of classes in pixels: {medians}"
        return ranges(plot, label, part, limits=limits, lines=_THIN_PX)

    return _plot_group("plot-sizes", shown, draw)


def _warning(row: ClassDensity) -> str:
    if not _learns(row, "ours"):
        return "✕"
    return "" if _learns(row, "stock") else "▲"


def _max_recall_rows(rows: Sequence[ClassDensity]) -> tuple[list[DotRow], int]:
    """Return the rows below 100 %, lowest first, and the number of further rows."""
    known = sorted(
        (row.representation.stock.iou50, row.name, row.representation.signed.iou50)
        for row in rows
        if row.representation
    )
    shown = [
        DotRow(name=name, values=[stock, signed])
        for stock, name, signed in known
        if min(stock, signed) < 1
    ]
    return shown, len(known) - len(shown)


def _dot_plot(plot: str, rows: Sequence[DotRow]) -> Markup:
    values = "; ".join(
        f"{row.name} {share(row.values[0])} and {share(row.values[1])}" for row in rows
    )
    return dots(plot, f"Maximum recall at IoU 0.5, stock and signed: {values}", rows)


def _max_recall_table(rows: Sequence[ClassDensity]) -> Table:
    encodings = ("stock", "signed", "stock, P2", "signed, P2")
    ious = ("0.5", "0.75", "0.9")
    return Table(
        label="Maximum recall of each class at IoU 0.5, 0.75 and 0.9",
        columns=["class", *(f"{encoding} {iou}" for encoding in encodings for iou in ious)],
        rows=[[row.name, *map(share, bounds)] for row in rows if (bounds := _recall_bounds(row))],
        tall=True,
    )


def _recall_bounds(row: ClassDensity) -> list[float]:
    """Return the bounds by encoding and IoU, or nothing if they are unknown."""
    known = row.representation
    if not known:
        return []
    bounds: tuple[RecallAtIou, ...] = (
        known.stock, known.signed, known.stock_p2, known.signed_p2
    )  # fmt: skip
    return [value for bound in bounds for value in (bound.iou50, bound.iou75, bound.iou90)]


def _plot_group(
    name: str, rows: Sequence[Row], draw: Callable[[str, Sequence[Row]], Markup]
) -> PlotGroup:
    """Distribute many rows over several plots with the same scale.

    Args:
        name: Element id of the group; the ids of its plots have a number appended.
        rows: Rows of all plots.
        draw: Function that draws rows as a plot with an id.
    """
    parts = [rows[i : i + _ROWS_PER_PLOT] for i in range(0, len(rows), _ROWS_PER_PLOT)]
    plots = [Plot(svg=draw(f"{name}-{i}", part)) for i, part in enumerate(parts)]
    n_hidden = max(0, len(rows) - _VISIBLE_PLOTS * _ROWS_PER_PLOT)
    return PlotGroup(
        name=name,
        plots=plots[:_VISIBLE_PLOTS],
        hidden=plots[_VISIBLE_PLOTS:],
        hidden_title=counted(n_hidden, "more class", "more classes"),
    )


def competition_section(report: DensityReport) -> CompetitionSection | None:
    """Describe the competition for anchor points; None without symbols."""
    competition = report.anchor_competition
    if not competition:
        return None
    names = [row.name for row in report.classes]
    matrix = competition.matrix
    order = sorted(range(len(names)), key=lambda i: -sum(matrix[i]))
    shown = [i for i in order[:_MAPPED] if any(matrix[i])]
    note = f"Anchor points shared by two classes, for the {len(shown)} classes that share most."
    top_pairs = ", ".join(
        f"{pair.a} and {pair.b} {amount(pair.points)}" for pair in competition.collisions[:10]
    )
    return CompetitionSection(
        summary=_competition_summary(competition),
        heat_map_note=note,
        heat_map=heat_map(
            "plot-collisions",
            f"{note} {top_pairs}",
            [names[i] for i in shown],
            [[matrix[i][j] for j in shown] for i in shown],
        ),
        pairs=Table(
            label="Pairs of classes by number of shared anchor points",
            columns=("pair", "points"),
            rows=[(f"{pair.a} / {pair.b}", amount(pair.points)) for pair in competition.collisions],
        ),
    )


def _competition_summary(competition: AnchorCompetition) -> str:
    summary = (
        f"{amount(competition.contested)} of {amount(competition.points)} anchor points "
        f"({share(competition.contested_share or 0)}) are candidates of several boxes, but each "
        "predicts one box per head. At most "
        f"{share(competition.max_recall_single_head)} of the boxes can have an anchor point to "
        "themselves with a single head"
    )
    if competition.max_recall_heads is not None:
        summary += f", and {share(competition.max_recall_heads)} with the given heads"
    return summary + "."


def prior_table(priors: Sequence[StartingBox]) -> Table:
    """List the initial box sizes by group and stride."""
    return Table(
        label="Initial box sizes",
        columns=("group", "stride", "pixels"),
        rows=[
            (
                prior.group,
                f"{prior.stride:g}",
                f"{pixels(prior.width_px)} x {pixels(prior.height_px)}",
            )
            for prior in priors
        ],
    )


def _span(side: SideSpread | None) -> str:
    return f"{pixels(side.p50)} ({pixels(side.p5)} to {pixels(side.p95)})" if side else NONE


def _start(row: ClassDensity, configuration: Configuration) -> str:
    if not row.start:
        return NONE
    weight = row.start.stock if configuration == "stock" else row.start.ours
    return f"{'yes' if weight.learns else 'NO'} (IoU {weight.iou:.3f})"


_COLUMNS: tuple[tuple[str, Callable[[ClassDensity], str]], ...] = (
    ("class", lambda row: row.name),
    ("symbols", lambda row: amount(row.count)),
    ("share", lambda row: share(row.share)),
    ("width px (P5 to P95)", lambda row: _span(row.width_px)),
    ("height px (P5 to P95)", lambda row: _span(row.height_px)),
    ("under 1 px", lambda row: share(row.under_1px)),
    ("under 2 px", lambda row: share(row.under_2px)),
    ("under 4 px", lambda row: share(row.under_4px)),
    ("no candidate", lambda row: share(row.no_candidate)),
    ("1 candidate", lambda row: share(row.one_candidate)),
    ("2 candidates", lambda row: share(row.two_candidates)),
    ("dropped by Ultralytics", lambda row: share(row.dropped_by_stock_filter)),
    ("initial weight in Ultralytics", lambda row: _start(row, "stock")),
    ("initial weight in omr train", lambda row: _start(row, "ours")),
)
