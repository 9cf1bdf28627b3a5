"""MEI 5 writer for composed pieces."""

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from xml.sax.saxutils import escape

from converters.engraving.music.keys import LETTERS, Key
from converters.engraving.music.lyrics import Syllable
from converters.engraving.music.metres import VALUES, Metre
from converters.engraving.music.notation import Bar, Line, Note, beam_group, beams

ACCIDENTALS = {-2: "ff", -1: "f", 0: "n", 1: "s", 2: "x"}
"""Values of MEI's ``accid``, for printed accidentals."""
SOUNDING = {-2: "ff", -1: "f", 1: "s", 2: "ss"}
"""Values of MEI's ``accid.ges``, for alterations that are not printed; naturals need no value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeiStaff:
    """A staff of a score."""

    voices: tuple[int, ...]
    """Voices on the staff, upper first."""
    clef: tuple[str, int, int]
    """Shape, line, and octave transposition: 8 for an octave lower, or 0."""
    label: str = ""
    short_label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreLayout:
    """Layout of a score apart from its notes."""

    staves: tuple[MeiStaff, ...]
    brace: bool
    """Whether a brace joins the staves; otherwise a bracket does."""
    joined_bars: bool
    """Whether barlines connect the staves."""
    shared_stems: bool = False
    """Whether voices with the same rhythm share stems."""
    wide_beams: bool = False
    """Whether beams may span half a bar."""
    beams_by_syllable: bool = False
    """Whether every syllable starts a new beam."""
    courtesy: bool = False
    """Whether courtesy accidentals are printed after a barline."""
    merged_rests: bool = False
    """Whether voices that are silent together share one rest in the middle of the staff."""
    brackets: bool = False
    """Whether courtesy accidentals are in parentheses."""


@dataclass(kw_only=True, slots=True)
class MeiPiece:
    """A piece in the form in which it is written to MEI."""

    title: str
    layout: ScoreLayout
    bars: list[Bar]
    voices: list[list[Line]]
    """Lines of each voice, one per bar."""
    tempo: str = ""
    verses: dict[int, list[list[Syllable | None]]] = field(default_factory=dict)
    """Verses by voice, each with a syllable or None per sonority."""
    slurs: list[tuple[Note, Note]] = field(default_factory=list)
    fermatas: set[int] = field(default_factory=set)
    """Indices of the sonorities with a fermata."""


def write(piece: MeiPiece) -> str:
    """Write a piece as MEI.

    Args:
        piece: Piece to write; numbers are assigned to its notes.

    Returns:
        MEI document; the ``xml:id`` of an element depends only on its position.
    """
    return _Writer(piece).document()


class _Writer:
    """Writer that collects the lines of a document."""

    def __init__(self, piece: MeiPiece) -> None:
        self.piece = piece
        self.out: list[str] = []
        self.counts: Counter[str] = Counter()
        self.marks: dict[int, list[str]] = {}
        """Ties, slurs and fermatas by the number of their first note."""
        self._number_notes()
        self._mark_spans()

    def document(self) -> str:
        """Write the document."""
        piece, first = self.piece, self.piece.bars[0].section
        self.out += [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0">',
            f"<meiHead><fileDesc><titleStmt><title>{escape(piece.title)}</title></titleStmt>"
            "<pubStmt/></fileDesc></meiHead>",
            "<music><body><mdiv><score>",
            self._score_def(first.key, first.metre, staves=True),
            "<section>",
        ]
        for i, bar in enumerate(piece.bars):
            here, before = bar.section, piece.bars[max(i - 1, 0)].section
            key = here.key if here.key.fifths != before.key.fifths else None
            metre = here.metre if here.metre != before.metre else None
            if key or metre:
                self.out.append(self._score_def(key, metre, staves=False))
            if bar.ending:
                self.out.append(f'<ending {self._id("ending")} n="{bar.ending}">')
            self._bar(i, bar)
            self.out += ["</ending>"] if bar.ending else []
        self.out.append("</section></score></mdiv></body></music></mei>\n")
        return "\n".join(self.out)

    def _number_notes(self) -> None:
        number = 0
        for i in range(len(self.piece.bars)):
            for staff in self.piece.layout.staves:
                for voice in staff.voices:
                    for note in self.piece.voices[voice][i]:
                        number += 1
                        note.number = number

    def _mark_spans(self) -> None:
        """Write ties and slurs, before the notes."""
        for voice in self.piece.voices:
            notes = [note for line in voice for note in line]
            for note, following in pairwise(notes):
                if note.pitch is not None and not note.last:
                    self._mark(note, f"<tie {self._id('tie')} {_span(note, following)}/>")
        for first, last in self.piece.slurs:
            self._mark(first, f"<slur {self._id('slur')} {_span(first, last)}/>")

    def _mark(self, note: Note, text: str) -> None:
        self.marks.setdefault(note.number, []).append(text)

    def _id(self, kind: str) -> str:
        self.counts[kind] += 1
        return f'xml:id="{kind}{self.counts[kind]}"'

    def _score_def(self, key: Key | None, metre: Metre | None, *, staves: bool) -> str:
        """Write the signatures and, at the start, the staves."""
        attributes = [self._id("scoredef")]
        if key is not None:
            attributes.append(f'keysig="{_signature(key)}"')
        if metre is not None:
            attributes.append(f'meter.count="{metre.count}" meter.unit="{metre.unit}"')
            if metre.symbol:
                attributes.append(f'meter.sym="{metre.symbol}"')
        if not staves:
            return f"<scoreDef {' '.join(attributes)}/>"
        layout = self.piece.layout
        symbol, through = "brace" if layout.brace else "bracket", str(layout.joined_bars).lower()
        inner = "".join(self._staff_def(n, staff) for n, staff in enumerate(layout.staves, 1))
        return (
            f"<scoreDef {' '.join(attributes)}><staffGrp {self._id('group')} "
            f'symbol="{symbol}" bar.thru="{through}">{inner}</staffGrp></scoreDef>'
        )

    def _staff_def(self, n: int, staff: MeiStaff) -> str:
        """Write the clef and label of a staff."""
        shape, line, moved = staff.clef
        clef = f'<clef {self._id("clef")} shape="{shape}" line="{line}"'
        clef += f' dis="{moved}" dis.place="below"/>' if moved else "/>"
        label = f"<label>{escape(staff.label)}</label>" if staff.label else ""
        if staff.short_label:
            label += f"<labelAbbr>{escape(staff.short_label)}</labelAbbr>"
        return f'<staffDef {self._id("staffdef")} n="{n}" lines="5">{label}{clef}</staffDef>'

    def _bar(self, i: int, bar: Bar) -> None:
        """Write a measure and the marks on its notes."""
        attributes = [self._id("m"), f'n="{bar.number}"']
        attributes += [f'left="{bar.left}"'] if bar.left else []
        attributes += [f'right="{bar.right}"'] if bar.right else []
        attributes += [] if bar.whole else ['metcon="false"']
        self.out.append(f"<measure {' '.join(attributes)}>")
        marks: list[str] = []
        for n, staff in enumerate(self.piece.layout.staves, 1):
            lines = {voice: self.piece.voices[voice][i] for voice in staff.voices}
            self._staff(n, lines, bar)
            marks += self._fermatas(n, lines) if bar.ending != "1" else []
            marks += [
                m for line in lines.values() for x in line for m in self.marks.get(x.number, ())
            ]
        if i == 0 and self.piece.tempo:
            marks.append(
                f'<tempo {self._id("tempo")} staff="1" tstamp="1" place="above">'
                f"{escape(self.piece.tempo)}</tempo>"
            )
        self.out += [*marks, "</measure>"]

    def _staff(self, n: int, lines: dict[int, Line], bar: Bar) -> None:
        """Write a staff of a measure, with its voices in layers."""
        layers = _layers(lines, self.piece.layout.shared_stems)
        merge = self.piece.layout.merged_rests and len(layers) == 2
        merged = _common_rests(lines) if merge else set()
        self.out.append(f'<staff {self._id("s")} n="{n}">')
        for number, voices in enumerate(layers, 1):
            stem = (
                "" if len(layers) == 1 else ' stem.dir="up"' if number == 1 else ' stem.dir="down"'
            )
            self.out.append(f'<layer {self._id("l")} n="{number}">')
            rows = [lines[voice] for voice in voices]
            for group in self._groups(rows[0], bar, voices[0]):
                texts = [
                    self._event([row[j] for row in rows], voices[0], stem, merged) for j in group
                ]
                if len(group) > 1:
                    texts = [f"<beam {self._id('beam')}>", *texts, "</beam>"]
                self.out += texts
            self.out.append("</layer>")
        self.out.append("</staff>")

    def _groups(self, line: Line, bar: Bar, voice: int) -> Iterator[range]:
        """Yield the indices of the notes of a line, grouped by beam."""
        layout = self.piece.layout
        span = beam_group(bar.section.metre, layout.wide_beams)
        by_syllable = layout.beams_by_syllable and voice in self.piece.verses
        at = 0
        for group in beams(line, bar, span, by_syllable):
            yield range(at, at + len(group))
            at += len(group)

    def _event(self, notes: Sequence[Note], voice: int, stem: str, common: Container[int]) -> str:
        """Write a rest, a note or a chord; ``common`` lists the onsets of shared rests."""
        first = notes[0]
        name, dots = VALUES[first.ticks] if not first.whole_bar else ("", 0)
        value = f' dur="{name}" dots="{dots}"' if dots else f' dur="{name}"'
        if first.whole_bar:
            return f'<mRest xml:id="n{first.number}"/>'
        if first.pitch is None and first.onset in common:
            upper = stem.endswith('"up"')
            kind, loc = ("rest", ' loc="4"') if upper else ("space", "")
            return f'<{kind} xml:id="n{first.number}"{value}{loc}/>'
        if first.pitch is None:
            return f'<rest xml:id="n{first.number}"{value}/>'
        if len(notes) == 1:
            return self._note(first, value + stem, self._verses(first, voice))
        inner = "".join(self._note(note, "", "") for note in notes)
        return f"<chord {self._id('chord')}{value}{stem}>{inner}</chord>"

    def _note(self, note: Note, attributes: str, inner: str) -> str:
        """Write a note with attributes for its duration and inner text for its syllables."""
        assert note.pitch is not None
        step, alter = note.pitch
        where = f'pname="{LETTERS[step % 7]}" oct="{step // 7}"'
        if note.accidental is not None:
            more = ' func="caution"' if note.courtesy else ""
            if note.courtesy and self.piece.layout.brackets:
                more += ' enclose="paren"'
            inner = f'<accid {self._id("accid")} accid="{ACCIDENTALS[alter]}"{more}/>{inner}'
        elif alter:
            attributes += f' accid.ges="{SOUNDING[alter]}"'
        start = f'<note xml:id="n{note.number}" {where}{attributes}'
        return f"{start}>{inner}</note>" if inner else f"{start}/>"

    def _verses(self, note: Note, voice: int) -> str:
        """Write the syllables below a note."""
        if not note.sung or voice not in self.piece.verses:
            return ""
        drawn_out = (
            any("<slur" in mark for mark in self.marks.get(note.number, ())) or not note.last
        )
        texts = []
        for n, verse in enumerate(self.piece.verses[voice], 1):
            syllable = verse[note.chord]
            if syllable is None:
                continue
            joined = ' con="d"' if syllable.is_hyphenated else ' con="u"' if drawn_out else ""
            wordpos = f' wordpos="{syllable.position}"' if syllable.position else ""
            texts.append(
                f'<verse {self._id("verse")} n="{n}">'
                f"<syl {self._id('syl')}{wordpos}{joined}>{escape(syllable.text)}</syl></verse>"
            )
        return "".join(texts)

    def _fermatas(self, n: int, lines: dict[int, Line]) -> list[str]:
        """Write the fermatas of a staff: above the upper voice, or below the lower voice."""
        below = self.piece.layout.brace and n > 1
        line = lines[max(lines)] if below else lines[min(lines)]
        side = "below" if below else "above"
        return [
            f'<fermata {self._id("fermata")} staff="{n}" place="{side}" startid="#n{note.number}"/>'
            for note in line
            if note.pitch is not None and note.last and note.chord in self.piece.fermatas
        ]


def _common_rests(lines: dict[int, Line]) -> set[int]:
    """Find the onsets of rests shared by all voices of a staff with several voices."""
    rests = [{(x.onset, x.ticks) for x in line if x.pitch is None} for line in lines.values()]
    return {onset for onset, _ in set.intersection(*rests)} if len(rests) > 1 else set()


def _layers(lines: dict[int, Line], shared_stems: bool) -> list[list[int]]:
    """Divide the voices of a staff into layers; the voices of a layer share their stems."""
    voices = list(lines)
    if all(note.whole_bar for line in lines.values() for note in line):
        return [voices[:1]]
    if not shared_stems:
        return [[voice] for voice in voices]
    rhythms = {v: [(note.ticks, note.pitch is None) for note in lines[v]] for v in voices}
    upper = [v for v in voices if rhythms[v] == rhythms[voices[0]]]
    return [upper, [v for v in voices if v not in upper]] if len(upper) < len(voices) else [upper]


def _signature(key: Key) -> str:
    return "0" if key.fifths == 0 else f"{abs(key.fifths)}{'s' if key.fifths > 0 else 'f'}"


def _span(first: Note, last: Note) -> str:
    return f'startid="#n{first.number}" endid="#n{last.number}"'
