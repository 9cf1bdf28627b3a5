"""Pages engraved by LilyPond, and the category of each of its graphical objects (grobs).

LilyPond writes the name of each grob and the properties in :data:`_PROPERTIES` into its SVG, as
``output-attributes``: https://lilypond.org/doc/v2.24/Documentation/notation/svg-output.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from benchmarks.foreign.labels import Label, Labelled
from benchmarks.foreign.programs import run
from converters.engraving.svg import Shape, SvgGroup

PROGRAMS = ("musicxml2ly", "lilypond")
_PROPERTIES = (
    "glyph-name",
    "duration-log",
    "fraction",
    "style",
    "alteration",
    "alteration-alist",
    "direction",
    "staff-position",
)
_TAGS = """
#(define (written value)
   (cond ((symbol? value) (symbol->string value))
         ((number? value) (number->string value))
         ((string? value) value)
         (else (format #f "~a" value))))
#(define ((attributes-of name) grob)
   (acons 'class name
     (filter-map
       (lambda (property)
         (let ((value (ly:grob-property grob property '())))
           (and (not (null? value)) (cons (symbol-append 'data- property) (written value)))))
       '(PROPERTIES))))
#(define tagged-grobs
   (map (lambda (entry)
          (cons (car entry)
            (acons 'output-attributes (attributes-of (symbol->string (car entry))) (cdr entry))))
        all-grob-descriptions))
\\layout { \\context { \\Global \\grobdescriptions #tagged-grobs } }
"""
"""Settings that add a callback for ``output-attributes`` to every grob."""


def engrave(musicxml: Path, folder: Path) -> list[str]:
    """Engrave a score.

    Args:
        musicxml: Score to engrave.
        folder: Folder for intermediate files.

    Returns:
        Pages as SVG.
    """
    tags = folder / "tags.ily"
    tags.write_text(_TAGS.replace("PROPERTIES", " ".join(_PROPERTIES)), encoding="utf-8")
    source = folder / f"{musicxml.stem}.ly"
    run(["musicxml2ly", "--output", str(source), str(musicxml)])
    options = ["-dbackend=svg", "-dno-point-and-click", f"-dinclude-settings={tags}"]
    run(
        [
            "lilypond",
            "--loglevel=ERROR",
            *options,
            f"--output={folder / musicxml.stem}",
            str(source),
        ]
    )
    return [path.read_text(encoding="utf-8") for path in _pages(folder, musicxml.stem)]


def _pages(folder: Path, stem: str) -> list[Path]:
    """List the pages that LilyPond wrote, in order; the name of a single page is unnumbered."""
    numbered = {int(p.stem.rpartition("-")[2]): p for p in folder.glob(f"{stem}-*.svg")}
    return [path for _, path in sorted(numbered.items())] or [folder / f"{stem}.svg"]


def label(shapes: Iterable[Shape]) -> Labelled:
    """Determine the category of each shape; shapes without a category are omitted."""
    of_grobs: dict[SvgGroup, list[Shape]] = {}
    for shape in shapes:
        of_grobs.setdefault(shape.group, []).append(shape)
    return [
        labelled
        for group, grob in of_grobs.items()
        if group.name in _RULES
        for labelled in _RULES[group.name](grob, _properties(grob[0]))
    ]


Properties = Mapping[str, str]


def _properties(shape: Shape) -> Properties:
    """Read the properties of a shape's grob from the group around it."""
    group = next(g for g in shape.element.iterancestors() if g.get("class") == shape.group.name)
    return {k.removeprefix("data-"): v for k, v in group.attrib.items() if k.startswith("data-")}


_HEADS = {"-1": "DoubleWhole", "0": "Whole", "1": "Half", "2": "Black"}
_RESTS = {"-1": "DoubleWhole", "0": "Whole", "1": "Half", "2": "Quarter"}
_RESTS |= {"3": "8th", "4": "16th", "5": "32nd"}
_FLAGS = {"3": "8th", "4": "16th", "5": "32nd"}
_SIGNS = {
    "-1": "DoubleFlat",
    "-1/2": "Flat",
    "0": "Natural",
    "1/2": "Sharp",
    "1": "DoubleSharp",
}
_C_CLEFS = {"0": "clefCAlto", "2": "clefCTenor"}
"""C clefs by their position in half spaces above the middle line."""
BREVE_REST = 0.8
"""Least height of a rest of two whole notes in staff spaces; a whole rest is 0.6 high."""


def _each(category: str) -> "Rule":
    """Make a rule that labels every shape of a grob as one symbol."""
    return lambda shapes, properties: [(shape, Label(category=category)) for shape in shapes]


def _whole(category: str) -> "Rule":
    """Make a rule that labels all shapes of a grob as one symbol."""
    return lambda shapes, properties: [
        (shape, Label(category=category, key=shapes[0].group)) for shape in shapes
    ]


def _notehead(shapes: list[Shape], properties: Properties) -> Labelled:
    position = round(float(properties["staff-position"])) + 4
    parity = "InSpace" if position % 2 else "OnLine"
    category = f"notehead{_HEADS[properties.get('duration-log', '2')]}{parity}"
    return [(shape, Label(category=category, position=position)) for shape in shapes]


def _rest(shapes: list[Shape], properties: Properties) -> Labelled:
    return _each(f"rest{_RESTS[properties['duration-log']]}")(shapes, properties)


def _bar_rest(shapes: list[Shape], properties: Properties) -> Labelled:
    _, y0, _, y1 = shapes[0].outline.box_xyxy().tolist()
    is_breve = y1 - y0 > BREVE_REST * shapes[0].scale / GLYPH_UNIT
    return _each("restDoubleWhole" if is_breve else "restWhole")(shapes, properties)


GLYPH_UNIT = 0.004
"""Staff spaces per unit of a glyph."""


def _flag(shapes: list[Shape], properties: Properties) -> Labelled:
    side, value = tuple(properties["glyph-name"].removeprefix("flags."))
    return _each(f"flag{_FLAGS[value]}{'Up' if side == 'u' else 'Down'}")(shapes, properties)


def _accidental(shapes: list[Shape], properties: Properties) -> Labelled:
    """Label an accidental; LilyPond draws its parentheses first."""
    category = f"accidental{_SIGNS[properties['alteration']]}"
    brackets = _each("otherSymbol")(shapes[:-1], properties)
    return [*brackets, (shapes[-1], Label(category=category))]


def _key(shapes: list[Shape], properties: Properties) -> Labelled:
    alteration = re.findall(r"\. (-?[\d/]+)", properties["alteration-alist"])[0]
    return _each(f"key{_SIGNS[alteration]}")(shapes, properties)


def _clef(shapes: list[Shape], properties: Properties) -> Labelled:
    letter = properties["glyph-name"].split(".")[1][0]
    position = properties["staff-position"]
    category = _C_CLEFS.get(position, "otherSymbol") if letter == "C" else f"clef{letter}"
    return _whole(category)(shapes, properties)


def _time(shapes: list[Shape], properties: Properties) -> Labelled:
    upper, lower = re.findall(r"\d+", properties["fraction"])
    if len(shapes) == 1:
        return _each("timeSigCommon" if upper == "4" else "timeSigCutCommon")(shapes, properties)
    ordered = sorted(shapes, key=lambda s: (s.origin_xy[1], s.origin_xy[0]))
    return [
        (shape, Label(category=f"timeSig{digit}"))
        for shape, digit in zip(ordered, upper + lower, strict=True)
    ]


def _bar_line(shapes: list[Shape], properties: Properties) -> Labelled:
    """Label the strokes and the repeat dots of a barline on one staff or between staves."""
    return [
        (shape, Label(category="barline" if shape.kind == "rect" else "repeatDot"))
        for shape in shapes
    ]


def _script(shapes: list[Shape], properties: Properties) -> Labelled:
    """Label a fermata, the only script of composed pieces."""
    side = "Below" if properties["direction"] == "-1" else "Above"
    return _each(f"fermata{side}")(shapes, properties)


Rule = Callable[[list[Shape], Properties], Labelled]
_RULES: dict[str, Rule] = {
    "Accidental": _accidental,
    "AccidentalCautionary": _accidental,
    "BarLine": _bar_line,
    "Beam": _each("beam"),
    "Clef": _clef,
    "Dots": _each("augmentationDot"),
    "Flag": _flag,
    "KeyCancellation": _each("keyNatural"),
    "KeySignature": _key,
    "LedgerLineSpanner": _each("ledgerLine"),
    "MultiMeasureRest": _bar_rest,
    "NoteHead": _notehead,
    "Rest": _rest,
    "Script": _script,
    "Slur": _whole("slur"),
    "SpanBar": _bar_line,
    "StaffSymbol": _whole("staff"),
    "Stem": _each("stem"),
    "SystemStartBar": _each("systemicBarline"),
    "SystemStartBrace": _whole("brace"),
    "SystemStartBracket": _whole("bracket"),
    "Tie": _whole("tie"),
    "TimeSignature": _time,
    "VoltaBracket": _whole("repeatEnding"),
}
"""Rules by grob; text is not labelled."""
