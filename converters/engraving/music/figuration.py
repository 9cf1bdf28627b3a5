"""Decorates the voices between their chords: passing and neighbour notes, suspensions.

Nothing is added that makes parallel fifths or octaves between two sonorities in a row, crosses a
voice, or clashes with another alteration of the same letter.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from converters.engraving.music.harmonisation import Sonority
from converters.engraving.music.keys import Key, Pitch
from converters.engraving.music.metres import QUARTER, VALUES, Metre
from converters.engraving.music.plans import Plan
from converters.engraving.music.styles import Style
from converters.engraving.music.voicing import BASS, SOPRANO, Setting, is_parallel


@dataclass(slots=True)
class Sound:
    """A part of a voice that has one pitch."""

    ticks: int
    pitch: Pitch | None
    """None for silence."""
    held: bool = False
    """Whether it goes on from the sound before."""


Part = list[Sound]
"""What one voice has during one chord."""


def decorate(
    rng: random.Random, sonorities: Sequence[Sonority], plan: Plan, free: Sequence[int]
) -> list[list[Part]]:
    """Decorate the voices.

    Args:
        rng: Source of chance.
        sonorities: Of the piece.
        plan: Of the piece; its style says how often what comes.
        free: Voices that may have figures; the others keep to the chords.

    Returns:
        The parts of each voice, soprano first, one for each sonority.
    """
    found = [[[Sound(s.slot.ticks, s.notes[voice])] for s in sonorities] for voice in range(4)]
    weave = _Weave(sonorities, found, plan.setting)
    style = plan.style
    metres = [s.metre for s in plan.sections for p in s.phrases for _ in p.slots]
    for i in range(len(sonorities) - 1):
        if sonorities[i].phrase is not sonorities[i + 1].phrase:
            continue  # what ends a phrase is left alone
        metre = metres[i]
        for voice in rng.sample(free, len(free)):
            draw = rng.random()
            if voice != SOPRANO and draw < style.suspension and weave.suspend(i + 1, voice, metre):
                continue
            _fill(rng, weave, i, voice, metre, style)
    texted = len(plan.staves) == 4 and plan.n_verses > 0
    _hold(rng, found, sonorities, style.holding, () if texted else free)
    return found


def _hold(
    rng: random.Random,
    parts: list[list[Part]],
    sonorities: Sequence[Sonority],
    share: float,
    free: Sequence[int],
) -> None:
    """Let lower voices hold notes that would be repeated."""
    for voice in free:
        for i in range(1, len(sonorities)):
            before, here = sonorities[i - 1], sonorities[i]
            last, first = parts[voice][i - 1][-1], parts[voice][i][0]
            joined = before.phrase is here.phrase and last.pitch == first.pitch is not None
            joined = joined and len(parts[voice][i - 1]) == 1
            lighter = here.slot.weight < min(before.slot.weight, 3)
            if voice != SOPRANO and joined and lighter and rng.random() < share:
                first.held = True


def _fill(
    rng: random.Random, weave: "_Weave", i: int, voice: int, metre: Metre, style: Style
) -> None:
    """Fill the way to the next note, if chance and the laws allow it."""
    note, following = weave.sonorities[i].notes[voice], weave.sonorities[i + 1].notes[voice]
    if note is None or following is None or len(weave.parts[voice][i]) > 1:
        return
    figure = _draw_figure(rng, weave.sonorities[i], note, following, style)
    if not figure:
        return
    shape = _shape(rng, metre, weave.sonorities[i].slot.ticks, len(figure), style.short)
    if shape is None:
        return
    part = [Sound(n, p) for n, p in zip(shape, (note, *figure), strict=True)]
    weave.replace(i, voice, part, clear=True)


def _draw_figure(
    rng: random.Random, sonority: Sonority, note: Pitch, following: Pitch, style: Style
) -> list[Pitch]:
    """Draw what comes between two notes: passing notes, a neighbour, another note of the chord."""
    by = following.step - note.step
    if abs(by) <= 1 and rng.random() < style.skips:
        return _skip(rng, sonority, note, following)
    share = {2: style.passing, 3: style.passing * 0.3, 0: style.neighbour}.get(abs(by), 0.0)
    if rng.random() >= share:
        return []
    if by == 0:
        return _spell(sonority.key, note, [note.step + rng.choice((-1, -1, 1))], following)
    direction = 1 if by > 0 else -1
    steps = range(note.step + direction, following.step, direction)
    return _spell(sonority.key, note, steps, following)


def _skip(rng: random.Random, sonority: Sonority, note: Pitch, following: Pitch) -> list[Pitch]:
    """Draw another note of the chord, near both notes; what must be resolved takes no part."""
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
    """Whether an interval is neither a tritone nor an augmented second."""
    steps, semitones = abs(first.step - second.step), abs(first.midi - second.midi)
    return semitones < 6 and not (steps == 1 and semitones == 3)


def _shape(
    rng: random.Random, metre: Metre, ticks: int, n_added: int, short: float
) -> tuple[int, ...] | None:
    """Ticks of a note and of what is added to it, or None if there is no room."""
    if _has_three_parts(metre, ticks):
        parts = (2, 1) if n_added == 1 else (1, 1, 1)
    elif _is_plain(metre, ticks):
        dotted = n_added == 1 and rng.random() < short
        parts = (3, 1) if dotted else (1, 1) if n_added == 1 else (2, 1, 1)
    else:
        return None
    unit, rest = divmod(ticks, sum(parts))
    shortest = QUARTER // 4 if rng.random() < short and ticks >= QUARTER else QUARTER // 2
    found = tuple(part * unit for part in parts)
    good = rest == 0 and unit >= shortest and all(n in VALUES for n in found)
    return found if good else None


def _is_plain(metre: Metre, ticks: int) -> bool:
    """Whether a length is halved where its metre would halve it."""
    if metre.compound:
        return ticks in (metre.unit_ticks, 2 * metre.unit_ticks)
    return ticks % metre.beat == 0 or metre.beat % ticks == 0


def _has_three_parts(metre: Metre, ticks: int) -> bool:
    """Whether a length is three beats, a beat and a half, or a beat of three parts."""
    if metre.compound:
        return ticks == metre.beat
    return ticks * 2 in (3 * metre.beat, 6 * metre.beat)


def _spell(key: Key, note: Pitch, steps: Sequence[int], following: Pitch) -> list[Pitch]:
    """Give notes between two others the alterations that make whole and half steps, or none."""
    found: list[Pitch] = []
    for i, step in enumerate(steps):
        before = found[-1] if found else note
        after = following if i == len(steps) - 1 else None
        plain = key.diatonic(step)
        options = [plain]
        if key.mode == "minor" and (step - key.tonic) % 7 in (5, 6):
            options.append(Pitch(step, plain.alter + 1))
        if before.step == following.step and (step - key.tonic) % 7 == 6:
            options.reverse()  # below the tonic, its leading tone
        fitting = [
            p
            for p in options
            if abs(p.alter) <= 2
            and _is_step(before, p)
            and (after is None or abs(after.step - p.step) > 1 or _is_step(p, after))
        ]
        if not fitting:
            return []
        found.append(fitting[0])
    if len(steps) > 1 and not _is_step(found[-1], following):
        return []
    return found


def _is_step(first: Pitch, second: Pitch) -> bool:
    return first.step != second.step and abs(first.midi - second.midi) in (1, 2)


class _Weave:
    """The voices as they are so far; refuses what breaks a law."""

    def __init__(
        self, sonorities: Sequence[Sonority], parts: list[list[Part]], setting: Setting
    ) -> None:
        self.sonorities = sonorities
        self.setting = setting
        self.parts = parts

    def replace(self, i: int, voice: int, part: Part, *, clear: bool = False) -> bool:
        """Put a part in a place, if nothing speaks against it; ``clear`` of the other voices."""
        low, high = self.setting.lowest[voice], self.setting.highest[voice]
        if not all(sound.pitch and low <= sound.pitch.midi <= high for sound in part):
            return False
        old = self.parts[voice][i]
        self.parts[voice][i] = part
        if self._lawful(i, voice) and not (clear and self._clashes(i, voice)):
            return True
        self.parts[voice][i] = old
        return False

    def suspend(self, i: int, voice: int, metre: Metre) -> bool:
        """Hold the note before over into chord ``i``, if it is a proper suspension."""
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
        return self.replace(i, voice, [Sound(first, held, held=True), Sound(ticks - first, goal)])

    def _next_is_new_phrase(self, i: int) -> bool:
        following = self.sonorities[i + 1 : i + 2]
        return not following or following[0].phrase is not self.sonorities[i].phrase

    def _lawful(self, i: int, voice: int) -> bool:
        """Whether a voice, as it now is at ``i``, goes with the others."""
        first, last = max(i - 1, 0), min(i + 1, len(self.sonorities) - 1)
        mine = self._sounds(voice, first, last)
        for other in range(4):
            if other == voice:
                continue
            theirs = self._sounds(other, first, last)
            upper, lower = (mine, theirs) if voice < other else (theirs, mine)
            if not _go_together(upper, lower):
                return False
        return True

    def _clashes(self, i: int, voice: int) -> bool:
        """Whether added notes come too near another voice, or meet added notes badly."""
        mine = self._sounds(voice, i, i)
        for other in range(4):
            theirs = self._sounds(other, i, i)
            added = {onset for onset, _ in theirs[1:]}
            for onset, pitch in mine[1:] if other != voice else ():
                sounding = [p for at, p in theirs if at <= onset][-1]
                if pitch is None or sounding is None:
                    continue
                gap = abs(pitch.midi - sounding.midi)
                if gap < 3 or (onset in added and gap % 12 not in (0, 3, 4, 7, 8, 9)):
                    return True
        return False

    def _sounds(self, voice: int, first: int, last: int) -> list[tuple[int, Pitch | None]]:
        """Onset and pitch of what a voice sings from one sonority to another."""
        found: list[tuple[int, Pitch | None]] = []
        for i in range(first, last + 1):
            onset = self.sonorities[i].slot.onset
            for sound in self.parts[voice][i]:
                found.append((onset, sound.pitch))
                onset += sound.ticks
        return found


def _is_dissonant(held: Pitch, goal: Pitch, notes: Sequence[Pitch | None], voice: int) -> bool:
    """Whether a held note makes a fourth, seventh or ninth that resolves, and doubles nothing."""
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


def _go_together(
    upper: Sequence[tuple[int, Pitch | None]],
    lower: Sequence[tuple[int, Pitch | None]],
) -> bool:
    """Whether two voices neither cross, clash nor run in fifths or octaves."""
    previous: tuple[Pitch, Pitch] | None = None
    for high, low in _together(upper, lower):
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


def _together(
    upper: Sequence[tuple[int, Pitch | None]], lower: Sequence[tuple[int, Pitch | None]]
) -> Iterator[tuple[Pitch | None, Pitch | None]]:
    """What two voices have at every onset of either."""
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
