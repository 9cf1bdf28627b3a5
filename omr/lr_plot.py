"""Plot of a learning-rate range test, as an HTML page without external resources."""

from itertools import pairwise
from math import ceil, floor, isclose, log10
from pathlib import Path
from typing import TYPE_CHECKING

from converters.files.atomic_files import output_files
from eval.html import svg

if TYPE_CHECKING:
    from training.lr_finder import RangeTest

TITLE = "Learning-rate range test"
HEIGHT, TOP, BOTTOM = 420, 90, 370
"""Height of the plot and vertical limits of its curves, in pixels."""
STYLE = """
:root { color-scheme: light dark; --bg: light-dark(#fff, #0f1419);
  --fg: light-dark(#1b1f24, #e6edf3); --muted: light-dark(#57606a, #9aa7b4); }
body { background: var(--bg); color: var(--fg); font-family: sans-serif; margin: 2rem; }
svg { overflow: visible; } text { fill: var(--fg); font-size: 14px; } .tick { fill: var(--muted); }
.axis { stroke: var(--muted); } .loss { stroke: var(--muted); stroke-opacity: .5; }
.smoothed { stroke: #0072b2; stroke-width: 3; }
.mark { stroke: #d55e00; stroke-width: 2; stroke-dasharray: 7 4; }
"""
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>{style}</style>
<h1>{title}</h1>
<svg role="img" aria-label="{label}" width="100%" height="{height}">{shapes}</svg>
</html>
"""


def write_lr_plot(result: "RangeTest", file: Path) -> None:
    """Write the losses over the learning rates, with both suggested rates.

    Args:
        result: Result of the range test.
        file: HTML file to write.
    """
    label = (
        f"Loss per image of {len(result.rates)} steps, at learning rates from "
        f"{result.rates[0]:g} to {result.rates[-1]:.2g}"
    )
    page = PAGE.format(
        title=TITLE, style=STYLE, label=label, height=HEIGHT, shapes="".join(_shapes(result))
    )
    with output_files(file, force=True) as (part,):
        part.write_text(page, "utf-8")


def _shapes(result: "RangeTest") -> list[str]:
    first, last = result.rates[0], result.rates[-1]
    x = svg.Log(first, last if last > first else 10 * first)
    # A loss that diverges must not flatten the rest of the curve.
    y = svg.Linear(0, 1.5 * max(result.smoothed), BOTTOM, TOP)
    return [
        svg.line(0, BOTTOM, 100, BOTTOM, "axis"),
        svg.text(0, TOP - 8, "loss per image", "tick"),
        svg.text(50, HEIGHT - 8, "learning rate", "tick", "middle"),
        *_curve(x, y, result.rates, result.losses, "loss"),
        *_curve(x, y, result.rates, result.smoothed, "smoothed"),
        *_marks(x, result),
        *(
            svg.text(x(rate), BOTTOM + 22, f"{rate:g}", "tick", "middle")
            for rate in _powers_of_ten(first, last)
        ),
    ]


def _curve(
    x: svg.Log, y: svg.Linear, rates: tuple[float, ...], losses: tuple[float, ...], style: str
) -> list[str]:
    points = [(x(rate), y(loss)) for rate, loss in zip(rates, losses, strict=True)]
    return [svg.line(*start, *end, style) for start, end in pairwise(points)]


def _marks(x: svg.Log, result: "RangeTest") -> list[str]:
    """Draw a dashed line with its name at each suggested rate."""
    marks = (
        (result.steepest, "steepest descent"),
        (result.tenth_of_lowest, "a tenth of the rate with the lowest loss"),
    )
    shapes: list[str] = []
    for row, (rate, name) in enumerate(marks):
        if rate is not None:
            position, height = x(rate), 20 + 24 * row
            shapes.append(svg.line(position, height + 6, position, BOTTOM, "mark"))
            anchor = "start" if position < 50 else "end"
            shapes.append(svg.text(position, height, f"{name}: {rate:.2g}", "note", anchor))
    return shapes


def _powers_of_ten(first: float, last: float) -> list[float]:
    """List the powers of ten from the first rate to the last."""
    low, high = log10(first), log10(last)
    start = round(low) if isclose(low, round(low)) else ceil(low)
    return [10.0**n for n in range(start, floor(high) + 1)]
