"""MusicXML of composed pieces, converted from the MEI of :mod:`converters.engraving.music`.

Only the MEI of composed pieces in the plain style is read; unknown elements are errors.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree
from lxml.builder import E

from converters.engraving.music.metres import QUARTER, VALUES

_MEI = "{http://www.music-encoding.org/ns/mei}"
_ID = "{http://www.w3.org/XML/1998/namespace}id"
_TICKS = {value: ticks for ticks, value in VALUES.items()}
_TYPES = {"breve": "breve", "1": "whole", "2": "half", "4": "quarter", "8": "eighth", "16": "16th"}
_ALTERATIONS = {"ff": -2, "f": -1, "n": 0, "s": 1, "ss": 2, "x": 2}
_ACCIDENTALS = {
    "ff": "flat-flat",
    "f": "flat",
    "n": "natural",
    "s": "sharp",
    "x": "double-sharp",
}
_SYLLABIC = {"": "single", "i": "begin", "m": "middle", "t": "end"}
_BAR_STYLES = {
    "rptstart": ("heavy-light", "forward"),
    "rptend": ("light-heavy", "backward"),
    "end": ("light-heavy", ""),
    "dbl": ("light-light", ""),
}
"""Bar style and direction of the repeat by MEI's name of a barline."""
_REST_PITCHES = {"G": ("B", "4"), "F": ("D", "3")}
"""Pitch on the middle line by the shape of the clef, for rests shared by the voices of a staff."""
A4_MM = (210, 297)
MARGIN_MM = 15

Element = Any
"""An lxml element; lxml has no type annotations."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the score: all staves joined by a brace, otherwise one staff."""

    id: str
    staves: tuple[Element, ...]
    """MEI's definitions of its staves."""


def from_mei(mei: str, staff_space_mm: float) -> str:
    """Convert a composed piece to MusicXML for a page of A4.

    Args:
        mei: Composed piece.
        staff_space_mm: Distance between staff lines on paper in millimetres.

    Raises:
        ValueError: The piece contains an element that composed pieces do not have.
    """
    return _Writer(etree.fromstring(mei.encode()), staff_space_mm).document()


@dataclass(frozen=True, slots=True)
class _Place:
    """Voice and staff of a note."""

    voice: int
    number: int
    """Number of the staff in its part; 0 in a part of one staff."""
    definition: Element
    """MEI's definition of the staff."""

    def before(self, item: Element) -> list[Element]:
        """Write the voice and the note value, which precede the accidental."""
        return [E("voice", str(self.voice)), *_value(item)]

    def after(self) -> list[Element]:
        """Write the number of the staff, which follows the stem."""
        return [E("staff", str(self.number))] if self.number else []


def written(*elements: Element) -> str:
    """Write a document from the elements of a score."""
    score = E("score-partwise", *elements, version="3.1")
    return str(etree.tostring(score, encoding="unicode", pretty_print=True))


def defaults(staff_space_mm: float) -> Element:
    """Write the size of the paper, and that of the staves, given in millimetres."""
    tenths = [f"{mm * 10 / staff_space_mm:.2f}" for mm in (*A4_MM, MARGIN_MM)]
    sides = ("left-margin", "right-margin", "top-margin", "bottom-margin")
    scaling = E("millimeters", f"{4 * staff_space_mm:.4f}"), E("tenths", "40")
    margins = E("page-margins", *(E(side, tenths[2]) for side in sides), type="both")
    page = E("page-height", tenths[1]), E("page-width", tenths[0]), margins
    return E("defaults", E("scaling", *scaling), E("page-layout", *page))


class _Writer:
    """Converter of one piece."""

    def __init__(self, root: Element, staff_space_mm: float) -> None:
        self.root = root
        self.staff_space_mm = staff_space_mm
        group = root.find(f".//{_MEI}staffGrp")
        self.symbol = group.get("symbol")
        self.joined = group.get("bar.thru") == "true"
        staves = tuple(group.iter(f"{_MEI}staffDef"))
        divided = [staves] if self.symbol == "brace" else [(staff,) for staff in staves]
        self.parts = [_Part(f"P{n}", part) for n, part in enumerate(divided, 1)]
        self.tied_from = _targets(root.iter(f"{_MEI}tie"), "startid")
        self.tied_to = _targets(root.iter(f"{_MEI}tie"), "endid")
        self.slurred_from = _targets(root.iter(f"{_MEI}slur"), "startid")
        self.slurred_to = _targets(root.iter(f"{_MEI}slur"), "endid")
        self.fermatas = _targets(root.iter(f"{_MEI}fermata"), "startid")

    def document(self) -> str:
        """Write the document."""
        return written(
            E("work", E("work-title", self.root.findtext(f".//{_MEI}title"))),
            defaults(self.staff_space_mm),
            self._part_list(),
            *(E("part", *self._measures(part), id=part.id) for part in self.parts),
        )

    def _part_list(self) -> Element:
        parts = []
        for part in self.parts:
            label = part.staves[0].findtext(f"{_MEI}label", "")
            short = part.staves[0].findtext(f"{_MEI}labelAbbr", "")
            names = [E("part-name", label)] + ([E("part-abbreviation", short)] if short else [])
            parts.append(E("score-part", *names, id=part.id))
        if self.symbol == "brace":
            return E("part-list", *parts)
        start = E(
            "part-group",
            E("group-symbol", self.symbol),
            E("group-barline", "yes" if self.joined else "no"),
            type="start",
            number="1",
        )
        return E("part-list", start, *parts, E("part-group", type="stop", number="1"))

    def _measures(self, part: _Part) -> Iterator[Element]:
        changed: dict[str, str] = dict(self.root.find(f".//{_MEI}scoreDef").attrib)
        section = self.root.find(f".//{_MEI}section")
        staves: tuple[Element, ...] = part.staves
        for element in _flattened(section):
            if element.tag == f"{_MEI}scoreDef":
                changed = dict(element.attrib)
                continue
            if element.tag != f"{_MEI}measure":
                raise ValueError(f"unexpected element: {element.tag}")
            attributes = self._attributes(changed, staves, len(part.staves))
            yield self._measure(element, part, attributes)
            changed, staves = {}, ()

    def _attributes(
        self, changed: Mapping[str, str], clefs: tuple[Element, ...], n_staves: int
    ) -> Element:
        """Write changed signatures and, in the first measure, the clefs."""
        attributes = E("attributes")
        if clefs:
            attributes.append(E("divisions", str(QUARTER)))
        if signature := changed.get("keysig"):
            fifths = -int(signature[:-1]) if signature.endswith("f") else int(signature.strip("s"))
            attributes.append(E("key", E("fifths", str(fifths))))
        if count := changed.get("meter.count"):
            symbol = changed.get("meter.sym")
            time = E("time", E("beats", count), E("beat-type", changed["meter.unit"]))
            if symbol:
                time.set("symbol", symbol)
            attributes.append(time)
        if clefs and n_staves > 1:
            attributes.append(E("staves", str(n_staves)))
        for number, staff in enumerate(clefs, 1):
            clef = staff.find(f"{_MEI}clef")
            sign = E("clef", E("sign", clef.get("shape")), E("line", clef.get("line")))
            if clef.get("dis"):
                sign.append(E("clef-octave-change", "-1"))
            sign.set("number", str(number))
            attributes.append(sign)
        return attributes

    def _measure(self, source: Element, part: _Part, attributes: Element) -> Element:
        measure = E("measure", number=source.get("n"))
        if source.get("metcon") == "false":
            measure.set("implicit", "yes")
        ending = source.getparent()
        number = ending.get("n") if ending.tag == f"{_MEI}ending" else ""
        measure.extend(_barline("left", source.get("left"), number))
        measure.extend([attributes] if len(attributes) else [])
        tempo = source.findtext(f"{_MEI}tempo")
        if tempo and part is self.parts[0]:
            direction = E("direction-type", E("words", tempo))
            measure.append(E("direction", direction, placement="above"))
        measure.extend(self._voices(source, part))
        measure.extend(_barline("right", source.get("right"), number))
        return measure

    def _voices(self, source: Element, part: _Part) -> Iterator[Element]:
        """Write the voices of a measure one after the other."""
        voice = duration = 0
        for number, staff in enumerate(part.staves, 1):
            for layer in source.find(f"{_MEI}staff[@n='{staff.get('n')}']"):
                voice += 1
                if duration:
                    yield E("backup", E("duration", str(duration)))
                place = _Place(voice, number if len(part.staves) > 1 else 0, staff)
                duration = 0
                for event in layer:
                    beamed = list(event) if event.tag == f"{_MEI}beam" else [event]
                    for i in range(len(beamed)):
                        for element in self._event(beamed, i, place):
                            duration += _duration(element)
                            yield element

    def _event(self, beamed: Sequence[Element], i: int, place: _Place) -> Iterator[Element]:
        """Write note, chord, rest or space ``i`` of a group of beamed notes or a single event."""
        item = beamed[i]
        kind = etree.QName(item).localname
        duration = E("duration", str(_bar_ticks(item) if kind == "mRest" else _ticks(item)))
        if kind == "space":
            yield E("forward", duration, E("voice", str(place.voice)))
        elif kind in ("rest", "mRest"):
            rest = _rest(item, place.definition)
            yield E("note", rest, duration, *place.before(item), *place.after())
        elif kind in ("note", "chord"):
            for n, note in enumerate(item if kind == "chord" else [item]):
                yield E(
                    "note",
                    *([E("chord")] if n else []),
                    _pitch(note),
                    E("duration", str(_ticks(item))),
                    *self._ties(note),
                    *place.before(item),
                    *_accidental(note),
                    *([E("stem", item.get("stem.dir"))] if item.get("stem.dir") else []),
                    *place.after(),
                    *([] if n else _beams(beamed, i)),
                    *self._notations(note, place.voice),
                    *_lyrics(note),
                )
        else:
            raise ValueError(f"unexpected element: {kind}")

    def _ties(self, note: Element) -> list[Element]:
        name = note.get(_ID)
        stop = [E("tie", type="stop")] if name in self.tied_to else []
        return stop + ([E("tie", type="start")] if name in self.tied_from else [])

    def _notations(self, note: Element, voice: int) -> list[Element]:
        name = note.get(_ID)
        marks = []
        for ids, kind, tag in (
            (self.tied_to, "stop", "tied"),
            (self.tied_from, "start", "tied"),
            (self.slurred_to, "stop", "slur"),
            (self.slurred_from, "start", "slur"),
        ):
            if name in ids:
                marks.append(E(tag, type=kind))
                if tag == "slur":
                    marks[-1].set("number", str(voice))
        if name in self.fermatas:
            below = self.fermatas[name].get("place") == "below"
            marks.append(E("fermata", type="inverted" if below else "upright"))
        return [E("notations", *marks)] if marks else []


def _duration(element: Element) -> int:
    """Return the ticks by which a note moves on; 0 for the further notes of a chord."""
    return 0 if element.find("chord") is not None else int(element.findtext("duration"))


def _ticks(item: Element) -> int:
    return _TICKS[item.get("dur"), _dots(item)]


def _bar_ticks(rest: Element) -> int:
    """Compute the length of a full bar from the last time signature before a rest."""
    query = "(preceding::*[local-name()='scoreDef'][@meter.count])[last()]"
    signature = rest.xpath(query)[0]
    return int(signature.get("meter.count")) * 4 * QUARTER // int(signature.get("meter.unit"))


def _value(item: Element) -> list[Element]:
    """Write the note value; a rest of a whole bar has none."""
    if item.get("dur") is None:
        return []
    return [E("type", _TYPES[item.get("dur")]), *(E("dot") for _ in range(_dots(item)))]


def _dots(item: Element) -> int:
    return int(item.get("dots", "0"))


def _pitch(note: Element) -> Element:
    printed = note.find(f"{_MEI}accid")
    sounding = note.get("accid.ges", "n") if printed is None else printed.get("accid")
    alter = _ALTERATIONS[sounding]
    altered = [E("alter", str(alter))] if alter else []
    return E("pitch", E("step", note.get("pname").upper()), *altered, E("octave", note.get("oct")))


def _accidental(note: Element) -> list[Element]:
    printed = note.find(f"{_MEI}accid")
    if printed is None:
        return []
    element = E("accidental", _ACCIDENTALS[printed.get("accid")])
    if printed.get("func") == "caution":
        element.set("cautionary", "yes")
        element.set("parentheses", "yes" if printed.get("enclose") else "no")
    return [element]


def _beams(beamed: Sequence[Element], i: int) -> list[Element]:
    """Write the beams at a note of a group of beamed notes; empty for a single note."""
    if len(beamed) < 2:
        return []
    beams = []
    for level in (1, 2):
        here, before, after = (
            0 <= j < len(beamed) and (level == 1 or beamed[j].get("dur") == "16")
            for j in (i, i - 1, i + 1)
        )
        if here:
            hook = "backward hook" if i else "forward hook"
            state = {(1, 1): "continue", (1, 0): "end", (0, 1): "begin", (0, 0): hook}
            beams.append(E("beam", state[before, after], number=str(level)))
    return beams


def _lyrics(note: Element) -> list[Element]:
    return [
        E(
            "lyric",
            E("syllabic", _SYLLABIC[verse[0].get("wordpos", "")]),
            E("text", verse[0].text),
            number=verse.get("n"),
        )
        for verse in note.iter(f"{_MEI}verse")
    ]


def _flattened(section: Element) -> Iterator[Element]:
    """Yield the measures and signatures of a section, including those in endings."""
    for element in section:
        yield from element if element.tag == f"{_MEI}ending" else [element]


def _targets(marks: Iterable[Element], end: str) -> dict[str, Element]:
    """Map the ids of notes to the ties, slurs or fermatas that start or end there."""
    return {mark.get(end).removeprefix("#"): mark for mark in marks}


def _barline(side: str, kind: str | None, ending: str) -> list[Element]:
    """Write a barline; empty for a usual one."""
    style, repeat = _BAR_STYLES[kind] if kind else ("", "")
    barline = E("barline", location=side)
    barline.extend([E("bar-style", style)] if style else [])
    if ending:
        stop = "stop" if ending == "1" else "discontinue"
        barline.append(E("ending", number=ending, type="start" if side == "left" else stop))
    barline.extend([E("repeat", direction=repeat)] if repeat else [])
    return [barline] if len(barline) else []


def _rest(item: Element, staff: Element) -> Element:
    """Write a rest; one that the voices of a staff share is placed in the middle of the staff."""
    if item.tag == f"{_MEI}mRest":
        return E("rest", measure="yes")
    if item.get("loc") is None:
        return E("rest")
    step, octave = _REST_PITCHES[staff.find(f"{_MEI}clef").get("shape")]
    return E("rest", E("display-step", step), E("display-octave", octave))
