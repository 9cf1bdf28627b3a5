"""Barlines: division of their strokes and dots into signs, and the category of each sign."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from converters.engraving.svg import Shape

HEAVY = 0.36
"""Least thickness of a heavy stroke, in staff spaces; usual strokes are 0.15 (thin) and 0.5."""
DOT_GAP = 1.5
"""Largest distance between dots of one dotted line, in multiples of their usual distance."""
GAP_PX = 1.0
"""Largest gap between connected strokes, in pixels; dashes are a staff space apart."""

_NAMES = {
    "t": "barlineSingle",
    "tt": "barlineDouble",
    "tH": "barlineFinal",
    "Ht": "barlineReverseFinal",
    "H": "barlineHeavy",
    "tHt": "barlineRepeatBoth",
}


Sign = tuple[str, list[Shape]]
"""Category and shapes of a sign."""


def split(shapes: Sequence[Shape], space: float) -> Iterator[Sign]:
    """Split the shapes of one barline into signs; barlines can be interrupted between staves.

    Args:
        shapes: Vertical strokes and dots that verovio draws for one barline, on all staves.
        space: Staff space in pixels, to separate thin and heavy strokes; 0 on a staff of one line,
            where strokes are compared with each other.

    Yields:
        Category and shapes of each sign.
    """
    strokes = [shape for shape in shapes if shape.path_xy is not None]
    for sign in _runs(strokes, space if _is_dashed(strokes) else GAP_PX):
        yield _name(sign, space), sign
    dots = [shape for shape in shapes if shape.path_xy is None]
    for sign in _runs(dots, DOT_GAP * _usual_step(dots)):
        if strokes and len(sign) <= 2 * len(_columns(sign)):
            yield from (("repeatDot", [dot]) for dot in sign)
        else:
            yield "barlineDashed", sign


def _runs(shapes: Sequence[Shape], gap: float) -> Iterator[list[Shape]]:
    """Group shapes with gaps of at most ``gap`` pixels between them, from top to bottom."""
    run: list[Shape] = []
    lowest = 0.0
    for shape in sorted(shapes, key=lambda shape: _ends(shape)[0]):
        y0, y1 = _ends(shape)
        if run and y0 > lowest + gap:
            yield run
            run = []
        lowest = max(lowest, y1) if run else y1
        run.append(shape)
    if run:
        yield run


def _usual_step(dots: Sequence[Shape]) -> float:
    """Compute the median distance between dots in pixels; gaps between staves hardly affect it."""
    tops = sorted({round(_ends(dot)[0], 1) for dot in dots})
    return median([b - a for a, b in pairwise(tops)] or [0.0])


def _is_dashed(strokes: Sequence[Shape]) -> bool:
    return any(stroke.element.get("stroke-dasharray") for stroke in strokes)


def _ends(shape: Shape) -> tuple[float, float]:
    """Return the top and the bottom of a stroke or dot."""
    ys = (shape.outline.points_xy if shape.path_xy is None else shape.path_xy)[:, 1]
    return float(ys.min()), float(ys.max())


def _columns(shapes: Sequence[Shape]) -> dict[float, float]:
    """Map the x coordinate of each stroke to its thickness, from left to right."""
    columns = {round(float(s.outline.box_xyxy()[[0, 2]].mean()), 1): s.width for s in shapes}
    return dict(sorted(columns.items()))


def _name(strokes: Sequence[Shape], space: float) -> str:
    if _is_dashed(strokes):
        return "barlineDashed"
    widths = _columns(strokes).values()
    least = HEAVY * space if space else 2 * min(widths)
    pattern = "".join("H" if width >= least else "t" for width in widths)
    return _NAMES.get(pattern, "otherSymbol")
