"""Strokes of a barline: which of them are one sign, and what it is called."""

from collections.abc import Iterator, Sequence

from converters.engraving.svg import Shape

HEAVY = 0.36
"""Staff spaces: a stroke at least this thick is a heavy one; usual are .15 and .5."""
GAP_PX = 1.0
"""Strokes that come this close go on in one another; dashed ones come as close as dashes."""

_NAMES = {
    "t": "barlineSingle",
    "tt": "barlineDouble",
    "tH": "barlineFinal",
    "Ht": "barlineReverseFinal",
    "H": "barlineHeavy",
    "HH": "barlineRepeatBoth",
    "tHt": "barlineRepeatBoth",
}


def split(strokes: Sequence[Shape], space: float) -> Iterator[tuple[str, list[Shape]]]:
    """Take the strokes of one barline apart, where it does not go through from staff to staff.

    Args:
        strokes: All vertical strokes that verovio draws for one barline, on all staves.
        space: Staff space in pixels, to judge their thickness by.

    Yields:
        Category and strokes of each sign.
    """
    gap = space if _is_dashed(strokes) else GAP_PX
    ordered = sorted(strokes, key=lambda stroke: _ends(stroke)[0])
    sign: list[Shape] = []
    lowest = 0.0
    for stroke in ordered:
        y0, y1 = _ends(stroke)
        if sign and y0 > lowest + gap:
            yield _name(sign, space), sign
            sign = []
        lowest = max(lowest, y1) if sign else y1
        sign.append(stroke)
    yield _name(sign, space), sign


def _is_dashed(strokes: Sequence[Shape]) -> bool:
    return any(stroke.element.get("stroke-dasharray") for stroke in strokes)


def _ends(stroke: Shape) -> tuple[float, float]:
    """Top and bottom of a stroke."""
    if stroke.path_xy is None:
        raise ValueError("a barline that is no stroke")
    ys = stroke.path_xy[:, 1]
    return float(ys.min()), float(ys.max())


def _name(strokes: Sequence[Shape], space: float) -> str:
    if _is_dashed(strokes):
        return "barlineDashed"
    columns = {
        round(float(stroke.outline.box_xyxy()[[0, 2]].mean()), 1): stroke.width
        for stroke in strokes
    }
    pattern = "".join(
        "H" if space and width >= HEAVY * space else "t" for _, width in sorted(columns.items())
    )
    return _NAMES.get(pattern, "otherSymbol")
