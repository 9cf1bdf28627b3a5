"""Small hand-written pages in the form of LilyPond's and MuseScore's SVG.

A staff space is 20 px. Glyphs are rectangles, whose path data names them.
"""

from benchmarks.foreign.svg import HEIGHT, WIDTH

SPACE = 20
"""Staff space in pixels."""
LEFT, RIGHT = 100, 900
"""Ends of the staves in pixels."""


def lilypond_page(*grobs: str) -> str:
    """Write a page in LilyPond's form; its unit is a staff space."""
    inner = "\n".join(grobs)
    size = f"0 0 {WIDTH / SPACE} {HEIGHT / SPACE}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="210.00mm" height="297.00mm" '
        f'viewBox="{size}">{inner}</svg>'
    )


def grob(name: str, *shapes: str, **properties: str) -> str:
    """Write the group of a grob; ``glyph_name`` stands for ``data-glyph-name``."""
    data = "".join(f' data-{k.replace("_", "-")}="{v}"' for k, v in properties.items())
    return f'<g class="{name}"{data}>{"".join(shapes)}</g>'


def glyph(x: float, y: float, width: float, height: float) -> str:
    """Write a glyph in staff spaces; its outline is centred vertically on its origin."""
    w, half = round(width * 250), round(height * 125)
    path = f"M0 {-half}h{w}v{2 * half}h{-w}z"
    return (
        f'<g transform="translate({x}, {y})"><path transform="scale(0.0040, -0.0040)" '
        f'd="{path}" fill="currentColor"/></g>'
    )


def rect(x: float, y: float, width: float, height: float) -> str:
    """Write a filled rectangle in staff spaces."""
    return (
        f'<g transform="translate({x}, {y})"><rect x="0.0000" y="0.0000" width="{width}" '
        f'height="{height}" ry="0.0000" fill="currentColor"/></g>'
    )


def lilypond_staff(top: float) -> str:
    """Write a staff of five lines, the first at a height in staff spaces."""
    x0, x1 = LEFT / SPACE, RIGHT / SPACE
    lines = (
        f'<g transform="translate(0, {top + i})"><line stroke-linecap="round" stroke-width="0.1" '
        f'stroke="currentColor" x1="{x0}" y1="0" x2="{x1}" y2="0"/></g>'
        for i in range(5)
    )
    return grob("StaffSymbol", *lines)


def musescore_page(*shapes: str) -> str:
    """Write a page in MuseScore's form, in units of a pixel."""
    inner = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}px" height="{HEIGHT}px" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}"><title>t</title>{inner}</svg>'
    )


def musescore_staff(top: float) -> str:
    """Write a staff of five lines, the first at a height in pixels."""
    return "".join(
        stroke("StaffLines", LEFT, top + i * SPACE, RIGHT, top + i * SPACE, width=2)
        for i in range(5)
    )


def stroke(name: str, x0: float, y0: float, x1: float, y1: float, *, width: float) -> str:
    """Write a straight line in pixels."""
    return (
        f'<polyline class="{name}" fill="none" stroke="#000000" stroke-width="{width}" '
        f'stroke-linejoin="bevel" points="{x0},{y0} {x1},{y1}"/>'
    )


def sign(name: str, data: str, x: float, y: float) -> str:
    """Write a glyph at a position in pixels; its path data has 25 units per staff space."""
    scale = SPACE / 25
    return f'<path class="{name}" transform="matrix({scale},0,0,{scale},{x},{y})" d="{data}"/>'


def block(width: float, top: float, bottom: float) -> str:
    """Write the path data of a rectangle in staff spaces."""
    w, y0, y1 = 25 * width, 25 * top, 25 * bottom
    return f"M0,{y0} L{w},{y0} L{w},{y1} L0,{y1} L0,{y0}"
