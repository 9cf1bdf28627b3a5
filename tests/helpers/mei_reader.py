"""MEI reader that interprets the notation as a musician does, to check the composer's output.

Pitches are derived from the key signature, printed accidentals and ties; durations are in quarter
notes. The reader is independent of the composer.
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
    """A note or a rest as written."""

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
    """Printed alteration."""
    caution: bool = False
    encoded: int = 0
    """Sounding alteration according to the encoding."""
    alter: int = 0
    """Sounding alteration inferred from the notation."""
    tied_from: "Head | None" = None

    @property
    def end(self) -> Fraction:
        return self.onset + self.ticks

    @property
    def midi(self) -> int:
        return 12 * (self.octave + 1) + NATURAL[self.name] + self.alter

    @property
    def pitch_name(self) -> tuple[str, int]:
        return self.name, self.octave


@dataclass
class Measure:
    """A measure."""

    onset: Fraction
    length: Fraction
    """Duration of its contents."""
    metre: Fraction
    """Duration according to the time signature."""
    beat: Fraction
    fifths: int
    layers: list[Fraction]
    """Length of each layer."""
    counts: bool
    """Whether it must have the duration of its time signature."""
    attributes: dict[str, str]
    ending: str
    heads: list[Head] = field(default_factory=list)


@dataclass
class Piece:
    """A piece as read."""

    root: etree._Element
    measures: list[Measure]
    voices: list[list[Head]]
    """Notes and rests of each voice in order, upper voices first."""

    def sounds(self, voice: int) -> list[tuple[Fraction, Fraction, int | None]]:
        """List onset, end and MIDI number (None for a rest) of a voice, with tied notes joined."""
        sounds: list[tuple[Fraction, Fraction, int | None]] = []
        for head in self.voices[voice]:
            pitch = head.midi if head.name else None
            if sounds and head.tied_from is not None:
                sounds[-1] = (sounds[-1][0], head.end, pitch)
            else:
                sounds.append((head.onset, head.end, pitch))
        return sounds

    def beats(self) -> list[Fraction]:
        """List the onsets of all beats."""
        onsets: list[Fraction] = []
        for measure in self.measures:
            start = measure.onset
            if not measure.counts and measure.length < measure.metre / 2:
                start -= measure.metre - measure.length  # an upbeat
            beat = measure.beat
            onsets += [
                start + i * beat
                for i in range(int(measure.metre / beat))
                if measure.onset <= start + i * beat < measure.onset + measure.length
            ]
        return onsets

    def sonorities(self) -> Iterator[tuple[Fraction, list[int | None], list[bool]]]:
        """Yield onset, pitches and new entries of all voices at every onset of any voice."""
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
        assert last.tied_from is None, "two ties end on one note"
        last.tied_from = first
    for measure in measures:
        _infer_pitches(measure)
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


def _infer_pitches(measure: Measure) -> None:
    """Infer the sounding pitches from signature, ties and accidentals in reading order."""
    count = abs(measure.fifths)
    changed = (SHARPS if measure.fifths > 0 else SHARPS[::-1])[:count]
    sign = 1 if measure.fifths > 0 else -1
    state: dict[tuple[int, str, int], int] = {}
    for head in sorted((h for h in measure.heads if h.name), key=lambda h: h.onset):
        if head.tied_from is not None:
            assert head.printed is None, "an accidental after a tie"
            head.alter = head.tied_from.alter
            continue
        position = (head.staff, head.name, head.octave)
        valid = state.get(position, sign if head.name in changed else 0)
        if head.printed is not None:
            assert head.caution or head.printed != valid, "a redundant accidental"
            state[position] = valid = head.printed
        head.alter = valid


def _voices(root: etree._Element, measures: list[Measure]) -> list[list[Head]]:
    """Follow the voices: upper layers and upper notes of a chord first, per staff."""
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
                layer_heads = [h for h in measure.heads if (h.staff, h.layer) == (staff, layer)]
                for onset in sorted({h.onset for h in layer_heads}):
                    here = [h for h in layer_heads if h.onset == onset]
                    for i in range(sizes[staff - 1] if len(widths) == 1 else widths[layer]):
                        voices[first + i].append(here[min(i, len(here) - 1)])
                first += widths[layer]
    return voices


def _widths(measure: Measure, staff: int) -> dict[int, int]:
    """Count the voices in each layer of a staff."""
    widths: dict[int, int] = {}
    for layer in sorted({h.layer for h in measure.heads if h.staff == staff}):
        onsets = [h.onset for h in measure.heads if (h.staff, h.layer) == (staff, layer)]
        widths[layer] = max(onsets.count(onset) for onset in onsets)
    return widths
