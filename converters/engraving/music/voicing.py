"""Sets chords for four voices: every way to set each, and the smoothest way through them all.

Laws are costs of :data:`BROKEN`: no parallel fifths, octaves or unisons, no hidden ones between
the outer voices when the upper leaps, no crossing and no overlap, leading tones rise, sevenths
fall, no augmented steps. Everything else is a small cost.

Shapes: C settings of a chord, D settings of the chord after it, V = 4 voices, soprano first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from converters.engraving.music.chords import Chord, spells
from converters.engraving.music.keys import NATURAL, Pitch, Spelling, above

BROKEN = 1000.0
"""Cost of breaking a law."""
SOPRANO, ALTO, TENOR, BASS = range(4)
TUTTI = (SOPRANO, ALTO, TENOR, BASS)
KEPT = 56
"""Settings of a chord that are considered, at most."""

Ints = NDArray[np.int16]
Costs = NDArray[np.float32]

_PAIRS = tuple(combinations(range(4), 2))
_SILENT = -1


@dataclass(frozen=True, slots=True)
class Setting:
    """What the voices may do; the same for a whole piece."""

    lowest: tuple[int, int, int, int] = (62, 55, 48, 40)
    """Lowest note of each voice, soprano first; MIDI numbers."""
    highest: tuple[int, int, int, int] = (79, 74, 67, 62)
    spacing: tuple[int, int, int] = (12, 12, 19)
    """Semitones between neighbours, at most: soprano and alto, alto and tenor, tenor and bass."""
    span: int = 99
    """Semitones between soprano and tenor, at most."""
    unisons: bool = True
    """Whether two voices may have the same note."""
    voices: tuple[int, ...] = TUTTI
    """Which voices sing; the lowest of them has the bass."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Voicings:
    """The ways to set one chord."""

    steps: Ints
    """Diatonic steps, ``(C, V)``."""
    midi: Ints
    """MIDI numbers, ``(C, V)``; -1 for a voice that is silent."""
    tones: Ints
    """Which tone of the chord each voice has, ``(C, V)``."""
    perfect: NDArray[np.int32]
    """A bit for each pair of voices that is a fifth apart, and one for octaves, ``(C,)``."""
    cost: Costs
    """How good each is by itself, ``(C,)``."""

    def pitches(self, row: int) -> tuple[Pitch | None, ...]:
        """The notes of one setting, soprano first."""
        return tuple(
            None if midi < 0 else Pitch(step, midi - 12 * (step // 7 + 1) - NATURAL[step % 7])
            for step, midi in zip(self.steps[row].tolist(), self.midi[row].tolist(), strict=True)
        )


@lru_cache(maxsize=4096)
def voicings(chord: Chord, setting: Setting) -> Voicings:
    """Every way to set a chord that breaks no law, the best :data:`KEPT` of them."""
    midi, tones, steps = _combinations(chord, setting)
    kept = _lawful(midi, tones, chord, setting)
    midi, tones, steps = midi[kept], tones[kept], steps[kept]
    cost = _own_cost(midi, tones, chord, setting)
    best = np.sort(_spread(midi[:, min(setting.voices)], cost))
    midi, tones, steps, cost = midi[best], tones[best], steps[best], cost[best]
    return Voicings(
        steps=steps, midi=midi, tones=tones, perfect=_perfect(midi), cost=cost.astype(np.float32)
    )


@lru_cache(maxsize=6000)
def moves(first: Chord, first_setting: Setting, second: Chord, second_setting: Setting) -> Costs:
    """Cost of going from each setting of a chord to each of the next, shape ``(C, D)``."""
    a, b = voicings(first, first_setting), voicings(second, second_setting)
    both = [v for v in first_setting.voices if v in second_setting.voices]
    cost = np.zeros((len(a.cost), len(b.cost)), np.float32)
    if not both:
        return cost
    semitones = (b.midi[None, :, :] - a.midi[:, None, :]).astype(np.int64)  # (C, D, V)
    steps = (b.steps[None, :, :] - a.steps[:, None, :]).astype(np.int64)
    for voice in both:
        cost += _melodic_costs()[voice, steps[:, :, voice] + 24, semitones[:, :, voice] + 40]
        if first == second and voice != SOPRANO:  # the melody moves over a chord that stays
            cost += 2.0 * (semitones[:, :, voice] != 0)
    moved = sum((semitones[:, :, v] != 0).astype(np.int32) << v for v in both)
    common = a.perfect[:, None] & b.perfect[None, :]
    cost += BROKEN * ((common & _moved_pairs()[moved]) != 0)
    cost += _overlaps(a, b, both) + _hidden(a, b, semitones, both)
    cost += _tendencies(first, second, a, steps, semitones, both)
    for tone, other in _contradictions(first, second):
        cost += _false_relation(a.tones == tone, b.tones == other)
    return cost


def is_parallel(first: tuple[Pitch, Pitch], second: tuple[Pitch, Pitch]) -> bool:
    """Whether two voices, upper first, go on in fifths, octaves or unisons."""
    if first[0] == second[0] or first[1] == second[1]:
        return False
    gap = (first[0].midi - first[1].midi) % 12
    return gap in (0, 7) and gap == (second[0].midi - second[1].midi) % 12


def _combinations(chord: Chord, setting: Setting) -> tuple[Ints, Ints, Ints]:
    """All notes that the voices could have: MIDI numbers, tones and steps, each ``(C, V)``."""
    lowest = max(setting.voices)
    choices: list[list[tuple[int, int, int]]] = []
    for voice in range(4):
        if voice not in setting.voices:
            choices.append([(_SILENT, -1, 0)])
            continue
        wanted = (chord.bass,) if voice == lowest else range(len(chord.tones))
        choices.append(
            [
                (midi, tone, step)
                for tone in wanted
                for midi, step in _octaves(chord.tones[tone])
                if setting.lowest[voice] <= midi <= setting.highest[voice]
            ]
        )
    grid = np.indices([len(choice) for choice in choices]).reshape(4, -1)
    columns = [np.array(c, np.int16).reshape(-1, 3)[i] for c, i in zip(choices, grid, strict=True)]
    stacked = np.stack(columns, 1)  # (C, V, 3)
    return stacked[:, :, 0], stacked[:, :, 1], stacked[:, :, 2]


def _octaves(tone: Spelling) -> list[tuple[int, int]]:
    pitches = [Pitch(7 * octave + tone[0], tone[1]) for octave in range(1, 7)]
    return [(pitch.midi, pitch.step) for pitch in pitches]


def _lawful(midi: Ints, tones: Ints, chord: Chord, setting: Setting) -> NDArray[np.bool_]:
    """Which combinations are in order, near enough, complete, and double nothing they must not."""
    good = np.ones(len(midi), np.bool_)
    for upper, lower in pairwise(setting.voices):
        gap = midi[:, upper] - midi[:, lower]
        room = sum(setting.spacing[upper:lower]) if lower < BASS else setting.spacing[2]
        room = max(room, 16) if lower - upper > 1 else room
        good &= (gap >= (0 if setting.unisons else 1)) & (gap <= room)
    good &= midi[:, SOPRANO] - midi[:, TENOR] <= setting.span
    counts = np.stack([(tones == tone).sum(1) for tone in range(len(chord.tones))], 1)
    for tone in chord.rare:
        good &= counts[:, tone] <= 1
    needed = _needed(chord, len(setting.voices))
    return good & (counts[:, needed] > 0).all(1)


def _needed(chord: Chord, n_voices: int) -> list[int]:
    """Tones that must be there: all, but the fifth of a chord in root position can be missed."""
    tones = list(range(len(chord.tones)))
    if chord.has_seventh:
        if n_voices == 3:
            return [0, 1, 3] if chord.bass != 2 else [1, 2, 3]
        return tones if chord.bass else [0, 1, 3]
    if n_voices == 2:
        return [1] if chord.bass != 2 else [2]
    return [0, 1] if chord.bass == 0 else tones


def _own_cost(midi: Ints, tones: Ints, chord: Chord, setting: Setting) -> Costs:
    """Doubling, missing fifth, spacing, unisons and the ends of the ranges."""
    cost = np.zeros(len(midi), np.float32)
    counts = np.stack([(tones == tone).sum(1) for tone in range(len(chord.tones))], 1)
    cost += 0.5 * (counts[:, chord.doubled] < 2) + 0.5 * (counts[:, 1] > 1) * (chord.doubled != 1)
    cost += 1.6 * (counts[:, 2] == 0) + 2.0 * (counts.max(1) > 2)
    for upper, lower in pairwise(setting.voices):
        gap = (midi[:, upper] - midi[:, lower]).astype(np.float32)
        cost += 2.4 * (gap == 0)
        if lower < BASS:
            cost += 0.15 * np.maximum(gap - 9, 0)
    for voice in setting.voices:
        low, high = setting.lowest[voice], setting.highest[voice]
        middle, half = (low + high) / 2, max(high - low, 1) / 2
        cost += 1.2 * np.maximum(np.abs(midi[:, voice] - middle) / half - 0.55, 0)
    return cost


def _spread(top: Ints, cost: Costs) -> NDArray[np.int64]:
    """Rows of the best settings of every note of the upper voice."""
    order = np.argsort(cost, kind="stable")
    rank = np.zeros(len(order), np.float32)
    for note in np.unique(top):
        of_note = order[top[order] == note]
        rank[of_note] = np.arange(len(of_note))
    chosen = np.argsort(rank * 0.5 + cost, kind="stable")
    return chosen[:KEPT]


def _perfect(midi: Ints) -> NDArray[np.int32]:
    """Bits of the fifths (0-5) and octaves or unisons (6-11) between pairs of voices."""
    bits = np.zeros(len(midi), np.int32)
    for pair, (upper, lower) in enumerate(_PAIRS):
        sounding = (midi[:, upper] >= 0) & (midi[:, lower] >= 0)
        interval = (midi[:, upper] - midi[:, lower]) % 12
        bits |= (sounding & (interval == 7)).astype(np.int32) << pair
        bits |= (sounding & (interval == 0)).astype(np.int32) << (pair + 6)
    return bits


@lru_cache(maxsize=1)
def _moved_pairs() -> NDArray[np.int32]:
    """Bits of the pairs of which both voices move, by the bits of the voices that do."""
    table = np.zeros(16, np.int32)
    for moved in range(16):
        for pair, (upper, lower) in enumerate(_PAIRS):
            if moved >> upper & 1 and moved >> lower & 1:
                table[moved] |= (1 << pair) | (1 << (pair + 6))
    return table


@lru_cache(maxsize=1)
def _melodic_costs() -> Costs:
    """Cost of a voice's step, by voice, diatonic steps + 24 and semitones + 40."""
    table = np.full((4, 49, 81), BROKEN, np.float32)
    # Steps, semitones, cost in the soprano, the inner voices, the bass.
    allowed = (
        (0, 0, 0.7, 0.0, 0.5),
        (0, 1, 0.6, 0.4, 0.3),
        (1, 1, 0.0, 0.2, 0.1),
        (1, 2, 0.0, 0.2, 0.1),
        (2, 3, 0.5, 0.6, 0.4),
        (2, 4, 0.5, 0.6, 0.4),
        (3, 5, 1.0, 1.5, 0.4),
        (4, 7, 1.8, 2.6, 0.6),
        (3, 4, 3.0, 3.0, 1.5),
        (4, 6, 2.5, 3.0, 1.2),
        (5, 8, 2.6, 5.0, 2.0),
        (5, 9, 3.2, 6.0, 2.5),
        (7, 12, 4.0, 8.0, 1.5),
    )
    for steps, semitones, soprano, inner, bass in allowed:
        for sign in (1, -1):
            at = (slice(None), sign * steps + 24, sign * semitones + 40)
            table[at] = (soprano, inner, inner, bass)
    table[:, 24 - 2, 40 - 2] = 0.8  # a diminished third down, from the Neapolitan
    return table


def _overlaps(a: Voicings, b: Voicings, both: Sequence[int]) -> Costs:
    """A voice goes beyond where its neighbour just was."""
    found = np.zeros((len(a.cost), len(b.cost)), np.bool_)
    for upper, lower in pairwise(both):
        found |= b.midi[None, :, lower] > a.midi[:, None, upper]
        found |= b.midi[None, :, upper] < a.midi[:, None, lower]
    return found * np.float32(BROKEN)


def _hidden(a: Voicings, b: Voicings, semitones: NDArray[np.int64], both: Sequence[int]) -> Costs:
    """Outer voices reach a fifth or an octave in the same direction, the upper one by a leap."""
    if len(both) < 2:
        return np.zeros(semitones.shape[:2], np.float32)
    top, low = semitones[:, :, both[0]], semitones[:, :, both[-1]]
    interval = (b.midi[:, both[0]] - b.midi[:, both[-1]]) % 12
    perfect = (interval == 0) | (interval == 7)
    same = (top * low > 0) & perfect[None, :]
    found: Costs = (same & (np.abs(top) > 2)) * np.full(1, BROKEN, np.float32)
    if len(both) == 4:  # all four the same way is never good
        found = found + ((semitones > 0).all(2) | (semitones < 0).all(2)) * np.float32(3.0)
    return found


def _tendencies(
    first: Chord,
    second: Chord,
    a: Voicings,
    steps: NDArray[np.int64],
    semitones: NDArray[np.int64],
    both: Sequence[int],
) -> Costs:
    """Leading tones rise and sevenths fall, where the next chord has the note they go to."""
    cost = np.zeros(steps.shape[:2], np.float32)
    if first.rising is not None and above(first.tones[first.rising], 1, 1) in second.tones:
        stays = first.tones[first.rising] in second.tones
        for voice in both:
            rises = (steps[:, :, voice] == 1) & (semitones[:, :, voice] == 1)
            falls = (steps[:, :, voice] == -2) & (voice in (ALTO, TENOR))
            wrong = np.where(falls, 2.0, 1.0 if stays else BROKEN)
            good = rises | (steps[:, :, voice] == 0)
            has = (a.tones[:, voice] == first.rising)[:, None]
            cost += has * np.where(good, 0.0, wrong)
    if first.has_seventh:
        below = [tone for tone in second.tones if (first.tones[3][0] - tone[0]) % 7 == 1]
        stays = first.tones[3] in second.tones
        penalty = BROKEN if below and not stays else 1.0
        for voice in both:
            good = (steps[:, :, voice] == -1) | (steps[:, :, voice] == 0)
            cost += (a.tones[:, voice] == 3)[:, None] * np.where(good, 0.0, penalty)
    for voice in both if first.name in ("K64", "N6") else ():
        # The fourth and sixth of a cadence fall by step; a lowered second does not rise.
        good = (steps[:, :, voice] == -1) | (semitones[:, :, voice] == 0)
        good |= (first.name == "N6") & (semitones[:, :, voice] < 0)
        tense: NDArray[np.bool_] = a.tones[:, voice] < (2 if first.name == "K64" else 1)
        cost += tense[:, None] * np.where(good, 0.0, 3.0)
    return cost


@lru_cache(maxsize=8192)
def _contradictions(first: Chord, second: Chord) -> tuple[tuple[int, int], ...]:
    """Tones of two chords that have the same letter and another alteration."""
    return tuple(
        (i, j)
        for i, tone in enumerate(first.tones)
        for j, other in enumerate(second.tones)
        if spells(tone, other)
    )


def _false_relation(had: NDArray[np.bool_], has: NDArray[np.bool_]) -> Costs:
    """The altered note comes in another voice than the one that had the plain one."""
    same_voice = (had[:, None, :] & has[None, :, :]).any(2)
    needed = had.any(1, keepdims=True) & has.any(1, keepdims=True).T
    return np.where(needed & ~same_voice, np.float32(4.0), np.float32(0.0))


def smoothest(chords: Sequence[tuple[Chord, Setting]], wishes: Sequence[Costs]) -> list[int]:
    """Find the settings of a row of chords that cost the least together.

    Args:
        chords: Each chord, and what the voices may do there.
        wishes: A further cost of each setting of each chord, each ``(C,)``.

    Returns:
        For each chord the number of its setting in :func:`voicings`.
    """
    if not chords:
        return []
    found = [voicings(chord, setting) for chord, setting in chords]
    total = found[0].cost + wishes[0]
    back: list[NDArray[np.int64]] = []
    for i in range(1, len(chords)):
        reached = total[:, None] + moves(*chords[i - 1], *chords[i])
        best = reached.argmin(0)
        back.append(best)
        total = reached[best, np.arange(reached.shape[1])] + found[i].cost + wishes[i]
    rows = [int(total.argmin())]
    for best in reversed(back):
        rows.append(int(best[rows[-1]]))
    return rows[::-1]


def broken_at(chords: Sequence[tuple[Chord, Setting]], rows: Sequence[int]) -> list[int]:
    """Numbers of the chords to which a law is broken, with the settings of :func:`smoothest`."""
    return [
        i
        for i in range(1, len(chords))
        if moves(*chords[i - 1], *chords[i])[rows[i - 1], rows[i]] >= BROKEN
    ]
