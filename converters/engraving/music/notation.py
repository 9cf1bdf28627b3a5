"""From what sounds to what is written: bars, tied values, accidentals and beams."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from converters.engraving.music.figuration import Part
from converters.engraving.music.harmonisation import Sonority
from converters.engraving.music.keys import Key, Pitch
from converters.engraving.music.metres import VALUES, Metre, rests, written
from converters.engraving.music.plans import Plan, Section


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A measure as it is written: a whole bar, or a part of one."""

    onset: int
    ticks: int
    section: Section
    number: int
    left: str = ""
    """MEI's word for the line before it, if that is not a single one."""
    right: str = ""
    ending: str = ""
    """Number of the ending it is, if its section has two."""

    @property
    def offset(self) -> int:
        """Ticks into the whole bar at which it begins."""
        return (self.onset - self.section.onset) % self.section.metre.bar

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.ticks == self.section.metre.bar


@dataclass(slots=True)
class Note:
    """What is written with one notehead, or one rest."""

    onset: int
    ticks: int
    pitch: Pitch | None
    """None for a rest."""
    chord: int
    """Number of the sonority in which it begins to sound."""
    first: bool
    """Whether it is the first value of a sound, not tied to one before."""
    last: bool
    """Whether it is the last value of a sound, not tied to one after."""
    sung: bool = False
    """Whether a syllable begins here."""
    accidental: int | None = None
    """Alteration that is printed before it."""
    courtesy: bool = False
    """Whether the accidental is only a reminder."""
    whole_bar: bool = False
    """Whether it is the rest of a whole bar."""
    number: int = field(default=0)
    """Of the note in the piece; 0 before it is given one."""


Line = list[Note]
"""What one voice has in one bar."""


def bars_of(plan: Plan) -> list[Bar]:
    """Lay out the bars of a piece; a bound between sections divides the bar of an upbeat."""
    found: list[Bar] = []
    number = 0
    for section in plan.sections:
        length, onset = section.metre.bar, section.onset
        starts = [onset + n * length for n in range(section.n_bars)]
        if section.pickup:
            starts.insert(0, onset - section.pickup)
        for start, end in pairwise([*starts, section.end]):
            number += start >= onset
            found.append(Bar(onset=start, ticks=end - start, section=section, number=number))
        is_first, is_last = section is plan.sections[0], section is plan.sections[-1]
        opening = found[-len(starts)]
        if section.repeated and not is_first:
            found[-len(starts)] = replace(opening, left="rptstart")
        right = "rptend" if section.repeated else "end" if is_last else "dbl"
        found[-1] = replace(found[-1], right=right)
    return found


def write_voice(
    parts: Sequence[Part], sonorities: Sequence[Sonority], bars: Sequence[Bar]
) -> list[Line]:
    """Write a voice bar by bar.

    Args:
        parts: What it has during each sonority.
        sonorities: Of the piece.
        bars: Of the piece.

    Returns:
        A line for each bar; its values fill the bar.
    """
    events = _events(parts, sonorities)
    lines: list[Line] = []
    at = 0
    for bar in bars:
        end = bar.onset + bar.ticks
        line: Line = []
        while at < len(events) and events[at].onset < end:
            event = events[at]
            line += _values(event, bar)
            if event.onset + event.ticks > end:
                break
            at += 1
        lines.append(_silence(line, bar))
    return lines


def _events(parts: Sequence[Part], sonorities: Sequence[Sonority]) -> list[Note]:
    """The sounds and silences of a voice, whole."""
    found: list[Note] = []
    for i, (part, sonority) in enumerate(zip(parts, sonorities, strict=True)):
        onset = sonority.slot.onset
        sung = True
        for sound in part:
            sung = sung and sound.pitch is not None
            goes_on = found and found[-1].pitch == sound.pitch
            if goes_on and (sound.held or sound.pitch is None):
                found[-1].ticks += sound.ticks
            else:
                found.append(Note(onset, sound.ticks, sound.pitch, i, True, True, sung))
                sung = False
            onset += sound.ticks
    return found


def _values(event: Note, bar: Bar) -> Line:
    """What of a sound is in a bar, in values that can be written."""
    start = max(event.onset, bar.onset)
    end = min(event.onset + event.ticks, bar.onset + bar.ticks)
    at = start - bar.onset + bar.offset
    divide = rests if event.pitch is None else written
    found: Line = []
    for ticks in divide(bar.section.metre, at, end - start):
        first = start == event.onset
        last = start + ticks == event.onset + event.ticks
        found.append(
            Note(start, ticks, event.pitch, event.chord, first, last, event.sung and first)
        )
        start += ticks
    return found


def _silence(line: Line, bar: Bar) -> Line:
    """Write a bar that is all rests with the one rest that means a bar."""
    if bar.whole and all(note.pitch is None for note in line):
        return [Note(bar.onset, bar.ticks, None, line[0].chord, True, True, whole_bar=True)]
    return line


def with_endings(bars: Sequence[Bar], voices: Sequence[list[Line]]) -> list[Bar]:
    """Write the last bar of some sections twice, as first and second ending.

    Args:
        bars: Of the piece.
        voices: Of each voice, a line for each bar; the second endings are inserted.

    Returns:
        The bars with the second endings.
    """
    found: list[Bar] = []
    added = 0
    for bar in bars:
        at = len(found)
        bar = replace(bar, number=bar.number + added)
        is_last = bar.onset + bar.ticks == bar.section.end
        tied = any(not voice[at][0].first for voice in voices)
        if not (is_last and bar.section.two_endings) or tied:
            found.append(bar)
            continue
        final = "end" if bar.section.end == bars[-1].section.end else "dbl"
        found.append(replace(bar, ending="1"))
        found.append(replace(bar, ending="2", number=bar.number + 1, right=final, left=""))
        added += 1
        for voice in voices:
            voice.insert(at + 1, [replace(note) for note in voice[at]])
            _shorten(voice[at], bar)
    return found


def _shorten(line: Line, bar: Bar) -> None:
    """Let the one note of a bar end with a rest, in place."""
    metre = bar.section.metre
    if len(line) > 1 or line[0].pitch is None or metre.beats < 2:
        return
    note = line[0]
    ticks = metre.bar // 2 if metre.beats % 2 == 0 else metre.bar - metre.beat
    line[:] = [
        replace(note, ticks=ticks),
        Note(note.onset + ticks, metre.bar - ticks, None, note.chord, True, True),
    ]


def set_accidentals(
    lines: Iterable[Line], key: Key, altered: dict[int, int], courtesy: bool
) -> dict[int, int]:
    """Decide which accidentals are printed in a bar of a staff.

    Args:
        lines: Of the voices on the staff, upper first.
        key: Whose signature holds.
        altered: Steps that were altered in the bar before, and how.
        courtesy: Whether a plain note is marked when it was altered in the bar before.

    Returns:
        Steps that are altered in this bar, and how.
    """
    signature = key.signature
    state: dict[int, int] = {}
    found: dict[int, int] = {}
    notes = [n for line in lines for n in line if n.pitch is not None]
    for note in sorted(notes, key=lambda n: n.onset):  # upper voices first where they meet
        assert note.pitch is not None
        step, alter = note.pitch
        plain = signature[step % 7]
        if alter != plain:
            found[step] = alter
        if not note.first:
            continue
        if state.get(step, plain) != alter:
            note.accidental = alter
            state[step] = alter
        elif courtesy and step not in state and altered.get(step, alter) != alter:
            note.accidental, note.courtesy = alter, True
            state[step] = alter
    return found


def beams(line: Line, bar: Bar, group: int, by_syllable: bool) -> list[list[Note]]:
    """Group the notes of a line: those that share a beam, the others alone.

    Args:
        line: Of a voice.
        bar: In which it is.
        group: Ticks that a beam may span.
        by_syllable: Whether a new syllable begins a new beam.
    """
    found: list[list[Note]] = []
    for note in line:
        joins = (
            bool(found)
            and _has_flag(note)
            and _has_flag(found[-1][-1])
            and (note.onset - bar.onset + bar.offset) // group
            == (found[-1][-1].onset - bar.onset + bar.offset) // group
            and not (by_syllable and note.sung)
        )
        if joins:
            found[-1].append(note)
        else:
            found.append([note])
    return found


def beam_group(metre: Metre, wide: bool) -> int:
    """Ticks that a beam may span."""
    if metre.compound:
        return metre.beat if metre.unit == 8 else metre.unit_ticks
    if metre.unit == 8:
        return metre.bar
    if wide and metre.unit == 4 and metre.beats % 2 == 0:
        return 2 * metre.beat
    return metre.beat


def _has_flag(note: Note) -> bool:
    return note.pitch is not None and VALUES[note.ticks][0] in ("8", "16")
