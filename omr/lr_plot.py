"""Plot of a learning-rate range test, as an HTML page without external resources."""

from itertools import pairwise
from math import ceil, floor, isclose, log10
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from converters.files.atomic_files import output_files
from eval.html import svg
from eval.html.number_format import counted
from eval.html.page import render

if TYPE_CHECKING:
    from training.lr_finder import RangeTest

HEIGHT, TOP, BOTTOM = 420, 90, 370
"""Height of the plot and vertical limits of its curves, in pixels."""


def write_lr_plot(result: "RangeTest", file: Path) -> None:
    """Write the losses over the learning rates, with both suggested rates.

    Args:
        result: Result of the range test.
        file: HTML file to write.
    """
    label = (
        f"Loss per image of {counted(len(result.rates), 'step', 'steps')}, at learning rates from "
        f"{result.rates[0]:g} to {result.rates[-1]:.2g}"
    )
    plot = svg.picture("plot-losses", label, HEIGHT, _shapes(result))
    with output_files(file, force=True) as (part,):
        part.write_text(render("lr_plot.html.j2", plot=plot), "utf-8")


def _shapes(result: "RangeTest") -> list[Markup]:
    first, last = result.rates[0], result.rates[-1]
    x = svg.Log(first, last if last > first else 10 * first)
    # A loss that diverges must not flatten the rest of the curve.
    y = svg.Linear(0, 1.5 * max(result.smoothed), BOTTOM, TOP)
    return [
        svg.grid_line(BOTTOM),
        svg.text(0, TOP - 8, "loss per image", "tick"),
        svg.text(50, HEIGHT - 8, "learning rate", "tick", "middle"),
        *_curve(x, y, result.rates, result.losses, "faint"),
        *_curve(x, y, result.rates, result.smoothed, "s0 hollow"),
        *_marks(x, result),
        *(
            svg.text(x(rate), BOTTOM + 22, f"{rate:g}", "tick", "middle")
            for rate in _powers_of_ten(first, last)
        ),
    ]


def _curve(
    x: svg.Log, y: svg.Linear, rates: tuple[float, ...], losses: tuple[float, ...], style: str
) -> list[Markup]:
    points = [(x(rate), y(loss)) for rate, loss in zip(rates, losses, strict=True)]
    return [svg.line(*start, *end, style) for start, end in pairwise(points)]


def _marks(x: svg.Log, result: "RangeTest") -> list[Markup]:
    """Draw a dashed line with its name at each suggested rate."""
    marks = (
        (result.steepest, "steepest descent"),
        (result.tenth_of_lowest, "a tenth of the rate with the lowest loss"),
    )
    shapes: list[Markup] = []
    for row, (rate, name) in enumerate(marks):
        if rate is not None:
            position, height = x(rate), 20 + 24 * row
            shapes.append(svg.line(position, height + 6, position, BOTTOM, "dashed"))
            anchor = "start" if position < 50 else "end"
            shapes.append(svg.text(position, height, f"{name}: {rate:.2g}", "note", anchor))
    return shapes


def _powers_of_ten(first: float, last: float) -> list[float]:
    """List the powers of ten from the first rate to the last."""
    low, high = log10(first), log10(last)
    start = round(low) if isclose(low, round(low)) else ceil(low)
    return [10.0**n for n in range(start, floor(high) + 1)]
