"""Names of MuseScore's glyphs, from a score in which their order is known.

MuseScore's SVG names the kind of a shape, such as ``Note``, but not its glyph. A glyph has the
same path data on all pages, so a score of all glyphs in a known order identifies them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from lxml.builder import E

from benchmarks.foreign import musicxml
from converters.engraving.svg import Shape

Element = Any
"""An lxml element; lxml has no type annotations."""
Glyphs = Mapping[tuple[str, str], str]
"""Name of each glyph by the class of its shape and its path data."""

STAFF_SPACE_MM = 0.7
"""Small enough for the score to fit on one line."""
BRACKET = "bracket"
"""Name of both parentheses of an accidental."""
_DURATIONS = {"breve": 32, "whole": 16, "half": 8, "quarter": 4, "eighth": 2, "16th": 1}
"""Note values in sixteenths, the divisions of the score."""
_HEADS = {"breve": "DoubleWhole", "whole": "Whole", "half": "Half"}
_RESTS = {
    "breve": "DoubleWhole",
    "whole": "Whole",
    "half": "Half",
    "quarter": "Quarter",
    "eighth": "8th",
    "16th": "16th",
}
_FLAGS = {"eighth": "8th", "16th": "16th"}
_SIGNS = {
    "sharp": ("Sharp", 1),
    "natural": ("Natural", 0),
    "flat": ("Flat", -1),
    "double-sharp": ("DoubleSharp", 2),
    "flat-flat": ("DoubleFlat", -2),
}
"""Name and alteration of accidentals by MusicXML's name."""
_TIMES = ("1/2", "3/4", "5/8", "6/8", "7/8", "9/8", "4/4 common", "2/2 cut", "4/4")
_TIME_SYMBOLS = {"common": "Common", "cut": "CutCommon"}
_CLEFS = {
    "clefF": ("F", "4"),
    "clefC": ("C", "3"),
    "clefG8": ("G", "2", "-1"),
    "clefG": ("G", "2"),
}
"""Sign, line and, if it is not 0, octave of each clef."""
UNITS_PER_SPACE = 25.0
"""Units of a glyph's path per staff space."""


class _Sheet:
    """First part of the score, and the names of its glyphs in order."""

    def __init__(self) -> None:
        self.measures: list[Element] = []
        self.names: dict[str, list[str]] = defaultdict(list)

    def measure(self, *elements: Element) -> None:
        self.measures.append(E("measure", *elements, number=str(len(self.measures) + 1)))

    def note(
        self,
        value: str,
        stem: str = "",
        sign: str = "",
        *,
        brackets: bool = False,
        fermata: str = "",
    ) -> Element:
        """Write a note; ``stem`` is required for values with flags."""
        self.names["Note"].append(_HEADS.get(value, "Black"))
        alter = E("alter", str(_SIGNS[sign][1]) if sign else "0")
        note = E("note", E("pitch", E("step", "B"), alter, E("octave", "4")), *_value(value))
        if sign:
            accidental = E("accidental", sign)
            if brackets:
                accidental.attrib.update({"cautionary": "yes", "parentheses": "yes"})
            around = [BRACKET] * brackets
            self.names["Accidental"] += [*around, _SIGNS[sign][0], *around]
            note.append(accidental)
        if stem:
            self.names["Hook"].append(f"{_FLAGS[value]}{stem.capitalize()}")
            note.append(E("stem", stem))
        if fermata:
            self.names["Fermata"].append("Below" if fermata == "inverted" else "Above")
            note.append(E("notations", E("fermata", type=fermata)))
        return note

    def rest(self, value: str, octave: str = "") -> Element:
        """Write a rest; in octave 7, it is far above the staff."""
        self.names["Rest"].append(_RESTS[value])
        where = [E("display-step", "B"), E("display-octave", octave)] if octave else []
        return E("note", E("rest", *where), *_value(value))

    def time(self, text: str) -> Element:
        """Write a time signature."""
        fraction, _, symbol = text.partition(" ")
        beats, unit = fraction.split("/")
        self.names["TimeSig"] += [_TIME_SYMBOLS[symbol]] if symbol else [beats, unit]
        time = E("time", E("beats", beats), E("beat-type", unit))
        if symbol:
            time.set("symbol", symbol)
        return E("attributes", time)

    def clef(self, name: str) -> Element:
        """Write a change of the clef."""
        self.names["Clef"].append(name)
        sign, line, *octave = _CLEFS[name]
        clef = E("clef", E("sign", sign), E("line", line))
        clef.extend(E("clef-octave-change", change) for change in octave)
        return E("attributes", clef)

    def bar_rest(self) -> Element:
        """Write a rest of a whole bar, which MuseScore draws as a whole rest in all metres."""
        self.names["Rest"].append(_RESTS["whole"])
        return E("note", E("rest", measure="yes"), E("duration", "16"), E("voice", "1"))


def _value(value: str) -> list[Element]:
    return [E("duration", str(_DURATIONS[value])), E("voice", "1"), E("type", value)]


def _sheet() -> _Sheet:
    sheet = _Sheet()
    note, rest = sheet.note, sheet.rest
    opening = sheet.clef("clefG")
    opening.insert(0, E("divisions", "4"))
    sheet.measure(opening, sheet.bar_rest())
    sheet.measure(sheet.time("4/2"), note("breve"))
    sheet.measure(rest("breve"))
    for time in _TIMES:
        sheet.measure(sheet.time(time), sheet.bar_rest())
    for clef in _CLEFS:
        sheet.measure(sheet.clef(clef), note("whole"))
    sheet.measure(rest("whole", "7"))
    sheet.measure(rest("half", "7"), rest("half"))
    sheet.measure(note("half", fermata="upright"), note("half", fermata="inverted"))
    sheet.measure(note("eighth", "up"), rest("eighth"), rest("quarter"), note("half"))
    sheet.measure(note("eighth", "down"), rest("eighth"), rest("quarter"), note("half"))
    sheet.measure(note("16th", "up"), rest("16th"), rest("eighth"), rest("quarter"), note("half"))
    sheet.measure(note("16th", "down"), rest("16th"), rest("eighth"), rest("quarter"), note("half"))
    signs = [note("quarter", sign=sign) for sign in _SIGNS]
    sheet.measure(*signs[:4])
    sheet.measure(signs[4], note("quarter", sign="sharp", brackets=True), rest("half"))
    return sheet


def score() -> str:
    """Write the score as MusicXML."""
    parts = E("part-list", E("score-part", E("part-name"), id="P1"))
    size = musicxml.defaults(STAFF_SPACE_MM)
    return musicxml.written(size, parts, E("part", *_sheet().measures, id="P1"))


def identify(shapes: Sequence[Shape]) -> Glyphs:
    """Identify the glyphs of the engraved score.

    Args:
        shapes: All shapes of the engraved score.

    Raises:
        ValueError: The score contains other glyphs than expected.
    """
    glyphs: dict[tuple[str, str], str] = {}
    for kind, names in _sheet().names.items():
        drawn = [shape for shape in shapes if shape.group.name == kind]
        drawn.sort(key=lambda shape: _place(shape, shape.scale * UNITS_PER_SPACE))
        if len(drawn) != len(names):
            raise ValueError(f"{kind}: {len(drawn)} glyphs, expected {len(names)}")
        for shape, name in zip(drawn, names, strict=True):
            key = kind, shape.element.get("d")
            if glyphs.setdefault(key, name) != name:
                raise ValueError(f"{kind}: {glyphs[key]} and {name} are the same glyph")
    signs = {
        ("KeySig", data): name for (kind, data), name in glyphs.items() if kind == "Accidental"
    }
    return glyphs | signs


def _place(shape: Shape, staff_space: float) -> tuple[int, float]:
    """Return a sort key: from left to right, and from top to bottom within a time signature."""
    x0, y0, x1, _ = shape.outline.box_xyxy().tolist()
    return round((x0 + x1) / 2 / (2 * staff_space)), y0
