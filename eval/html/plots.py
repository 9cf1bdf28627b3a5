"""Plots of an HTML page that stands alone: histogram, stack, ranges, dots, heat map.

Each is the text of an inline SVG. What it shows is also said in words: ``label`` is read out, and a
pointer that rests on a mark shows what it stands for. The page needs
:data:`eval.html.svg.STYLE` once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil

from eval.html import svg
from eval.html.svg import LEFT, RIGHT, Linear, Log

N_COLOURS = 6
_LABELLED_LEFT = 43.0
"""Where it begins to the right of names."""
_SCALE = 8.0
"""Room for the numbers of a vertical scale, per cent of the width."""
_BAR_SHARE = 0.72
_ROW_PX, _CELL_PX, _CELL_NAMES_PX = 48, 24, 140
_DOT_ROW_PX = 42
_PLOT_PX = 230
_NAME_LETTERS, _ROW_LETTERS = 17, 22
"""What has room on a phone: beside a heat map, and above a row with its figures behind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """The values of one colour."""

    name: str
    values: Sequence[float]
    """One for each category."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """A horizontal line across the bars, at the same height for all of them."""

    name: str
    """Stands behind the value: its unit, and what it is."""
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RangeRow:
    """A name with bars from low to high."""

    name: str
    ranges: Sequence[tuple[float, float, float]]
    """Low, middle and high of each colour; above 0."""
    note: str = ""
    """Stands behind the name."""
    warning: str = ""
    """Stands behind the note."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DotRow:
    """A name with a dot for each colour, the first of them hollow."""

    name: str
    values: Sequence[float]
    """Shares, 0 to 1."""


def histogram(plot: str, label: str, counts: Sequence[tuple[int, int]], *, n_bins: int = 24) -> str:
    """Draw how often whole numbers occur.

    Args:
        plot: The id of the plot in its page.
        label: What it shows, in words.
        counts: Numbers and how often each occurs.
        n_bins: Bars at most; they are equally wide and hold whole numbers.
    """
    bins = binned(counts, n_bins)
    if not bins:
        return svg.picture(plot, label, 40, _nothing())
    top = max(n for _, _, n in bins)
    first, last = bins[0][0], bins[-1][1] + 1
    x = Linear(first, last, LEFT, RIGHT)
    body = [svg.across(_PLOT_PX - 40), svg.text(0, 16, f"{top:,}", "tick")]
    for low, high, n in bins:
        height = (_PLOT_PX - 70) * n / top
        title = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        left, right = x(low), x(high + 1)
        rect = svg.rect(left, _PLOT_PX - 40 - height, right - left, height, "bar s0")
        body.append(svg.titled(rect, f"{title}: {n:,}"))
    for tick in svg.ticks(first, last - 1):
        at = x(tick)
        body.append(svg.text(at, _PLOT_PX - 20, f"{tick:,}", "tick", svg.anchor(at)))
    return svg.picture(plot, label, _PLOT_PX - 10, "".join(body))


def binned(counts: Sequence[tuple[int, int]], n_bins: int) -> list[tuple[int, int, int]]:
    """Put whole numbers into equally wide bins.

    Args:
        counts: Numbers and how often each occurs.
        n_bins: Bins at most.

    Returns:
        First and last number of each bin and how many there are; every bin from the smallest
        number to the largest, empty ones too.
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
    level: Level | None = None,
    dashed: Series | None = None,
    marked: str | None = None,
    top: float | None = None,
) -> str:
    """Draw one bar a category, its series on top of each other.

    Args:
        plot: The id of the plot in its page.
        label: What it shows, in words.
        categories: What stands under the bars.
        series: Bottom first, :data:`N_COLOURS` at most.
        level: A line across.
        dashed: A value a category, joined by a dashed line.
        marked: The category to point out.
        top: Where the plot ends; what is higher is cut off, and marked with an arrow.
    """
    if not categories:
        return svg.picture(plot, label, 40, _nothing())
    totals = [sum(one.values[i] for one in series) for i in range(len(categories))]
    highest = top or max([*totals, level.value if level else 0, *(dashed.values if dashed else ())])
    y = Linear(0, highest or 1, _PLOT_PX + 30, 40)
    step = (RIGHT - LEFT - _SCALE) / len(categories)
    lefts = [LEFT + _SCALE + i * step for i in range(len(categories))]
    width = step * _BAR_SHARE
    body = [
        svg.across(y(tick)) + svg.text(0, y(tick) - 4, f"{tick:g}", "tick")
        for tick in svg.ticks(0, y.end)
    ]
    for i, (category, left) in enumerate(zip(categories, lefts, strict=True)):
        column = _Column(left=left, width=width, y=y, marked=category == marked)
        body.append(column.drawn(category, [(one.name, one.values[i]) for one in series]))
    if dashed:
        body.append(_dashes([left + width / 2 for left in lefts], dashed, y))
    if level:
        body.append(_level(level, y))
    return svg.picture(plot, label, _PLOT_PX + 60, "".join(body))


def ranges(
    plot: str,
    label: str,
    rows: Sequence[RangeRow],
    *,
    limits: tuple[float, float],
    lines: Sequence[float] = (),
) -> str:
    """Draw bars from low to high on a logarithmic axis, each under its name.

    Args:
        plot: The id of the plot in its page.
        label: What it shows, in words.
        rows: Top first.
        limits: Where the axis begins and ends; above 0.
        lines: Values to draw a line at.
    """
    x = Log(*limits)
    height = 30 + _ROW_PX * len(rows)
    ticks = sorted({*lines, *(10.0**n for n in range(-1, 5))})
    body = []
    for tick in (tick for tick in ticks if limits[0] <= tick <= limits[1]):
        style = "faint" if tick in lines else "grid"
        body.append(svg.line(x(tick), 22, x(tick), height, style))
        body.append(svg.text(x(tick), 14, f"{tick:g}", "tick", svg.anchor(x(tick))))
    for i, row in enumerate(rows):
        top = 30 + i * _ROW_PX
        body.append(_name(row.name, top + 15, row.note, row.warning))
        for colour, (low, middle, high) in enumerate(row.ranges):
            at = top + 25 + colour * 9
            bar = svg.line(x(low), at, x(high), at, f"range s{_RANGE_COLOURS[colour]}")
            tip = f"{row.name}: {low:.3g} to {high:.3g}, median {middle:.3g}"
            body.append(svg.titled(bar, tip))
            body.append(svg.line(x(middle), at - 5, x(middle), at + 5, "median"))
    return svg.picture(plot, label, height, "".join(body))


def dots(plot: str, label: str, rows: Sequence[DotRow]) -> str:
    """Draw shares as dots from 0 to 100 %, each row under its name.

    Args:
        plot: The id of the plot in its page.
        label: What it shows, in words.
        rows: Top first.
    """
    x = Linear(0, 1, LEFT, RIGHT)
    height = 30 + _DOT_ROW_PX * len(rows)
    body = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        body.append(svg.line(x(tick), 22, x(tick), height, "grid"))
        body.append(svg.text(x(tick), 14, f"{tick:.0%}", "tick", svg.anchor(x(tick))))
    for i, row in enumerate(rows):
        top = 30 + i * _DOT_ROW_PX
        body.append(_name(row.name, top + 15, " / ".join(f"{v:.0%}" for v in row.values)))
        body.append(svg.line(x(min(row.values)), top + 27, x(max(row.values)), top + 27, "link"))
        for colour, value in reversed(list(enumerate(row.values))):
            style, radius = (f"s{_DOT_COLOURS[colour]}", 5) if colour else ("s4 hollow", 7)
            dot = f'<circle cx="{x(value):.2f}%" cy="{top + 27}" r="{radius}" class="{style}"/>'
            body.append(svg.titled(dot, f"{row.name}: {value:.1%}"))
    return svg.picture(plot, label, height, "".join(body))


def heat_map(plot: str, label: str, names: Sequence[str], values: Sequence[Sequence[int]]) -> str:
    """Draw a table of numbers as squares, the darker the larger.

    Args:
        plot: The id of the plot in its page.
        label: What it shows, in words.
        names: Of the rows, and of the columns.
        values: Rows of numbers from 0.
    """
    most = max((value for row in values for value in row), default=0)
    step = (RIGHT - _LABELLED_LEFT) / max(1, len(names))
    body = []
    for i, name in enumerate(names):
        left, top = _LABELLED_LEFT + i * step, _CELL_NAMES_PX + i * _CELL_PX
        body.append(_upright(left + step / 2, _CELL_NAMES_PX - 6, name))
        row_name = svg.text(_LABELLED_LEFT, top + 17, shortened(name, _NAME_LETTERS), "", "end", -6)
        body.append(svg.titled(row_name, name))
        for j, value in enumerate(values[i]):
            at = _LABELLED_LEFT + j * step
            # The root keeps pairs visible that share little; letters on the darkest can be read.
            shade = f' fill-opacity="{0.08 + 0.57 * (value / most) ** 0.5 if value else 0.04:.2f}"'
            cell = svg.rect(at, top, step, _CELL_PX, "bar s0", extra=shade)
            body.append(svg.titled(cell, f"{name}, {names[j]}: {value:,}"))
            if value:
                shown = _short_number(value)
                body.append(svg.text(at + step / 2, top + 17, shown, "roomy", "middle"))
    return svg.picture(plot, label, _CELL_NAMES_PX + _CELL_PX * len(names) + 4, "".join(body))


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Explain colours.

    Args:
        entries: A class of the style sheet, such as ``s0``, and what it stands for.
    """
    keys = "".join(
        f'<span><i class="key {style}"></i>{escape(name)}</span>' for style, name in entries
    )
    return f'<p class="legend">{keys}</p>'


def shortened(name: str, letters: int) -> str:
    """Take letters out of the middle of a name: classes differ at both ends."""
    if len(name) <= letters:
        return name
    head = (letters - 1) // 2
    return f"{name[:head]}…{name[len(name) - (letters - 1 - head) :]}"


_RANGE_COLOURS = (0, 3)
_DOT_COLOURS = (4, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    """One bar of a stack."""

    left: float
    width: float
    y: Linear
    marked: bool

    def drawn(self, category: str, parts: Sequence[tuple[str, float]]) -> str:
        middle, floor_px = self.left + self.width / 2, self.y.low
        body = []
        if self.marked:
            body.append(svg.rect(self.left - 1, 0, self.width + 2, floor_px + 26, "band"))
        below = 0.0
        for colour, (name, value) in enumerate(parts):
            height = self.y(below) - self.y(below + value)
            rect = svg.rect(self.left, self.y(below + value), self.width, height, f"part s{colour}")
            body.append(svg.titled(rect, f"{category}: {name} {value:.3g}"))
            below += value
        cut_off = below > self.y.end
        if self.marked or cut_off:
            at = self.y.high + 20 if cut_off else self.y(below) - 6
            style = "halo strong" if self.marked else "halo roomy"
            words = f"{'↑' if cut_off else ''}{below:.3g}"
            body.append(svg.text(middle, at, words, style, "middle"))
        body.append(svg.text(middle, floor_px + 19, category, "", "middle"))
        return "".join(body)


def _dashes(middles: Sequence[float], series: Series, y: Linear) -> str:
    points = list(zip(middles, series.values, strict=True))
    body = [
        svg.line(x0, y(v0), x1, y(v1), "dashed")
        for (x0, v0), (x1, v1) in pairwise(points)
        if min(v0, v1) < y.end  # a line along the upper edge would look like a value
    ]
    for x, value in points:
        dot = f'<circle cx="{x:.2f}%" cy="{y(value):.1f}" r="4" class="s4"/>'
        body.append(svg.titled(dot, f"{series.name}: {value:.3g}"))
        if value > y.end:
            body.append(svg.text(x, y.high - 12, f"↑{value:.3g}", "halo roomy", "middle"))
    return "".join(body)


def _level(level: Level, y: Linear) -> str:
    at = y(level.value)
    words = f"{level.value:.3g} {level.name}"
    # Bars grow to the right: there is room on the left.
    return svg.line(0, at, 100, at, "mark") + svg.text(_SCALE, at - 7, words, "halo strong")


def _short_number(value: int) -> str:
    if value < 1000:
        return f"{value}"
    return f"{value / 1000:.1f}k" if value < 9950 else f"{value / 1000:.0f}k"


def _nothing() -> str:
    return svg.text(0, 24, "nothing to show", "tick")


def _upright(x: float, y: float, name: str) -> str:
    """A name read from below, its end at the point; only inside its own SVG can it be turned."""
    text = f'<text transform="rotate(-90)" y="5">{escape(shortened(name, _NAME_LETTERS))}'
    return f'<svg x="{x:.2f}%" y="{y}" width="1" height="1">{text}</text></svg>'


def _name(name: str, y: float, note: str, warning: str = "") -> str:
    behind = "".join(
        f'<tspan class="{style}" dx="8">{escape(words)}</tspan>'
        for style, words in (("note", note), ("warning", warning))
        if words
    )
    return (
        f'<text x="0" y="{y}" class="name">{escape(shortened(name, _ROW_LETTERS))}{behind}</text>'
    )
