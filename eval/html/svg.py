"""Shapes of SVG as text, and the scales that place them.

Places along x are per cents of the width and places along y are pixels, so that a plot is as wide
as its column on a phone and on a desktop while its letters keep their size. Colours come from
:data:`STYLE`, which follows the reader's light or dark scheme; series tell themselves apart for
colour-blind readers too.

Source of the colours: M. Okabe, K. Ito, Color Universal Design, https://jfly.uni-koeln.de/color/.
"""

from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

STYLE = """
:root { --bg: #fff; --fg: #1b1f24; --muted: #57606a; --line: #d0d7de; --card: #f6f8fa;
  --s0: #0072b2; --s1: #009e73; --s2: #56b4e9; --s3: #e69f00; --s4: #d55e00; --s5: #cc79a7; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #0f1419; --fg: #e6edf3; --muted: #9aa7b4; --line: #38424d; --card: #1a2129;
    --s0: #3d9bd9; --s1: #20b88d; --s2: #8ccff5; --s3: #f0b62e; --s4: #f0743a; --s5: #dd9cc0; } }
svg { display: block; overflow: visible; }
svg text { font-size: 14px; fill: var(--fg); font-family: inherit; }
svg text.name { font-size: 16px; }
svg text.tick, svg .note { fill: var(--muted); font-size: 14px; }
svg .warning { fill: var(--s4); font-weight: 700; }
svg .halo, svg .name { paint-order: stroke; stroke: var(--bg); stroke-width: 4px; }
svg .strong { font-weight: 650; }
svg .grid { stroke: var(--line); } svg .mark { stroke: var(--fg); stroke-width: 2; }
svg .faint { stroke: var(--fg); stroke-opacity: .3; stroke-width: 2; }
svg .dashed { stroke: var(--s4); stroke-width: 2.5; stroke-dasharray: 7 4; }
svg .band { fill: var(--fg); fill-opacity: .09; }
svg .range { stroke-width: 7; stroke-linecap: round; }
svg .median { stroke: var(--fg); stroke-width: 3; }
svg .link { stroke: var(--muted); stroke-width: 2; }
.s0 { fill: var(--s0); stroke: var(--s0); background: var(--s0); }
.s1 { fill: var(--s1); stroke: var(--s1); background: var(--s1); }
.s2 { fill: var(--s2); stroke: var(--s2); background: var(--s2); }
.s3 { fill: var(--s3); stroke: var(--s3); background: var(--s3); }
.s4 { fill: var(--s4); stroke: var(--s4); background: var(--s4); }
.s5 { fill: var(--s5); stroke: var(--s5); background: var(--s5); }
svg .bar { stroke: var(--bg); stroke-width: 1; }
svg .part { stroke: none; shape-rendering: crispEdges; }
svg .hollow { fill: none; stroke-width: 3; }
@media (max-width: 700px) { svg .roomy { display: none; } }
"""
"""What the plots of a page need, once."""

LEFT, RIGHT = 1.5, 97.0
"""Where the plotted area begins and ends, per cent of the width."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear scale; what is outside stays at its ends."""

    start: float
    end: float
    low: float
    high: float

    def __call__(self, value: float) -> float:
        """Give the place of a value."""
        share = (value - self.start) / ((self.end - self.start) or 1)
        return self.low + (self.high - self.low) * min(1.0, max(0.0, share))


@dataclass(frozen=True, slots=True)
class Log:
    """A logarithmic scale over the plotted area."""

    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Give the place of a value, per cent."""
        inner = Linear(log10(self.start), log10(self.end), LEFT, RIGHT)
        return inner(log10(max(value, self.start)))


def picture(plot: str, label: str, height: float, body: str) -> str:
    """Frame a plot; ``label`` says in words what it shows."""
    return (
        f'<svg id="{escape(plot)}" role="img" aria-label="{escape(label)}" '
        f'width="100%" height="{height:.0f}">{body}</svg>'
    )


def rect(left: float, top: float, width: float, height: float, style: str, extra: str = "") -> str:
    """Draw a rectangle; places along x are per cents, along y pixels, as in all that follow."""
    return (
        f'<rect x="{left:.2f}%" y="{top:.1f}" width="{width:.2f}%" height="{max(0, height):.1f}" '
        f'class="{style}"{extra}/>'
    )


def line(x0: float, y0: float, x1: float, y1: float, style: str, extra: str = "") -> str:
    """Draw a line."""
    return (
        f'<line x1="{x0:.2f}%" y1="{y0:.1f}" x2="{x1:.2f}%" y2="{y1:.1f}" class="{style}"{extra}/>'
    )


def across(y: float) -> str:
    """Draw a line of the grid."""
    return line(0, y, 100, y, "grid")


def text(x: float, y: float, words: str, style: str, anchor: str = "start", dx: int = 0) -> str:
    """Write words, ``dx`` pixels beside a place."""
    return (
        f'<text x="{x:.2f}%" y="{y:.1f}" dx="{dx}" text-anchor="{anchor}" class="{style}">'
        f"{escape(words)}</text>"
    )


def titled(shape: str, title: str) -> str:
    """Give a shape words that a pointer resting on it shows."""
    return f"<g><title>{escape(title)}</title>{shape}</g>"


def anchor(percent: float) -> str:
    """Keep a text at the edge inside."""
    return "start" if percent < 4 else "end" if percent > 94 else "middle"


def ticks(first: float, last: float, most: int = 5) -> list[int | float]:
    """Round numbers from the first to the last, both inside."""
    span = last - first
    if span <= 0:
        return [first]
    raw = span / most
    power = 10.0 ** floor(log10(raw))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= raw)
    whole = [n * step for n in range(ceil(first / step), floor(last / step) + 1)]
    return [int(tick) if step >= 1 else round(tick, 6) for tick in whole]
