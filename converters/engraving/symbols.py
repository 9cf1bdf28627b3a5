"""Puts the shapes of a page together into labelled symbols.

Categories are those of the source ``engraved``. Whatever is drawn becomes part of a symbol: what
has no category of its own is ``otherSymbol``.
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
"""Symbols of a category that lie this close are one piece of ink, such as two voices' unison."""
BEAM_GAP_PX = 0.5
"""Pieces of a beam that come this close are one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Symbol:
    """One labelled symbol."""

    category: str
    outline: Outline
    """Its ink in page pixels."""
    shapes: tuple[Shape, ...]
    """What it was drawn with."""
    staff: int | None = None
    """Index of its staff on the page, from the top."""
    position: int | None = None
    """Of a notehead: half spaces above the lowest line of its staff."""
    ids: tuple[str, ...] = ()
    """Ids of the encoding's elements that it stands for: two where voices share a notehead."""


Part = tuple[str, Outline, Sequence[Shape]]
"""Category, ink and shapes of one symbol."""


def symbols(drawing: Drawing) -> list[Symbol]:
    """Label a page.

    Returns:
        Staves first, from the top, then the rest in the order of drawing.
    """
    staves = Staves(drawing.shapes)
    found = [_of(("staff", _ink(s.shapes), s.shapes), s, ()) for s in staves.all]
    together: dict[Hashable, list[Shape]] = defaultdict(list)
    findings: dict[Hashable, rules.Finding] = {}
    for i, shape in enumerate(drawing.shapes):
        if shape.kind == "line" and shape.group.name == "staff":
            continue
        finding = rules.tell(shape, staves)
        key: Hashable = i if finding.key is None else (finding.category, finding.key)
        findings.setdefault(key, finding)
        together[key].append(shape)
    for whose, shapes in together.items():
        found += _symbols(findings[whose], shapes, staves, drawing.font)
    return _once(found)


def _symbols(
    finding: rules.Finding, shapes: list[Shape], staves: Staves, font: str
) -> Iterable[Symbol]:
    """The symbols that shapes with one key make up: usually one."""
    staff = finding.staff or staves.of(shapes[0])
    split = _SPLIT.get(finding.category)
    if split:
        parts = split(shapes, staff)
    elif finding.category.startswith("clef") and shapes[0].code in categories.OCTAVE_CLEFS:
        parts = _octave_clef(finding.category, shapes[0], font)
    else:
        parts = [(finding.category, _ink(shapes), shapes)]
    ids = (_id(shapes[0]),)
    return [replace(_of(part, staff, ids), position=finding.position) for part in parts]


def _of(part: Part, staff: Staff | None, ids: tuple[str, ...]) -> Symbol:
    category, ink, shapes = part
    index = staff.index if staff else None
    return Symbol(category=category, outline=ink, shapes=tuple(shapes), staff=index, ids=ids)


def _id(shape: Shape) -> str:
    """Of the nearest group that has one: a notehead's is that of its note."""
    return next((group.id for group in shape.group.up() if group.id), "")


def _ink(shapes: Sequence[Shape]) -> Outline:
    return shapes[0].outline if len(shapes) == 1 else joined([s.outline for s in shapes])


def _once(found: Sequence[Symbol]) -> list[Symbol]:
    """Make one symbol of those that are the same ink: what two voices share is seen once."""
    kept: dict[Hashable, Symbol] = {}
    boxes = np.round(boxes_xyxy([symbol.outline for symbol in found]) / SAME_PX)
    for symbol, box in zip(found, boxes.tolist(), strict=True):
        key = (symbol.category, *box)
        if key in kept:
            kept[key] = replace(kept[key], ids=kept[key].ids + symbol.ids)
        else:
            kept[key] = symbol
    return list(kept.values())


def _octave_clef(category: str, shape: Shape, font: str) -> list[Part]:
    """The clef and the figure over or under it, which are one glyph."""
    found = octave_clefs.parts(font, shape.code)
    if found is None:
        return [(category, shape.outline, [shape])]

    def place(points_xy: Points) -> Points:
        return points_xy * shape.scale + shape.origin_xy

    clef, figure = (part.moved(place) for part in found)
    return [(category, clef, [shape]), (categories.OCTAVE_CLEFS[shape.code], figure, [shape])]


def _barline(shapes: list[Shape], staff: Staff | None) -> list[Part]:
    space = staff.space if staff else 0.0
    return [(name, _ink(signs), signs) for name, signs in barlines.split(shapes, space)]


def _beam(shapes: list[Shape], staff: Staff | None) -> list[Part]:
    """Join the pieces that verovio draws of one beam: one ends where and as the next begins."""
    runs: list[list[Shape]] = []
    for shape in shapes:
        run = next((run for run in runs if _goes_on(run[-1], shape)), None)
        if run is None:
            runs.append([shape])
        else:
            run.append(shape)
    return [("beam", _ink(run), run) for run in runs]


def _goes_on(beam: Shape, other: Shape) -> bool:
    (left, right), (start, _) = _ends(beam), _ends(other)
    return left[0] < right[0] and float(np.abs(right - start).max()) <= BEAM_GAP_PX


def _ends(beam: Shape) -> tuple[Points, Points]:
    """Left and right end of a beam: x, top and bottom."""
    points = beam.outline.points_xy
    x0, x1 = points[:, 0].min(), points[:, 0].max()
    middle = (x0 + x1) / 2
    sides = points[points[:, 0] < middle], points[points[:, 0] >= middle]
    left, right = ([x, s[:, 1].min(), s[:, 1].max()] for x, s in zip((x0, x1), sides, strict=True))
    return np.array(left), np.array(right)


def _hairpin(shapes: list[Shape], staff: Staff | None) -> list[Part]:
    """A wedge is open on the right if it grows; one that goes over a system's end has two lines."""
    points = np.concatenate(
        [s.outline.points_xy if s.path_xy is None else s.path_xy for s in shapes]
    )
    xs, ys = points.T
    left, right = (float(np.ptp(ys[np.abs(xs - end) < 1.0])) for end in (xs.min(), xs.max()))
    name = "dynamicCrescendoHairpin" if left < right else "dynamicDiminuendoHairpin"
    return [(name, _ink(shapes), shapes)]


def _group_symbol(shapes: list[Shape], staff: Staff | None) -> list[Part]:
    """A brace is a curve or a glyph of its own; a bracket is a stroke with or without hooks."""
    is_brace = all(shape.kind == "curve" or shape.code == "E000" for shape in shapes)
    return [("brace" if is_brace else "bracket", _ink(shapes), shapes)]


def _repeat_dots(shapes: list[Shape], staff: Staff | None) -> list[Part]:
    """Both dots of a repeat in one glyph."""
    return [("repeatDot", outline([c]), [s]) for s in shapes for c in s.outline.contours()]


_SPLIT: dict[str, Callable[[list[Shape], Staff | None], list[Part]]] = {
    "barline": _barline,
    "beam": _beam,
    "brace or bracket": _group_symbol,
    "hairpin": _hairpin,
    "repeatDots": _repeat_dots,
}
"""What is told apart only when all of its shapes are known."""
