"""Figuration: passing notes, neighbour notes and suspensions between chords.

A figure is rejected if it creates parallel fifths or octaves between two consecutive sonorities,
crosses a voice, or clashes with another alteration of the same letter.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from converters.engraving.music.harmonisation import Sonority
from converters.engraving.music.keys import Key, Pitch
from converters.engraving.music.metres import QUARTER, VALUES, Metre
from converters.engraving.music.plans import Plan
from converters.engraving.music.styles import MusicStyle
from converters.engraving.music.voicing import BASS, SOPRANO, VoicingRules, is_parallel


@dataclass(slots=True)
class VoiceEvent:
    """Part of a voice with a constant pitch."""

    ticks: int
    pitch: Pitch | None
    """Pitch of the note; None for silence."""
    held: bool = False
    """Whether it is tied to the previous event."""


Part = list[VoiceEvent]
"""Events of one voice during one chord."""


def decorate(
    rng: random.Random, sonorities: Sequence[Sonority], plan: Plan, free: Sequence[int]
) -> list[list[Part]]:
    """Ornament the voices.

    Args:
        rng: Random number generator.
        sonorities: Chords of the piece.
        plan: Plan of the piece; its style determines how frequent each figure is.
        free: Voices that may be ornamented; the others keep to the chords.

    Returns:
        Parts of each voice, one per sonority, soprano first.
    """
    parts = [[[VoiceEvent(s.slot.ticks, s.notes[voice])] for s in sonorities] for voice in range(4)]
    voices = _Voices(sonorities, parts, plan.rules)
    style = plan.style
    metres = [s.metre for s in plan.sections for p in s.phrases for _ in p.slots]
    for i in range(len(sonorities) - 1):
        if sonorities[i].phrase is not sonorities[i + 1].phrase:
            continue  # the last chord of a phrase is not ornamented
        metre = metres[i]
        for voice in rng.sample(free, len(free)):
            draw = rng.random()
            if voice != SOPRANO and draw < style.suspension and voices.suspend(i + 1, voice, metre):
                continue
            _fill(rng, voices, i, voice, metre, style)
    texted = len(plan.staves) == 4 and plan.n_verses > 0
    _hold(rng, parts, sonorities, style.holding, () if texted else free)
    return parts


def _hold(
    rng: random.Random,
    parts: list[list[Part]],
    sonorities: Sequence[Sonority],
    probability: float,
    free: Sequence[int],
) -> None:
    """Let lower voices hold notes instead of repeating them."""
    for voice in free:
        for i in range(1, len(sonorities)):
            before, here = sonorities[i - 1], sonorities[i]
            last, first = parts[voice][i - 1][-1], parts[voice][i][0]
            joined = before.phrase is here.phrase and last.pitch == first.pitch is not None
            joined = joined and len(parts[voice][i - 1]) == 1
            lighter = here.slot.weight < min(before.slot.weight, 3)
            if voice != SOPRANO and joined and lighter and rng.random() < probability:
                first.held = True


def _fill(
    rng: random.Random, voices: "_Voices", i: int, voice: int, metre: Metre, style: MusicStyle
) -> None:
    """Ornament the interval to the next note, if chosen at random and permitted by the rules."""
    note, following = voices.sonorities[i].notes[voice], voices.sonorities[i + 1].notes[voice]
    if note is None or following is None or len(voices.parts[voice][i]) > 1:
        return
    figure = _draw_figure(rng, voices.sonorities[i], note, following, style)
    if not figure:
        return
    shape = _shape(rng, metre, voices.sonorities[i].slot.ticks, len(figure), style.short)
    if shape is None:
        return
    part = [VoiceEvent(n, p) for n, p in zip(shape, (note, *figure), strict=True)]
    voices.replace(i, voice, part, clear=True)


def _draw_figure(
    rng: random.Random, sonority: Sonority, note: Pitch, following: Pitch, style: MusicStyle
) -> list[Pitch]:
    """Draw passing notes, a neighbour note or another chord tone between two notes."""
    by = following.step - note.step
    if abs(by) <= 1 and rng.random() < style.skips:
        return _skip(rng, sonority, note, following)
    probability = {2: style.passing, 3: style.passing * 0.3, 0: style.neighbour}.get(abs(by), 0.0)
    if rng.random() >= probability:
        return []
    if by == 0:
        return _spell(sonority.key, note, [note.step + rng.choice((-1, -1, 1))], following)
    direction = 1 if by > 0 else -1
    steps = range(note.step + direction, following.step, direction)
    return _spell(sonority.key, note, steps, following)


def _skip(rng: random.Random, sonority: Sonority, note: Pitch, following: Pitch) -> list[Pitch]:
    """Draw another chord tone near both notes, unless the note must be resolved."""
    chord = sonority.chord
    free = [tone for i, tone in enumerate(chord.tones) if i not in chord.rare]
    if note.spelling not in free:
        return []
    near = [
        Pitch(step, alter)
        for letter, alter in free
        for step in range(note.step - 3, note.step + 4)
        if step % 7 == letter and abs(step - note.step) >= 2
    ]
    fitting = [
        pitch
        for pitch in near
        if abs(pitch.step - following.step) <= 3
        and _is_singable(note, pitch)
        and _is_singable(pitch, following)
    ]
    return [rng.choice(fitting)] if fitting else []


def _is_singable(first: Pitch, second: Pitch) -> bool:
    """Check that an interval is neither a tritone nor an augmented second."""
    steps, semitones = abs(first.step - second.step), abs(first.midi - second.midi)
    return semitones < 6 and not (steps == 1 and semitones == 3)


def _shape(
    rng: random.Random, metre: Metre, ticks: int, n_added: int, short: float
) -> tuple[int, ...] | None:
    """Divide a note into itself and the added notes, in ticks; None if it is too short."""
    if _has_three_parts(metre, ticks):
        parts = (2, 1) if n_added == 1 else (1, 1, 1)
    elif _is_plain(metre, ticks):
        dotted = n_added == 1 and rng.random() < short
        parts = (3, 1) if dotted else (1, 1) if n_added == 1 else (2, 1, 1)
    else:
        return None
    unit, rest = divmod(ticks, sum(parts))
    shortest = QUARTER // 4 if rng.random() < short and ticks >= QUARTER else QUARTER // 2
    lengths = tuple(part * unit for part in parts)
    good = rest == 0 and unit >= shortest and all(n in VALUES for n in lengths)
    return lengths if good else None


def _is_plain(metre: Metre, ticks: int) -> bool:
    """Check that a length is halved where the metre would halve it."""
    if metre.compound:
        return ticks in (metre.unit_ticks, 2 * metre.unit_ticks)
    return ticks % metre.beat == 0 or metre.beat % ticks == 0


def _has_three_parts(metre: Metre, ticks: int) -> bool:
    """Check that a length is three beats, one and a half beats, or a beat of three parts."""
    if metre.compound:
        return ticks == metre.beat
    return ticks * 2 in (3 * metre.beat, 6 * metre.beat)


def _spell(key: Key, note: Pitch, steps: Sequence[int], following: Pitch) -> list[Pitch]:
    """Spell notes between two others in whole and half steps; empty if that is impossible."""
    spelled: list[Pitch] = []
    for i, step in enumerate(steps):
        before = spelled[-1] if spelled else note
        after = following if i == len(steps) - 1 else None
        plain = key.diatonic(step)
        options = [plain]
        if key.mode == "minor" and (step - key.tonic) % 7 in (5, 6):
            options.append(Pitch(step, plain.alter + 1))
        if before.step == following.step and (step - key.tonic) % 7 == 6:
            options.reverse()  # the leading tone below the tonic
        fitting = [
            p
            for p in options
            if abs(p.alter) <= 2
            and _is_step(before, p)
            and (after is None or abs(after.step - p.step) > 1 or _is_step(p, after))
        ]
        if not fitting:
            return []
        spelled.append(fitting[0])
    if len(steps) > 1 and not _is_step(spelled[-1], following):
        return []
    return spelled


def _is_step(first: Pitch, second: Pitch) -> bool:
    return first.step != second.step and abs(first.midi - second.midi) in (1, 2)


class _Voices:
    """Current state of the four voices, which rejects changes that break a rule."""

    def __init__(
        self, sonorities: Sequence[Sonority], parts: list[list[Part]], rules: VoicingRules
    ) -> None:
        self.sonorities = sonorities
        self.rules = rules
        self.parts = parts

    def replace(self, i: int, voice: int, part: Part, *, clear: bool = False) -> bool:
        """Replace a part unless that breaks a rule; ``clear`` also avoids clashes of figures."""
        low, high = self.rules.lowest[voice], self.rules.highest[voice]
        if not all(event.pitch and low <= event.pitch.midi <= high for event in part):
            return False
        old = self.parts[voice][i]
        self.parts[voice][i] = part
        if self._is_permitted(i, voice) and not (clear and self._clashes(i, voice)):
            return True
        self.parts[voice][i] = old
        return False

    def suspend(self, i: int, voice: int, metre: Metre) -> bool:
        """Hold the previous note over into chord ``i``, if that makes a proper suspension."""
        before, here = self.sonorities[i - 1], self.sonorities[i]
        held, goal = before.notes[voice], here.notes[voice]
        if held is None or goal is None or len(self.parts[voice][i - 1]) > 1:
            return False
        if held.step - goal.step != 1 or not _is_step(held, goal):
            return False
        if here.slot.weight < 2 or here.slot.weight < before.slot.weight - 1:
            return False
        if before.slot.ticks < here.slot.ticks // 2 or here.slot.ticks * 3 < metre.beat * 2:
            return False
        if not _is_dissonant(held, goal, here.notes, voice):
            return False
        ticks = here.slot.ticks
        if self._next_is_new_phrase(i) and ticks > metre.beat:
            first = metre.beat
        else:
            first = ticks * 2 // 3 if _has_three_parts(metre, ticks) else ticks // 2
        return self.replace(
            i, voice, [VoiceEvent(first, held, held=True), VoiceEvent(ticks - first, goal)]
        )

    def _next_is_new_phrase(self, i: int) -> bool:
        following = self.sonorities[i + 1 : i + 2]
        return not following or following[0].phrase is not self.sonorities[i].phrase

    def _is_permitted(self, i: int, voice: int) -> bool:
        """Check the current part of a voice at ``i`` against the other voices."""
        first, last = max(i - 1, 0), min(i + 1, len(self.sonorities) - 1)
        line = self._onsets(voice, first, last)
        for other in range(4):
            if other == voice:
                continue
            other_line = self._onsets(other, first, last)
            upper, lower = (line, other_line) if voice < other else (other_line, line)
            if not _are_compatible(upper, lower):
                return False
        return True

    def _clashes(self, i: int, voice: int) -> bool:
        """Check whether added notes are too close to another voice or dissonant with its figure."""
        line = self._onsets(voice, i, i)
        for other in range(4):
            other_line = self._onsets(other, i, i)
            added = {onset for onset, _ in other_line[1:]}
            for onset, pitch in line[1:] if other != voice else ():
                sounding = [p for at, p in other_line if at <= onset][-1]
                if pitch is None or sounding is None:
                    continue
                gap = abs(pitch.midi - sounding.midi)
                if gap < 3 or (onset in added and gap % 12 not in (0, 3, 4, 7, 8, 9)):
                    return True
        return False

    def _onsets(self, voice: int, first: int, last: int) -> list[tuple[int, Pitch | None]]:
        """List the onsets and pitches of a voice from one sonority to another, inclusive."""
        onsets: list[tuple[int, Pitch | None]] = []
        for i in range(first, last + 1):
            onset = self.sonorities[i].slot.onset
            for event in self.parts[voice][i]:
                onsets.append((onset, event.pitch))
                onset += event.ticks
        return onsets


def _is_dissonant(held: Pitch, goal: Pitch, notes: Sequence[Pitch | None], voice: int) -> bool:
    """Check that a held note forms a fourth, seventh or ninth to resolve, and is not doubled."""
    others = [p for v, p in enumerate(notes) if v != voice and p is not None]
    bass = notes[BASS]
    if bass is None:
        return False
    if any(p.step % 7 == held.step % 7 for p in others):
        return False
    if voice == BASS:
        return any((p.midi - held.midi) % 12 in (1, 2) for p in others)
    doubled = [p for p in others if p.step % 7 == goal.step % 7]
    interval = (held.midi - bass.midi) % 12
    if interval in (1, 2):
        return doubled == [bass] and held.midi - bass.midi > 12
    return interval in (5, 10, 11) and not doubled


def _are_compatible(
    upper: Sequence[tuple[int, Pitch | None]],
    lower: Sequence[tuple[int, Pitch | None]],
) -> bool:
    """Check that two voices do not cross, clash, or move in parallel fifths or octaves."""
    previous: tuple[Pitch, Pitch] | None = None
    for high, low in _simultaneous(upper, lower):
        if high is None or low is None:
            previous = None
            continue
        gap = high.midi - low.midi
        if gap < 0:
            return False
        if high.step % 7 == low.step % 7 and high.alter != low.alter:
            return False
        if previous is not None and is_parallel(previous, (high, low)):
            return False
        previous = (high, low)
    return True


def _simultaneous(
    upper: Sequence[tuple[int, Pitch | None]], lower: Sequence[tuple[int, Pitch | None]]
) -> Iterator[tuple[Pitch | None, Pitch | None]]:
    """Yield the pitches of two voices at every onset of either voice."""
    i = j = 0
    while True:
        yield upper[i][1], lower[j][1]
        following = [
            voice[at + 1][0] for voice, at in ((upper, i), (lower, j)) if at + 1 < len(voice)
        ]
        if not following:
            return
        onset = min(following)
        i += i + 1 < len(upper) and upper[i + 1][0] == onset
        j += j + 1 < len(lower) and lower[j + 1][0] == onset
