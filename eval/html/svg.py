"""SVG shapes as markup, and the scales that place them.

Horizontal positions are percentages of the width, vertical positions are pixels. So a plot fills
its column on a phone and on a desktop, while its text keeps its size. Colours come from
``colours.css``, fonts from ``report.css``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup

LEFT, RIGHT = 1.5, 97.0
"""Left and right edge of the plotted area, in per cent of the width."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Linear scale that clips values to its ends."""

    start: float
    end: float
    low: float
    high: float

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        fraction = (value - self.start) / ((self.end - self.start) or 1)
        return self.low + (self.high - self.low) * min(1.0, max(0.0, fraction))


@dataclass(frozen=True, slots=True)
class Log:
    """Logarithmic scale over the plotted area."""

    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value in per cent."""
        inner = Linear(log10(self.start), log10(self.end), LEFT, RIGHT)
        return inner(log10(max(value, self.start)))


def element(tag: str, attributes: dict[str, str], *children: str) -> Markup:
    """Return an element; attribute values and text are escaped, markup is not."""
    pairs = Markup("").join(
        Markup(' {}="{}"').format(name, value) for name, value in attributes.items()
    )
    return Markup("<{tag}{pairs}>{content}</{tag}>").format(
        tag=tag, pairs=pairs, content=Markup("").join(children)
    )


def picture(plot: str, label: str, height: float, shapes: Iterable[Markup]) -> Markup:
    """Return a plot.

    Args:
        plot: Element id, unique within the page.
        label: Description for screen readers.
        height: Height in pixels.
        shapes: Shapes of the plot, bottom layer first.
    """
    attributes = {
        "id": plot, "role": "img", "aria-label": label, "width": "100%", "height": f"{height:.0f}",
    }  # fmt: skip
    return element("svg", attributes, *shapes)


def rect(
    left: float, top: float, width: float, height: float, style: str, opacity: float | None = None
) -> Markup:
    """Return a rectangle; horizontal values are in per cent, vertical values in pixels."""
    attributes = {
        "x": f"{left:.2f}%", "y": f"{top:.1f}", "width": f"{width:.2f}%",
        "height": f"{max(0, height):.1f}", "class": style,
    }  # fmt: skip
    if opacity is not None:
        attributes["fill-opacity"] = f"{opacity:.2f}"
    return element("rect", attributes)


def line(x0: float, y0: float, x1: float, y1: float, style: str) -> Markup:
    """Return a line; horizontal values are in per cent, vertical values in pixels."""
    ends = {"x1": f"{x0:.2f}%", "y1": f"{y0:.1f}", "x2": f"{x1:.2f}%", "y2": f"{y1:.1f}"}
    return element("line", ends | {"class": style})


def grid_line(y: float) -> Markup:
    """Return a horizontal grid line."""
    return line(0, y, 100, y, "grid")


def circle(x: float, y: float, radius: int, style: str) -> Markup:
    """Return a circle; x is in per cent, everything else in pixels."""
    attributes = {"cx": f"{x:.2f}%", "cy": f"{y:.1f}", "r": f"{radius}", "class": style}
    return element("circle", attributes)


def text(
    x: float, y: float, content: str, style: str, anchor: str = "start", dx: int = 0
) -> Markup:
    """Return text at a position in per cent and pixels, shifted right by ``dx`` pixels."""
    attributes = {
        "x": f"{x:.2f}%", "y": f"{y:.1f}", "dx": f"{dx}", "text-anchor": anchor, "class": style,
    }  # fmt: skip
    return element("text", attributes, content)


def upright_text(x: float, y: float, content: str) -> Markup:
    """Return text that runs upwards and ends at a position.

    Rotation needs a coordinate system in pixels, so the text has its own ``svg`` element.
    """
    rotated = element("text", {"transform": "rotate(-90)", "y": "5"}, content)
    attributes = {"x": f"{x:.2f}%", "y": f"{y:.1f}", "width": "1", "height": "1"}
    return element("svg", attributes, rotated)


def row_name(y: float, name: str, note: str, warning: str = "") -> Markup:
    """Return the name of a row, followed by a note and a warning."""
    spans = [
        element("tspan", {"class": style, "dx": "8"}, content)
        for style, content in (("note", note), ("warning", warning))
        if content
    ]
    return element("text", {"x": "0", "y": f"{y:.1f}", "class": "name"}, name, *spans)


def with_tooltip(shape: Markup, tooltip: str) -> Markup:
    """Return a shape with a tooltip, which appears when the pointer rests on it."""
    return element("g", {}, element("title", {}, tooltip), shape)


def anchor_inside(percent: float) -> str:
    """Return the text anchor that keeps a text inside the plot."""
    return "start" if percent < 4 else "end" if percent > 94 else "middle"


def ticks(first: float, last: float, most: int = 5) -> list[int | float]:
    """Return round numbers between two values, inclusive."""
    span = last - first
    if span <= 0:
        return [first]
    raw = span / most
    power = 10.0 ** floor(log10(raw))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= raw)
    whole = [n * step for n in range(ceil(first / step), floor(last / step) + 1)]
    return [int(tick) if step >= 1 else round(tick, 6) for tick in whole]
