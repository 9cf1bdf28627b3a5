"""The part of a density report that shows its classes: sizes, ceilings, collisions, a table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from eval.html.number_format import NONE, amount, counted, pixels, share
from eval.html.plots import DotRow, RangeRow, dots, heat_map, legend, ranges
from eval.html.web_page import folded, narrow, paragraph, section, side_by_side, table

Report: TypeAlias = Mapping[str, Any]
Row = TypeVar("Row")

_A_PLOT = 15
"""Rows of a plot: longer ones lose their axis on a phone."""
_AT_ONCE = 30
"""Rows that are shown without a click."""
_MAPPED = 12
"""Classes of the heat map, as many as have room for their names on a phone."""
_THIN_PX = (1.0, 2.0, 4.0)
_IOUS = ("0.5", "0.75", "0.9")
_SIDES = ("width_px", "height_px")
_FEW_PX = 0.05
"""Where the axis of sizes begins at the latest: a box without a side has no logarithm."""


def class_sections(report: Report) -> str:
    """Show sizes, ceilings, collisions and all figures of the classes.

    Args:
        report: What ``omr analyze-density --json`` prints.

    Raises:
        ValueError: The matrix of collisions is not one of these classes.
    """
    rows = [row for row in report["classes"] if row["count"]]
    return (
        section("sizes", f"Size of each class at {report['imgsz']} px", _sizes(rows))
        + section("representation", "What a head can say at best", _representation(rows))
        + section("collisions", "Classes that want the same anchor points", _collisions(report))
        + section("priors", "Sizes that the heads start from", _priors(report))
        + section("classes", "All classes", _classes(report, rows))
    )


def left_out(classes: Sequence[Report], start: str) -> list[str]:
    """Name the classes that have no weight at a start, or lose most labels.

    Args:
        classes: As in the report.
        start: ``stock`` or ``ours``.
    """
    return [row["name"] for row in classes if _waits(row, start)]


def _waits(row: Report, start: str) -> bool:
    found = (row["start"] or {}).get(start)
    return bool(row["count"] and found and not found["learns"])


def _sizes(rows: Sequence[Report]) -> str:
    sized = [row for row in rows if row["width_px"] and row["height_px"]]
    if not sized:
        return paragraph("No symbol, so no size.")
    sized.sort(key=lambda row: min(row["width_px"]["p50"], row["height_px"]["p50"]))
    values = [row[side][p] for row in sized for side in _SIDES for p in ("p5", "p95")]
    limits = max(_FEW_PX, min(0.8, *values)) * 0.9, max(5.0, *values) * 1.1
    words = (
        "From the 5th to the 95th of 100 symbols, with the median as a tick, pixels, smallest "
        "class first. The lines are at 1, 2 and 4 px. ▲ no weight in the loss at Ultralytics' "
        "start, or most labels dropped; omr train starts from sizes of the data. ✕ there too."
    )
    keys = legend([("s0", "width"), ("s3", "height"), ("mark", "median")])
    shown = [
        RangeRow(
            name=row["name"],
            ranges=[(row[side]["p5"], row[side]["p50"], row[side]["p95"]) for side in _SIDES],
            note=" x ".join(pixels(row[side]["p50"]) for side in _SIDES),
            warning=_warning(row),
        )
        for row in sized
    ]

    def picture(plot: str, part: Sequence[RangeRow]) -> str:
        told = "; ".join(
            f"{row.name} {row.ranges[0][1]:.1f} by {row.ranges[1][1]:.1f}" for row in part
        )
        label = f"Median width and height of classes in pixels: {told}"
        return ranges(plot, label, part, limits=limits, lines=_THIN_PX)

    return paragraph(words) + keys + _in_parts("plot-sizes", shown, picture)


def _warning(row: Report) -> str:
    if _waits(row, "ours"):
        return "✕"
    return "▲" if _waits(row, "stock") else ""


def _representation(rows: Sequence[Report]) -> str:
    known = [row for row in rows if row["representation"]]
    if not known:
        return paragraph("Not computed.")
    known.sort(key=lambda row: (row["representation"]["stock"]["0.5"], row["name"]))
    words = (
        "The share of a class's boxes that some candidate anchor point can match at IoU .5: no "
        "training can find more of them. A stock head predicts distances of 0 and more, so that "
        "its boxes hold their anchor point; a signed one predicts distances below 0 too."
    )
    return (
        paragraph(words)
        + _ceiling_plots(known)
        + folded("The ceilings at IoU .5, .75 and .9, with P2 and without", _ceiling_table(known))
    )


def _ceiling_plots(known: Sequence[Report]) -> str:
    rows = [
        DotRow(
            name=row["name"],
            values=[row["representation"][way]["0.5"] for way in ("stock", "signed")],
        )
        for row in known
    ]
    shown = [row for row in rows if min(row.values) < 1]

    def picture(plot: str, part: Sequence[DotRow]) -> str:
        told = "; ".join(
            f"{row.name} {share(row.values[0])} and {share(row.values[1])}" for row in part
        )
        return dots(plot, f"Ceiling of recall at IoU .5, stock and signed: {told}", part)

    reached = len(rows) - len(shown)
    words = "Lowest first."
    if reached:
        words += f" Left out: {counted(reached, 'class', 'classes')} at 100% with both."
    keys = legend([("s4 hollow", "stock"), ("s0 round", "signed")])
    return paragraph(words) + keys + _in_parts("plot-representation", shown, picture)


def _ceiling_table(known: Sequence[Report]) -> str:
    ways = {
        "stock": "stock",
        "signed": "signed",
        "stock_p2": "stock, P2",
        "signed_p2": "signed, P2",
    }
    columns = ["class", *(f"{title} .{iou[2:]}" for title in ways.values() for iou in _IOUS)]
    figures = [
        (
            row["name"],
            *(
                share((row["representation"].get(way) or {}).get(iou))
                for way in ways
                for iou in _IOUS
            ),
        )
        for row in known
    ]
    return table("Ceilings of each class at IoU .5, .75 and .9", columns, figures, tall=True)


def _in_parts(name: str, rows: Sequence[Row], picture: Callable[[str, Sequence[Row]], str]) -> str:
    """Show many rows as several plots of the same scale, and the last of them on demand.

    Args:
        name: The id of all of them; each has a number behind it.
        rows: Of the plots.
        picture: Draws some of the rows under an id.
    """
    parts = [rows[i : i + _A_PLOT] for i in range(0, len(rows), _A_PLOT)]
    drawn = [picture(f"{name}-{i}", part) for i, part in enumerate(parts)]
    at_once = _AT_ONCE // _A_PLOT
    shown = side_by_side(name, drawn[:at_once])
    if len(drawn) <= at_once:
        return shown
    more = side_by_side(f"{name}-more", drawn[at_once:])
    return shown + folded(f"{counted(len(rows) - _AT_ONCE, 'class', 'classes')} more", more)


def _collisions(report: Report) -> str:
    contest = report["contest"]
    if not contest:
        return paragraph("Not computed.")
    points, contested = contest["points"], contest["contested"]
    words = (
        f"{amount(contested)} of {amount(points)} anchor points "
        f"({share(contested / max(1, points))}) are wanted by more than one box, and each serves "
        "one box a head. At best "
        f"{share(contest['ceiling_single'])} of the boxes get a point of their own with one head"
    )
    if contest["ceiling_heads"] is not None:
        words += f", and {share(contest['ceiling_heads'])} with the given heads"
    said = paragraph(words + ".")
    pairs = contest["collisions"]
    if not pairs:
        return said + paragraph("No two boxes want the same point.")
    figures = [(f"{pair['a']} / {pair['b']}", amount(pair["points"])) for pair in pairs]
    listed = table("Pairs of classes by the points they share", ("pair", "points"), figures)
    return said + _heat_map(report) + folded("The pairs that share most, in figures", listed)


def _heat_map(report: Report) -> str:
    shared = _matrix(report)
    names = [row["name"] for row in report["classes"]]
    order = sorted(range(len(names)), key=lambda i: -sum(shared[i]))
    shown = [i for i in order[:_MAPPED] if any(shared[i])]
    values = [[shared[i][j] for j in shown] for i in shown]
    pairs = ", ".join(
        f"{pair['a']} and {pair['b']} {amount(pair['points'])}"
        for pair in report["contest"]["collisions"][:10]
    )
    words = f"Points that two classes share, for the {len(shown)} classes that share most."
    picture = heat_map("plot-collisions", f"{words} {pairs}", [names[i] for i in shown], values)
    return paragraph(words) + narrow(picture)


def _matrix(report: Report) -> list[list[int]]:
    """Points that each pair of classes shares, the same from both sides.

    Raises:
        ValueError: It is not one of these classes.
    """
    place = {row["name"]: i for i, row in enumerate(report["classes"])}
    half = report["contest"]["matrix"]
    if len(half) != len(place) or any(len(row) != len(place) for row in half):
        raise ValueError(f"the matrix of collisions must be of {len(place)} classes a side")
    whole = [[max(half[i][j], half[j][i]) for j in range(len(half))] for i in range(len(half))]
    for pair in report["contest"]["collisions"]:
        a, b, points = pair["a"], pair["b"], pair["points"]
        if whole[place[a]][place[b]] != points:
            raise ValueError(
                f"the matrix of collisions is not in the order of the classes: {a} and {b} share "
                f"{points} points, and it says {whole[place[a]][place[b]]}"
            )
    return whole


def _priors(report: Report) -> str:
    if not report["priors"]:
        return paragraph("None: no size was taken from the data.")
    figures = [
        (
            prior["group"],
            str(prior["stride"]),
            f"{pixels(prior['width_px'])} x {pixels(prior['height_px'])}",
        )
        for prior in report["priors"]
    ]
    words = "omr train sets the heads so that their first boxes have these sizes."
    return paragraph(words) + table("Starting boxes", ("group", "stride", "pixels"), figures)


def _classes(report: Report, rows: Sequence[Report]) -> str:
    absent = [row["name"] for row in report["classes"] if not row["count"]]
    said = paragraph(f"Without a symbol: {', '.join(absent)}.") if absent else ""
    if not rows:
        return said or paragraph("There is no class.")
    columns = [title for title, _ in _COLUMNS]
    figures = [[cell(row) for _, cell in _COLUMNS] for row in rows]
    return table("All classes", columns, figures, tall=True) + said


def _span(row: Report, side: str) -> str:
    size = row[side]
    if not size:
        return NONE
    return f"{pixels(size['p50'])} ({pixels(size['p5'])} to {pixels(size['p95'])})"


def _start(row: Report, start: str) -> str:
    found = (row["start"] or {}).get(start)
    if not found:
        return NONE
    return f"{'yes' if found['learns'] else 'NO'} (IoU {found['iou']:.3f})"


_COLUMNS: tuple[tuple[str, Callable[[Report], str]], ...] = (
    ("class", lambda row: str(row["name"])),
    ("symbols", lambda row: amount(row["count"])),
    ("share", lambda row: share(row["share"])),
    ("width px (P5 to P95)", lambda row: _span(row, "width_px")),
    ("height px (P5 to P95)", lambda row: _span(row, "height_px")),
    ("under 1 px", lambda row: share(row["under_1px"])),
    ("under 2 px", lambda row: share(row["under_2px"])),
    ("under 4 px", lambda row: share(row["under_4px"])),
    ("no candidate", lambda row: share(row["no_candidate"])),
    ("1 candidate", lambda row: share(row["one_candidate"])),
    ("2 candidates", lambda row: share(row["two_candidates"])),
    ("dropped by the stock filter", lambda row: share(row["dropped_by_stock_filter"])),
    ("weight at Ultralytics' start", lambda row: _start(row, "stock")),
    ("at that of omr train", lambda row: _start(row, "ours")),
)
