"""Curves of training runs over their epochs: one plot per group of runs, with equal scales."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from eval.html import svg
from eval.html.number_format import counted
from eval.html.page import Plot
from eval.html.svg import RIGHT, Linear

MOST_POINTS = 100
"""Points per curve; longer ones are thinned out, which does not show at this size."""
_PX = 180
_SIDE = 13.0
"""Width of a vertical scale in per cent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCurve:
    """Values of a run after each epoch."""

    name: str
    group: str
    """Group of the run, such as the runs of one recipe with several seeds."""
    points: Sequence[tuple[int, float]]
    """Epochs and values; finite."""


def run_curves(name: str, measure: str, curves: Sequence[RunCurve], *, top: float) -> list[Plot]:
    """Draw the runs of each group in colour, in front of those of all other groups.

    Args:
        name: Start of the element ids, unique within the page.
        measure: Name of the values.
        curves: Curves of all runs, in the order in which their groups are drawn.
        top: Upper end of the vertical scale, which starts at 0; higher values are clipped.
    """
    groups = dict.fromkeys(curve.group for curve in curves)
    last = max((epoch for curve in curves for epoch, _ in curve.points), default=1)
    x, y = Linear(1, max(last, 2), 0, 100), Linear(0, top, 100, 0)
    plots = []
    for i, group in enumerate(groups):
        own = [curve for curve in curves if curve.group == group]
        all_id = f"{name}-all"
        others = svg.element("use", {"href": f"#{all_id}"}) if i else _area(all_id, curves, x, y)
        shapes = [*_axes(last, top), others]
        for curve in own:
            line = _area("", [curve], x, y, style="curve s0")
            shapes.append(svg.with_tooltip(line, _tooltip(curve)))
        label = f"{measure}: {'; '.join(map(_tooltip, own))}"
        plots.append(Plot(title=group, svg=svg.picture(f"{name}-{i}", label, _PX + 24, shapes)))
    return plots


def _tooltip(curve: RunCurve) -> str:
    if not curve.points:
        return f"{curve.name}, no epochs yet"
    epoch, value = curve.points[-1]
    return f"{curve.name}, {value:.3g} after {counted(epoch, 'epoch', 'epochs')}"


def _axes(last: int, top: float) -> Iterable[Markup]:
    x, y = Linear(1, max(last, 2), _SIDE, RIGHT), Linear(0, top, _PX - 2, 8)
    for tick in svg.ticks(0, top, most=3):
        yield svg.line(_SIDE, y(tick), RIGHT, y(tick), "grid")
        yield svg.text(0, y(tick) + 5, f"{tick:g}", "tick")
    for epoch in (1, last) if last > 1 else (1,):
        text = f"epoch {epoch}" if epoch == 1 else f"{epoch}"
        yield svg.text(x(epoch), _PX + 18, text, "tick", "start" if epoch == 1 else "end")


def _area(
    element_id: str, curves: Sequence[RunCurve], x: Linear, y: Linear, style: str = "curve behind"
) -> Markup:
    """Return curves in a coordinate system of their own, as paths take no percentages."""
    paths = []
    for curve in curves:
        points = [f"{x(epoch):.4g} {y(value):.4g}" for epoch, value in _thinned(curve.points)]
        if len(points) == 1:
            points *= 2  # a dot, drawn by the round ends of the line
        if points:
            paths.append(svg.element("path", {"d": f"M{'L'.join(points)}", "class": style}))
    attributes = {
        "x": f"{_SIDE}%", "y": "8", "width": f"{RIGHT - _SIDE}%", "height": f"{_PX - 10}",
        "viewBox": "0 0 100 100", "preserveAspectRatio": "none",
    }  # fmt: skip
    return svg.element("svg", ({"id": element_id} if element_id else {}) | attributes, *paths)


def _thinned(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """Return evenly spaced points with the last one."""
    step = -(-len(points) // MOST_POINTS)
    return points if step <= 1 else [*points[:-1:step], points[-1]]
