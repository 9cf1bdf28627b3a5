"""From sounding events to notation: bars, tied values, accidentals and beams."""

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
    """A measure as written: a full bar or a part of one."""

    onset: int
    ticks: int
    section: Section
    number: int
    left: str = ""
    """MEI's ``left``: type of the barline before the measure, empty for the default."""
    right: str = ""
    """MEI's ``right``: type of the barline after the measure, empty for the default."""
    ending: str = ""
    """Number of the volta ending, if its section has two."""

    @property
    def offset(self) -> int:
        """Ticks from the start of the full bar to the start of the measure."""
        return (self.onset - self.section.onset) % self.section.metre.bar

    @property
    def whole(self) -> bool:
        """Whether the measure is a full bar."""
        return self.ticks == self.section.metre.bar


@dataclass(slots=True)
class Note:
    """One notehead, or one rest."""

    onset: int
    ticks: int
    pitch: Pitch | None
    """Pitch of the note; None for a rest."""
    chord: int
    """Index of the sonority in which the note starts to sound."""
    first: bool
    """Whether this is the first value of an event, not tied to a previous one."""
    last: bool
    """Whether this is the last value of an event, not tied to a following one."""
    sung: bool = False
    """Whether a syllable starts here."""
    accidental: int | None = None
    """Alteration printed before the note."""
    courtesy: bool = False
    """Whether the accidental is a courtesy accidental."""
    whole_bar: bool = False
    """Whether this is a whole-bar rest."""
    number: int = field(default=0)
    """Number of the note in the piece; 0 if not assigned yet."""


Line = list[Note]
"""Notes and rests of one voice in one bar."""


def bars_of(plan: Plan) -> list[Bar]:
    """Lay out the bars of a piece; section boundaries divide the bar of an upbeat."""
    bars: list[Bar] = []
    number = 0
    for section in plan.sections:
        length, onset = section.metre.bar, section.onset
        starts = [onset + n * length for n in range(section.n_bars)]
        if section.pickup:
            starts.insert(0, onset - section.pickup)
        for start, end in pairwise([*starts, section.end]):
            number += start >= onset
            bars.append(Bar(onset=start, ticks=end - start, section=section, number=number))
        is_first, is_last = section is plan.sections[0], section is plan.sections[-1]
        opening = bars[-len(starts)]
        if section.repeated and not is_first:
            bars[-len(starts)] = replace(opening, left="rptstart")
        right = "rptend" if section.repeated else "end" if is_last else "dbl"
        bars[-1] = replace(bars[-1], right=right)
    return bars


def write_voice(
    parts: Sequence[Part], sonorities: Sequence[Sonority], bars: Sequence[Bar]
) -> list[Line]:
    """Write a voice bar by bar.

    Args:
        parts: Events of the voice during each sonority.
        sonorities: Sonorities of the piece.
        bars: Bars of the piece.

    Returns:
        A line per bar, whose values fill the bar.
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
        lines.append(_with_bar_rest(line, bar))
    return lines


def _events(parts: Sequence[Part], sonorities: Sequence[Sonority]) -> list[Note]:
    """List the notes and rests of a voice, undivided."""
    events: list[Note] = []
    for i, (part, sonority) in enumerate(zip(parts, sonorities, strict=True)):
        onset = sonority.slot.onset
        sung = True
        for event in part:
            sung = sung and event.pitch is not None
            repeats = events and events[-1].pitch == event.pitch
            if repeats and (event.held or event.pitch is None):
                events[-1].ticks += event.ticks
            else:
                events.append(Note(onset, event.ticks, event.pitch, i, True, True, sung))
                sung = False
            onset += event.ticks
    return events


def _values(event: Note, bar: Bar) -> Line:
    """Divide the part of an event that is within a bar into values that can be written."""
    start = max(event.onset, bar.onset)
    end = min(event.onset + event.ticks, bar.onset + bar.ticks)
    at = start - bar.onset + bar.offset
    divide = rests if event.pitch is None else written
    line: Line = []
    for ticks in divide(bar.section.metre, at, end - start):
        first = start == event.onset
        last = start + ticks == event.onset + event.ticks
        line.append(Note(start, ticks, event.pitch, event.chord, first, last, event.sung and first))
        start += ticks
    return line


def _with_bar_rest(line: Line, bar: Bar) -> Line:
    """Replace the rests of a silent bar by a single whole-bar rest."""
    if bar.whole and all(note.pitch is None for note in line):
        return [Note(bar.onset, bar.ticks, None, line[0].chord, True, True, whole_bar=True)]
    return line


def with_endings(bars: Sequence[Bar], voices: Sequence[list[Line]]) -> list[Bar]:
    """Duplicate the last bar of sections with two endings, as first and second ending.

    Args:
        bars: Bars of the piece.
        voices: Lines of each voice, one per bar; the second endings are inserted in place.

    Returns:
        Bars including the second endings.
    """
    written_bars: list[Bar] = []
    added = 0
    for bar in bars:
        at = len(written_bars)
        bar = replace(bar, number=bar.number + added)
        is_last = bar.onset + bar.ticks == bar.section.end
        tied = any(not voice[at][0].first for voice in voices)
        if not (is_last and bar.section.two_endings) or tied:
            written_bars.append(bar)
            continue
        final = "end" if bar.section.end == bars[-1].section.end else "dbl"
        written_bars.append(replace(bar, ending="1"))
        written_bars.append(replace(bar, ending="2", number=bar.number + 1, right=final, left=""))
        added += 1
        for voice in voices:
            voice.insert(at + 1, [replace(note) for note in voice[at]])
            _shorten(voice[at], bar)
    return written_bars


def _shorten(line: Line, bar: Bar) -> None:
    """Replace the end of a bar's only note by a rest, in place."""
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
        lines: Lines of the voices on the staff, upper first; modified in place.
        key: Key whose signature is in force.
        altered: Alteration in the previous bar, by step.
        courtesy: Whether to print courtesy accidentals for alterations in the previous bar.

    Returns:
        Alteration in this bar, by step.
    """
    signature = key.signature
    state: dict[int, int] = {}
    altered_here: dict[int, int] = {}
    notes = [n for line in lines for n in line if n.pitch is not None]
    for note in sorted(notes, key=lambda n: n.onset):  # upper voices first at equal onsets
        assert note.pitch is not None
        step, alter = note.pitch
        plain = signature[step % 7]
        if alter != plain:
            altered_here[step] = alter
        if not note.first:
            continue
        if state.get(step, plain) != alter:
            note.accidental = alter
            state[step] = alter
        elif courtesy and step not in state and altered.get(step, alter) != alter:
            note.accidental, note.courtesy = alter, True
            state[step] = alter
    return altered_here


def beams(line: Line, bar: Bar, group: int, by_syllable: bool) -> list[list[Note]]:
    """Group the notes of a line by beam; unbeamed notes form groups of one.

    Args:
        line: Line of a voice.
        bar: Bar of the line.
        group: Largest span of a beam in ticks.
        by_syllable: Whether a new syllable starts a new beam.
    """
    groups: list[list[Note]] = []
    for note in line:
        joins = (
            bool(groups)
            and _has_flag(note)
            and _has_flag(groups[-1][-1])
            and (note.onset - bar.onset + bar.offset) // group
            == (groups[-1][-1].onset - bar.onset + bar.offset) // group
            and not (by_syllable and note.sung)
        )
        if joins:
            groups[-1].append(note)
        else:
            groups.append([note])
    return groups


def beam_group(metre: Metre, wide: bool) -> int:
    """Return the largest span of a beam in ticks."""
    if metre.compound:
        return metre.beat if metre.unit == 8 else metre.unit_ticks
    if metre.unit == 8:
        return metre.bar
    if wide and metre.unit == 4 and metre.beats % 2 == 0:
        return 2 * metre.beat
    return metre.beat


def _has_flag(note: Note) -> bool:
    return note.pitch is not None and VALUES[note.ticks][0] in ("8", "16")
