"""Plots of scores as inline SVG: bars with intervals, curves, reliability diagrams.

Horizontal positions are percentages, as in :mod:`~eval.html.plots`; every plot has tooltips and a
description for screen readers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

from markupsafe import Markup

from eval.html import svg
from eval.html.number_format import NONE
from eval.html.plots import shortened
from eval.html.svg import LEFT, RIGHT, Linear

_ROW_LETTERS = 22
"""Maximum length of names above a row, so that they fit on a phone next to a note."""
_BAR_PX, _NAME_PX, _GAP_PX = 10, 22, 10
_CURVE_PX = 150
_DIAGRAM_PX = 230
_SIDE = 11.0
"""Width of a vertical scale in per cent."""
_MAX_RADIUS = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """Value with an optional interval."""

    value: float | None
    """Length of the bar; None to draw a dash."""
    interval: tuple[float, float] | None = None
    tooltip: str = ""
    pale: bool = False
    """Whether the value is based on little data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BarRow:
    """Row of a bar plot: a name above one bar per colour."""

    name: str
    bars: Sequence[Bar]
    note: str = ""
    """Text after the name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dot:
    """Point of a diagram whose axes go from 0 to 1."""

    x: float
    y: float
    weight: float
    """Size relative to the largest point, 0 to 1."""
    tooltip: str


def bars(
    plot: str,
    label: str,
    rows: Sequence[BarRow],
    *,
    top: float = 1.0,
    colours: Sequence[int] = (0,),
) -> Markup:
    """Draw horizontal bars from 0, with intervals as lines with caps.

    Args:
        plot: Element id of the plot, unique within its page.
        label: Description for screen readers.
        rows: Rows of the plot, top first.
        top: Right end of the axis; positive.
        colours: Colour of each bar of a row.
    """
    x = Linear(0, top, LEFT, RIGHT)
    heights = [_NAME_PX + len(row.bars) * (_BAR_PX + 2) + _GAP_PX for row in rows]
    bottom = 26 + sum(heights)
    shapes = []
    for tick in svg.ticks(0, top):
        shapes.append(svg.line(x(tick), 22, x(tick), bottom, "grid"))
        shapes.append(svg.text(x(tick), 14, f"{tick:g}", "tick", svg.anchor_inside(x(tick))))
    y = 26.0
    for row, height in zip(rows, heights, strict=True):
        shapes.append(svg.row_name(y + 15, shortened(row.name, _ROW_LETTERS), row.note))
        for i, bar in enumerate(row.bars):
            shapes += _bar(x, y + _NAME_PX + i * (_BAR_PX + 2), bar, f"part s{colours[i]}")
        y += height
    return svg.picture(plot, label, bottom, shapes)


def _bar(x: Linear, top: float, bar: Bar, style: str) -> Iterable[Markup]:
    if bar.value is None:
        yield svg.text(LEFT, top + 9, NONE, "tick")
        return
    # A bar of length 0 would be invisible and without a tooltip.
    width = max(abs(x(bar.value) - x(0)), 0.4)
    left = min(x(bar.value), x(0))
    parts = [svg.rect(left, top, width, _BAR_PX, style, 0.4 if bar.pale else None)]
    if bar.interval:
        low, high = (x(end) for end in bar.interval)
        middle = top + _BAR_PX / 2
        parts.append(svg.line(low, middle, high, middle, "whisker"))
        parts += [svg.line(end, top + 1, end, top + _BAR_PX - 1, "whisker") for end in (low, high)]
    yield svg.with_tooltip(Markup("").join(parts), bar.tooltip)


def differences(plot: str, label: str, rows: Sequence[BarRow], *, reach: float) -> Markup:
    """Draw horizontal bars to both sides of 0, with intervals as lines with caps.

    Args:
        plot: Element id of the plot, unique within its page.
        label: Description for screen readers.
        rows: Rows of the plot with one bar each, top first.
        reach: Right end of the axis, and the left end's distance from 0; positive.
    """
    x = Linear(-reach, reach, LEFT, RIGHT)
    height = _NAME_PX + _BAR_PX + 2 + _GAP_PX
    bottom = 26 + height * len(rows)
    shapes = []
    for tick in svg.ticks(-reach, reach, most=4):
        shapes.append(svg.line(x(tick), 22, x(tick), bottom, "grid"))
        text = f"{tick:+g}" if tick else "0"
        shapes.append(svg.text(x(tick), 14, text, "tick", svg.anchor_inside(x(tick))))
    for i, row in enumerate(rows):
        y = 26 + i * height
        shapes.append(svg.row_name(y + 15, shortened(row.name, _ROW_LETTERS), row.note))
        for bar in row.bars:
            style = "part s4" if (bar.value or 0) < 0 else "part s0"
            shapes += _bar(x, y + _NAME_PX, bar, style)
        zero = x(0), y + _NAME_PX - 3, x(0), y + _NAME_PX + _BAR_PX + 3
        shapes.append(svg.line(*zero, "reference"))
    return svg.picture(plot, label, bottom, shapes)


def curve(
    plot: str, label: str, values: Sequence[float], *, marked: tuple[float, float] | None = None
) -> Markup:
    """Draw a curve over equally spaced positions from 0 to 1, filled down to 0.

    Args:
        plot: Element id of the plot, unique within its page.
        label: Description for screen readers.
        values: Heights from the left to the right edge, 0 to 1.
        marked: Point to mark, as fractions of the axes.
    """
    shapes, x, y = _unit_axes(_CURVE_PX)
    if values:
        shapes.append(_polyline(values, y))
    if marked:
        at = x(marked[0]), y(marked[1])
        shapes.append(svg.circle(*at, 5, "s4 ringed"))
    return svg.picture(plot, label, _CURVE_PX + 22, shapes)


def reliability(plot: str, label: str, dots: Sequence[Dot]) -> Markup:
    """Draw points next to the diagonal, on which confidence equals precision.

    Args:
        plot: Element id of the plot, unique within its page.
        label: Description for screen readers.
        dots: Points, each connected with the diagonal by a vertical line.
    """
    shapes, x, y = _unit_axes(_DIAGRAM_PX)
    shapes.append(svg.line(x(0), y(0), x(1), y(1), "diagonal"))
    for dot in dots:
        at = x(dot.x)
        radius = round(3 + (_MAX_RADIUS - 3) * sqrt(dot.weight))
        parts = svg.line(at, y(dot.x), at, y(dot.y), "link"), svg.circle(at, y(dot.y), radius, "s0")
        shapes.append(svg.with_tooltip(Markup("").join(parts), dot.tooltip))
    return svg.picture(plot, label, _DIAGRAM_PX + 22, shapes)


def _unit_axes(height: int) -> tuple[list[Markup], Linear, Linear]:
    """Return grid and scales of a diagram whose axes go from 0 to 1."""
    x, y = Linear(0, 1, _SIDE, RIGHT), Linear(0, 1, height - 2, 8)
    shapes = []
    for tick in (0, 0.5, 1):
        shapes.append(svg.line(_SIDE, y(tick), RIGHT, y(tick), "grid"))
        shapes.append(svg.text(0, y(tick) + 5, f"{tick:g}", "tick"))
        shapes.append(svg.text(x(tick), height + 16, f"{tick:g}", "tick", "middle"))
    return shapes, x, y


def _polyline(values: Sequence[float], y: Linear) -> Markup:
    """Return a filled curve in a coordinate system of its own, as paths take no percentages."""
    last = max(1, len(values) - 1)
    points = [f"{100 * i / last:.5g} {100 - 100 * value:.4g}" for i, value in enumerate(values)]
    line = f"M{'L'.join(points)}"
    return svg.element(
        "svg",
        {
            "x": f"{_SIDE}%", "y": f"{y(1):.1f}", "width": f"{RIGHT - _SIDE}%",
            "height": f"{y(0) - y(1):.1f}", "viewBox": "0 0 100 100",
            "preserveAspectRatio": "none",
        },
        svg.element("path", {"d": f"{line}L100 100L0 100Z", "class": "area s0"}),
        svg.element("path", {"d": line, "class": "curve s0"}),
    )  # fmt: skip
