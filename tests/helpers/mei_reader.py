"""Reads MEI the way a musician does, to check what the generator of music writes.

Pitches come from the signature, the accidentals in print and the ties; durations are counted in
quarter notes. Nothing here knows the generator.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from lxml import etree

MEI = "{http://www.music-encoding.org/ns/mei}"
ID = "{http://www.w3.org/XML/1998/namespace}id"
NATURAL = dict(zip("cdefgab", (0, 2, 4, 5, 7, 9, 11), strict=True))
ALTER = {"ff": -2, "f": -1, "n": 0, "s": 1, "x": 2, "ss": 2}
SHARPS = "fcgdaeb"
EVENTS = ("note", "chord", "rest", "mRest", "space")
VALUES = {"breve": Fraction(8)} | {str(2**n): Fraction(4, 2**n) for n in range(6)}


@dataclass
class Head:
    """A note or a rest as it is written."""

    ident: str
    onset: Fraction
    ticks: Fraction
    bar: int
    staff: int
    layer: int
    name: str = ""
    """Letter of the note; empty for a rest."""
    octave: int = 0
    printed: int | None = None
    """Alteration in print."""
    caution: bool = False
    encoded: int = 0
    """Alteration that the encoding says sounds."""
    alter: int = 0
    """Alteration that a reader concludes."""
    tied_from: "Head | None" = None

    @property
    def end(self) -> Fraction:
        return self.onset + self.ticks

    @property
    def midi(self) -> int:
        return 12 * (self.octave + 1) + NATURAL[self.name] + self.alter

    @property
    def place(self) -> tuple[str, int]:
        return self.name, self.octave


@dataclass
class Measure:
    """A measure."""

    onset: Fraction
    length: Fraction
    """Of what is in it."""
    metre: Fraction
    """Of the time signature."""
    beat: Fraction
    fifths: int
    layers: list[Fraction]
    """Length of each layer."""
    counts: bool
    """Whether it must be as long as its metre says."""
    attributes: dict[str, str]
    ending: str
    heads: list[Head] = field(default_factory=list)


@dataclass
class Piece:
    """A piece that was read."""

    root: etree._Element
    measures: list[Measure]
    voices: list[list[Head]]
    """Of each voice, upper first, notes and rests in order."""

    def sounds(self, voice: int) -> list[tuple[Fraction, Fraction, int | None]]:
        """Onset, end and MIDI number (None: rest) of what a voice sings, ties joined."""
        found: list[tuple[Fraction, Fraction, int | None]] = []
        for head in self.voices[voice]:
            pitch = head.midi if head.name else None
            if found and head.tied_from is not None:
                found[-1] = (found[-1][0], head.end, pitch)
            else:
                found.append((head.onset, head.end, pitch))
        return found

    def beats(self) -> list[Fraction]:
        """Onsets of all beats."""
        found: list[Fraction] = []
        for measure in self.measures:
            start = measure.onset
            if not measure.counts and measure.length < measure.metre / 2:
                start -= measure.metre - measure.length  # an upbeat
            beat = measure.beat
            found += [
                start + i * beat
                for i in range(int(measure.metre / beat))
                if measure.onset <= start + i * beat < measure.onset + measure.length
            ]
        return found

    def sonorities(self) -> Iterator[tuple[Fraction, list[int | None], list[bool]]]:
        """Onset, pitch of every voice, and whether it begins there, wherever one begins."""
        voices = [self.sounds(voice) for voice in range(len(self.voices))]
        at = [0] * len(voices)
        for onset in sorted({sound[0] for voice in voices for sound in voice}):
            for v, voice in enumerate(voices):
                while voice[at[v]][1] <= onset:
                    at[v] += 1
            now = [voice[i] for voice, i in zip(voices, at, strict=True)]
            yield onset, [s[2] for s in now], [s[0] == onset for s in now]


def read(text: str) -> Piece:
    """Read a piece."""
    root = etree.fromstring(text.encode())
    heads: dict[str, Head] = {}
    measures: list[Measure] = []
    fifths, metre, beat = 0, Fraction(4), Fraction(1)
    onset = Fraction(0)
    for element in root.iter(MEI + "scoreDef", MEI + "measure"):
        if element.tag == MEI + "scoreDef":
            if (sign := element.get("keysig")) is not None:
                fifths = int(sign.rstrip("sf") or 0) * (-1 if sign.endswith("f") else 1)
            if (count := element.get("meter.count")) is not None:
                unit = Fraction(4, int(element.get("meter.unit", "4")))
                metre = int(count) * unit
                beat = 3 * unit if int(count) % 3 == 0 and int(count) > 3 else unit
            continue
        measure = _measure(element, len(measures), onset, (metre, beat), fifths)
        onset += measure.length
        measures.append(measure)
        heads.update({head.ident: head for head in measure.heads})
    for tie in root.iter(MEI + "tie"):
        first, last = heads[tie.get("startid", "")[1:]], heads[tie.get("endid", "")[1:]]
        assert last.tied_from is None, "two ties lead to one note"
        last.tied_from = first
    for measure in measures:
        _conclude(measure)
    return Piece(root, measures, _voices(root, measures))


def _measure(
    element: etree._Element,
    number: int,
    onset: Fraction,
    metre_and_beat: tuple[Fraction, Fraction],
    fifths: int,
) -> Measure:
    metre, beat = metre_and_beat
    parent = element.getparent()
    ending = parent.get("n", "") if parent is not None and parent.tag == MEI + "ending" else ""
    heads: list[Head] = []
    layers: list[Fraction] = []
    for layer in element.iter(MEI + "layer"):
        staff = layer.getparent()
        assert staff is not None
        at = onset
        for event in layer.iter(*(MEI + name for name in EVENTS)):
            above = event.getparent()
            if above is not None and above.tag == MEI + "chord":
                continue
            ticks = metre if event.tag == MEI + "mRest" else _value(event)
            members = list(event) if event.tag == MEI + "chord" else [event]
            for member in members:
                where = (at, ticks, number, int(staff.get("n", "")), int(layer.get("n", "")))
                heads.append(_head(member, *where))
            at += ticks
        layers.append(at - onset)
    return Measure(
        onset=onset,
        length=max(layers),
        metre=metre,
        beat=beat,
        fifths=fifths,
        layers=layers,
        counts=element.get("metcon") != "false",
        attributes={str(k): str(v) for k, v in element.attrib.items()},
        ending=ending,
        heads=heads,
    )


def _value(event: etree._Element) -> Fraction:
    dots = int(event.get("dots", "0"))
    return VALUES[event.get("dur", "")] * (2 - Fraction(1, 2**dots))


def _head(
    element: etree._Element, onset: Fraction, ticks: Fraction, bar: int, staff: int, layer: int
) -> Head:
    head = Head(element.get(ID, ""), onset, ticks, bar, staff, layer)
    if element.tag == MEI + "note":
        head.name, head.octave = element.get("pname", ""), int(element.get("oct", ""))
        accid = element.find(MEI + "accid")
        if accid is not None:
            head.printed = ALTER[accid.get("accid", "")]
            head.caution = accid.get("func") == "caution"
            assert element.get("accid.ges") is None
        sounding = element.get("accid.ges")
        head.encoded = head.printed or (ALTER[sounding] if sounding else 0)
    return head


def _conclude(measure: Measure) -> None:
    """Find out what sounds, from signature, ties and accidentals in the order of reading."""
    count = abs(measure.fifths)
    changed = (SHARPS if measure.fifths > 0 else SHARPS[::-1])[:count]
    sign = 1 if measure.fifths > 0 else -1
    state: dict[tuple[int, str, int], int] = {}
    for head in sorted((h for h in measure.heads if h.name), key=lambda h: h.onset):
        if head.tied_from is not None:
            assert head.printed is None, "an accidental after a tie"
            head.alter = head.tied_from.alter
            continue
        place = (head.staff, head.name, head.octave)
        valid = state.get(place, sign if head.name in changed else 0)
        if head.printed is not None:
            assert head.caution or head.printed != valid, "an accidental says nothing new"
            state[place] = valid = head.printed
        head.alter = valid


def _voices(root: etree._Element, measures: list[Measure]) -> list[list[Head]]:
    """Follow the voices: in a staff, upper layers and upper notes of a chord come first."""
    n_staves = len(list(root.iter(MEI + "staffDef")))
    sizes = [
        max(sum(_widths(measure, staff).values()) for measure in measures)
        for staff in range(1, n_staves + 1)
    ]
    voices: list[list[Head]] = [[] for _ in range(sum(sizes))]
    for measure in measures:
        for staff in range(1, n_staves + 1):
            first = sum(sizes[: staff - 1])
            widths = _widths(measure, staff)
            for layer in sorted(widths):
                mine = [h for h in measure.heads if (h.staff, h.layer) == (staff, layer)]
                for onset in sorted({h.onset for h in mine}):
                    here = [h for h in mine if h.onset == onset]
                    for i in range(sizes[staff - 1] if len(widths) == 1 else widths[layer]):
                        voices[first + i].append(here[min(i, len(here) - 1)])
                first += widths[layer]
    return voices


def _widths(measure: Measure, staff: int) -> dict[int, int]:
    """How many voices each layer of a staff has."""
    found: dict[int, int] = {}
    for layer in sorted({h.layer for h in measure.heads if h.staff == staff}):
        onsets = [h.onset for h in measure.heads if (h.staff, h.layer) == (staff, layer)]
        found[layer] = max(onsets.count(onset) for onset in onsets)
    return found
