"""Plots of an HTML report as inline SVG: histogram, stacked bars, ranges, dots, heat map.

Every plot has a description for screen readers, and tooltips that give the value of each mark.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from markupsafe import Markup

from eval.html import svg
from eval.html.number_format import short_number
from eval.html.svg import LEFT, RIGHT, Linear, Log

N_COLOURS = 6
_MATRIX_LEFT = 43.0
"""Left edge of a heat map in per cent, right of the row names."""
_SCALE = 8.0
"""Width of a vertical scale in per cent."""
_BAR_SHARE = 0.72
_ROW_PX, _CELL_PX, _CELL_NAMES_PX = 48, 24, 140
_DOT_ROW_PX = 42
_PLOT_PX = 230
_NAME_LETTERS, _ROW_LETTERS = 17, 22
"""Maximum length of names next to a heat map and above a row, so that they fit on a phone."""
_RANGE_COLOURS = (0, 3)
_DOT_COLOURS = (4, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """Values of one colour."""

    name: str
    values: Sequence[float]
    """One value per category."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceLine:
    """Horizontal line across all bars."""

    name: str
    """Text after the value: its unit and meaning."""
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RangeRow:
    """Row of a range plot."""

    name: str
    ranges: Sequence[tuple[float, float, float]]
    """Low, middle and high of each colour; positive."""
    note: str = ""
    """Text after the name."""
    warning: str = ""
    """Text after the note."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DotRow:
    """Row of a dot plot, with one dot per colour, the first of them hollow."""

    name: str
    values: Sequence[float]
    """Fractions, 0 to 1."""


def histogram(
    plot: str, label: str, counts: Sequence[tuple[int, int]], *, n_bins: int = 24
) -> Markup:
    """Draw the frequencies of whole numbers.

    Args:
        plot: Element id of the plot, unique within its page.
        label: Description for screen readers.
        counts: Pairs of a number and its frequency.
        n_bins: Maximum number of bars; all bars are equally wide.
    """
    bins = binned(counts, n_bins)
    if not bins:
        return svg.picture(plot, label, 40, [_empty_plot()])
    top = max(n for _, _, n in bins)
    first, last = bins[0][0], bins[-1][1] + 1
    x = Linear(first, last, LEFT, RIGHT)
    shapes = [svg.grid_line(_PLOT_PX - 40), svg.text(0, 16, f"{top:,}", "tick")]
    for low, high, n in bins:
        height = (_PLOT_PX - 70) * n / top
        interval = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        left, right = x(low), x(high + 1)
        bar = svg.rect(left, _PLOT_PX - 40 - height, right - left, height, "bar s0")
        shapes.append(svg.with_tooltip(bar, f"{interval}: {n:,}"))
    for tick in svg.ticks(first, last - 1):
        at = x(tick)
        shapes.append(svg.text(at, _PLOT_PX - 20, f"{tick:,}", "tick", svg.anchor_inside(at)))
    return svg.picture(plot, label, _PLOT_PX - 10, shapes)


def binned(counts: Sequence[tuple[int, int]], n_bins: int) -> list[tuple[int, int, int]]:
    """Group whole numbers into equally wide bins.

    Args:
        counts: Pairs of a number and its frequency.
        n_bins: Maximum number of bins.

    Returns:
        First number, last number and frequency of each bin from the smallest number to the
        largest, including empty bins.
    """
    if not counts:
        return []
    first, last = min(x for x, _ in counts), max(x for x, _ in counts)
    width = ceil((last - first + 1) / n_bins)
    totals = [0] * ((last - first) // width + 1)
    for x, n in counts:
        totals[(x - first) // width] += n
    return [
        (first + i * width, first + (i + 1) * width - 1, total) for i, total in enumerate(totals)
    ]


def stacked_bars(
    plot: str,
    label: str,
    categories: Sequence[str],
    series: Sequence[Series],
    *,
    reference: ReferenceLine | None = None,
    dashed: Series | None = None,
    marked: str | None = None,
    top: float | None = None,
) -> Markup:
    """Draw one bar per category, with the series stacked.

    Args:
        plot: Element id of the plot, unique within its page.
        label: Description for screen readers.
        categories: Labels of the bars.
        series: Stacked series, bottom first, at most :data:`N_COLOURS`.
        reference: Horizontal line across the bars.
        dashed: Series drawn as a dashed line.
        marked: Category to highlight.
        top: Upper limit of the vertical scale; higher values are clipped and get an arrow.
    """
    if not categories:
        return svg.picture(plot, label, 40, [_empty_plot()])
    totals = [sum(one.values[i] for one in series) for i in range(len(categories))]
    highest = top or max(
        [*totals, reference.value if reference else 0, *(dashed.values if dashed else ())]
    )
    y = Linear(0, highest or 1, _PLOT_PX + 30, 40)
    step = (RIGHT - LEFT - _SCALE) / len(categories)
    lefts = [LEFT + _SCALE + i * step for i in range(len(categories))]
    width = step * _BAR_SHARE
    shapes = []
    for tick in svg.ticks(0, y.end):
        shapes += [svg.grid_line(y(tick)), svg.text(0, y(tick) - 4, f"{tick:g}", "tick")]
    for i, (category, left) in enumerate(zip(categories, lefts, strict=True)):
        column = _Column(left=left, width=width, y=y, marked=category == marked)
        shapes += column.shapes(category, [(one.name, one.values[i]) for one in series])
    if dashed:
        shapes += _dashed_line([left + width / 2 for left in lefts], dashed, y)
    if reference:
        shapes += _reference_line(reference, y)
    return svg.picture(plot, label, _PLOT_PX + 60, shapes)


def ranges(
    plot: str,
    label: str,
    rows: Sequence[RangeRow],
    *,
    limits: tuple[float, float],
    lines: Sequence[float] = (),
) -> Markup:
    """Draw bars from low to high on a logarithmic axis, below the name of each row.

    Args:
        plot: Element id of the plot, unique within its page.
        label: Description for screen readers.
        rows: Rows of the plot, top first.
        limits: Ends of the axis; positive.
        lines: Values that get a vertical line.
    """
    x = Log(*limits)
    height = 30 + _ROW_PX * len(rows)
    ticks = sorted({*lines, *(10.0**n for n in range(-1, 5))})
    shapes = []
    for tick in (tick for tick in ticks if limits[0] <= tick <= limits[1]):
        style = "faint" if tick in lines else "grid"
        shapes.append(svg.line(x(tick), 22, x(tick), height, style))
        shapes.append(svg.text(x(tick), 14, f"{tick:g}", "tick", svg.anchor_inside(x(tick))))
    for i, row in enumerate(rows):
        top = 30 + i * _ROW_PX
        name = shortened(row.name, _ROW_LETTERS)
        shapes.append(svg.row_name(top + 15, name, row.note, row.warning))
        for colour, (low, middle, high) in enumerate(row.ranges):
            at = top + 25 + colour * 9
            bar = svg.line(x(low), at, x(high), at, f"range s{_RANGE_COLOURS[colour]}")
            tooltip = f"{row.name}: {low:.3g} to {high:.3g}, median {middle:.3g}"
            shapes.append(svg.with_tooltip(bar, tooltip))
            shapes.append(svg.line(x(middle), at - 5, x(middle), at + 5, "median"))
    return svg.picture(plot, label, height, shapes)


def dots(plot: str, label: str, rows: Sequence[DotRow]) -> Markup:
    """Draw fractions as dots between 0 and 100 %, below the name of each row.

    Args:
        plot: Element id of the plot, unique within its page.
        label: Description for screen readers.
        rows: Rows of the plot, top first.
    """
    x = Linear(0, 1, LEFT, RIGHT)
    height = 30 + _DOT_ROW_PX * len(rows)
    shapes = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        shapes.append(svg.line(x(tick), 22, x(tick), height, "grid"))
        shapes.append(svg.text(x(tick), 14, f"{tick:.0%}", "tick", svg.anchor_inside(x(tick))))
    for i, row in enumerate(rows):
        top = 30 + i * _DOT_ROW_PX
        note = " / ".join(f"{v:.0%}" for v in row.values)
        shapes.append(svg.row_name(top + 15, shortened(row.name, _ROW_LETTERS), note))
        shapes.append(svg.line(x(min(row.values)), top + 27, x(max(row.values)), top + 27, "link"))
        for colour, value in reversed(list(enumerate(row.values))):
            style, radius = (f"s{_DOT_COLOURS[colour]}", 5) if colour else ("s4 hollow", 7)
            dot = svg.circle(x(value), top + 27, radius, style)
            shapes.append(svg.with_tooltip(dot, f"{row.name}: {value:.1%}"))
    return svg.picture(plot, label, height, shapes)


def heat_map(
    plot: str, label: str, names: Sequence[str], values: Sequence[Sequence[int]]
) -> Markup:
    """Draw a matrix as squares whose darkness follows the value.

    Args:
        plot: Element id of the plot, unique within its page.
        label: Description for screen readers.
        names: Names of both rows and columns.
        values: Rows of non-negative numbers.
    """
    most = max((value for row in values for value in row), default=0)
    step = (RIGHT - _MATRIX_LEFT) / max(1, len(names))
    shapes = []
    for i, name in enumerate(names):
        left, top = _MATRIX_LEFT + i * step, _CELL_NAMES_PX + i * _CELL_PX
        short_name = shortened(name, _NAME_LETTERS)
        shapes.append(svg.upright_text(left + step / 2, _CELL_NAMES_PX - 6, short_name))
        row_name = svg.text(_MATRIX_LEFT, top + 17, short_name, "", "end", -6)
        shapes.append(svg.with_tooltip(row_name, name))
        for j, value in enumerate(values[i]):
            at = _MATRIX_LEFT + j * step
            # The square root keeps small values visible; the limit keeps dark cells readable.
            opacity = 0.08 + 0.57 * (value / most) ** 0.5 if value else 0.04
            cell = svg.rect(at, top, step, _CELL_PX, "bar s0", opacity)
            shapes.append(svg.with_tooltip(cell, f"{name}, {names[j]}: {value:,}"))
            if value:
                short = short_number(value)
                shapes.append(svg.text(at + step / 2, top + 17, short, "roomy", "middle"))
    return svg.picture(plot, label, _CELL_NAMES_PX + _CELL_PX * len(names) + 4, shapes)


def shortened(name: str, letters: int) -> str:
    """Replace the middle of a long name by an ellipsis: class names differ at both ends."""
    if len(name) <= letters:
        return name
    head = (letters - 1) // 2
    return f"{name[:head]}…{name[len(name) - (letters - 1 - head) :]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    """Bar of a stacked plot."""

    left: float
    width: float
    y: Linear
    marked: bool

    def shapes(self, category: str, parts: Sequence[tuple[str, float]]) -> Iterable[Markup]:
        middle, floor_px = self.left + self.width / 2, self.y.low
        if self.marked:
            yield svg.rect(self.left - 1, 0, self.width + 2, floor_px + 26, "band")
        below = 0.0
        for colour, (name, value) in enumerate(parts):
            height = self.y(below) - self.y(below + value)
            rect = svg.rect(self.left, self.y(below + value), self.width, height, f"part s{colour}")
            yield svg.with_tooltip(rect, f"{category}: {name} {value:.3g}")
            below += value
        clipped = below > self.y.end
        if self.marked or clipped:
            at = self.y.high + 20 if clipped else self.y(below) - 6
            style = "halo strong" if self.marked else "halo roomy"
            yield svg.text(middle, at, f"{'↑' if clipped else ''}{below:.3g}", style, "middle")
        yield svg.text(middle, floor_px + 19, category, "", "middle")


def _dashed_line(middles: Sequence[float], series: Series, y: Linear) -> Iterable[Markup]:
    points = list(zip(middles, series.values, strict=True))
    for (x0, v0), (x1, v1) in pairwise(points):
        if min(v0, v1) < y.end:  # a line along the upper edge would look like a value
            yield svg.line(x0, y(v0), x1, y(v1), "dashed")
    for x, value in points:
        yield svg.with_tooltip(svg.circle(x, y(value), 4, "s4"), f"{series.name}: {value:.3g}")
        if value > y.end:
            yield svg.text(x, y.high - 12, f"↑{value:.3g}", "halo roomy", "middle")


def _reference_line(reference: ReferenceLine, y: Linear) -> Iterable[Markup]:
    at = y(reference.value)
    yield svg.line(0, at, 100, at, "reference")
    # Bars grow to the right, so there is room on the left.
    yield svg.text(_SCALE, at - 7, f"{reference.value:.3g} {reference.name}", "halo strong")


def _empty_plot() -> Markup:
    return svg.text(0, 24, "nothing to show", "tick")
