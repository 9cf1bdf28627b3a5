"""Labelled symbols, grouped from the shapes of a page.

Categories are those of the source ``engraved``. Every shape becomes part of a symbol; a symbol that
no category describes is an ``otherSymbol``.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from converters.engraving import barlines, categories, octave_clefs, rules
from converters.engraving.outlines import Outline, Points, boxes_xyxy, joined, outline
from converters.engraving.staves import Staff, Staves
from converters.engraving.svg import Drawing, Shape

SAME_PX = 0.05
"""Largest distance between symbols of one category that are the same ink, as in a unison."""
BEAM_GAP_PX = 0.5
"""Largest gap between connected pieces of a beam."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Symbol:
    """One labelled symbol."""

    category: str
    outline: Outline
    """Ink of the symbol in page pixels."""
    shapes: tuple[Shape, ...]
    """Shapes from which the symbol is drawn."""
    staff: int | None = None
    """Index of the staff on the page, from the top, from 0."""
    position: int | None = None
    """Position of a notehead in half spaces above the lowest line of its staff."""
    middle: int = 4
    """Position of the middle line of the staff: 4 of five lines, 0 of a single line."""
    ids: tuple[str, ...] = ()
    """Ids of its elements in the encoding: two for a notehead shared by two voices."""


SymbolPart = tuple[str, Outline, Sequence[Shape]]
"""Category, ink and shapes of one symbol."""


def symbols(drawing: Drawing) -> list[Symbol]:
    """Label a page.

    Args:
        drawing: Shapes of the page.

    Returns:
        Staves from top to bottom, followed by the other symbols in drawing order.
    """
    staves = Staves(drawing)
    labelled = [_symbol(("staff", _ink(s.shapes), s.shapes), s, ()) for s in staves.all]
    shapes_by_key: dict[Hashable, list[Shape]] = defaultdict(list)
    classifications: dict[Hashable, rules.Classification] = {}
    for i, shape in enumerate(drawing.shapes):
        if shape.kind == "line" and shape.group.name == "staff":
            continue
        classification = rules.classify(shape, staves)
        key: Hashable = (
            i if classification.key is None else (classification.category, classification.key)
        )
        classifications.setdefault(key, classification)
        shapes_by_key[key].append(shape)
    for key, shapes in shapes_by_key.items():
        labelled += _symbols(classifications[key], shapes, staves, drawing.font)
    return merge_duplicates(labelled)


def _symbols(
    classification: rules.Classification, shapes: list[Shape], staves: Staves, font: str
) -> Iterable[Symbol]:
    """Make the symbols that shapes with the same key form, usually one."""
    staff = classification.staff or staves.of(shapes[0])
    category = classification.category
    split = _SPLIT.get(category)
    if split:
        parts = split(shapes, staff)
    elif category.startswith("clef") and shapes[0].code in categories.OCTAVE_CLEFS:
        parts = _octave_clef(category, shapes[0], font)
    else:
        parts = [(category, _ink(shapes), shapes)]
    ids = (_id(shapes[0]),)
    return [replace(_symbol(part, staff, ids), position=classification.position) for part in parts]


def _symbol(part: SymbolPart, staff: Staff | None, ids: tuple[str, ...]) -> Symbol:
    category, ink, shapes = part
    symbol = Symbol(category=category, outline=ink, shapes=tuple(shapes), ids=ids)
    return replace(symbol, staff=staff.index, middle=staff.middle) if staff else symbol


def _id(shape: Shape) -> str:
    """Return the id of the nearest group that has one; for a notehead, the id of its note."""
    return next((group.id for group in shape.group.up() if group.id), "")


def _ink(shapes: Sequence[Shape]) -> Outline:
    return shapes[0].outline if len(shapes) == 1 else joined([s.outline for s in shapes])


def merge_duplicates(labelled: Sequence[Symbol]) -> list[Symbol]:
    """Merge symbols with the same ink, such as a notehead shared by two voices."""
    merged: dict[Hashable, Symbol] = {}
    boxes = np.round(boxes_xyxy([symbol.outline for symbol in labelled]) / SAME_PX)
    for symbol, box in zip(labelled, boxes.tolist(), strict=True):
        key = (symbol.category, *box)
        if key in merged:
            merged[key] = replace(merged[key], ids=merged[key].ids + symbol.ids)
        else:
            merged[key] = symbol
    return list(merged.values())


def _octave_clef(category: str, shape: Shape, font: str) -> list[SymbolPart]:
    """Split an octave clef into the clef and the figure above or below it."""
    glyph_parts = octave_clefs.parts(font, shape.code)
    if glyph_parts is None:
        return [(category, shape.outline, [shape])]

    def to_page(points_xy: Points) -> Points:
        return points_xy * shape.stretch * shape.scale + shape.origin_xy

    clef, figure = (part.moved(to_page) for part in glyph_parts)
    return [(category, clef, [shape]), (categories.OCTAVE_CLEFS[shape.code], figure, [shape])]


def _barline(shapes: list[Shape], staff: Staff | None) -> list[SymbolPart]:
    space = staff.space if staff else 0.0
    return [(name, _ink(signs), signs) for name, signs in barlines.split(shapes, space)]


def _beam(shapes: list[Shape], staff: Staff | None) -> list[SymbolPart]:
    """Join the pieces that verovio draws for one beam, where the end of one meets the next."""
    runs: list[list[Shape]] = []
    for shape in shapes:
        run = next((run for run in runs if _continues(run[-1], shape)), None)
        if run is None:
            runs.append([shape])
        else:
            run.append(shape)
    return [("beam", _ink(run), run) for run in runs]


def _continues(beam: Shape, other: Shape) -> bool:
    (left, right), (start, _) = _ends(beam), _ends(other)
    return left[0] < right[0] and float(np.abs(right - start).max()) <= BEAM_GAP_PX


def _ends(beam: Shape) -> tuple[Points, Points]:
    """Return the left and the right end of a beam as x, top and bottom."""
    points = beam.outline.points_xy
    x0, x1 = points[:, 0].min(), points[:, 0].max()
    middle = (x0 + x1) / 2
    sides = points[points[:, 0] < middle], points[points[:, 0] >= middle]
    left, right = ([x, s[:, 1].min(), s[:, 1].max()] for x, s in zip((x0, x1), sides, strict=True))
    return np.array(left), np.array(right)


def _hairpin(shapes: list[Shape], staff: Staff | None) -> list[SymbolPart]:
    """Classify a hairpin: a crescendo opens to the right; a hairpin across systems is two lines."""
    points = np.concatenate(
        [s.outline.points_xy if s.path_xy is None else s.path_xy for s in shapes]
    )
    xs, ys = points.T
    left, right = (float(np.ptp(ys[np.abs(xs - end) < 1.0])) for end in (xs.min(), xs.max()))
    name = "dynamicCrescendoHairpin" if left < right else "dynamicDiminuendoHairpin"
    return [(name, _ink(shapes), shapes)]


def _group_symbol(shapes: list[Shape], staff: Staff | None) -> list[SymbolPart]:
    """Distinguish a brace, a curve or glyph, from a bracket, a stroke with or without hooks."""
    is_brace = all(shape.kind == "curve" or shape.code == "E000" for shape in shapes)
    return [("brace" if is_brace else "bracket", _ink(shapes), shapes)]


def _repeat_dots(shapes: list[Shape], staff: Staff | None) -> list[SymbolPart]:
    """Split the glyph that contains both dots of a repeat."""
    return [("repeatDot", outline([c]), [s]) for s in shapes for c in s.outline.contours()]


_SPLIT: dict[str, Callable[[list[Shape], Staff | None], list[SymbolPart]]] = {
    "barline": _barline,
    "beam": _beam,
    "brace or bracket": _group_symbol,
    "hairpin": _hairpin,
    "repeatDots": _repeat_dots,
}
"""Functions that split or classify symbols once all of their shapes are known."""
