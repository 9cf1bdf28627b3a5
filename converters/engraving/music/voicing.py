"""Four-part voicing: the voicings of each chord, and the smoothest sequence of voicings.

Breaking a rule costs :data:`BROKEN`: parallel fifths, octaves or unisons, hidden ones between the
outer voices when the upper leaps, crossing or overlapping voices, leading tones that do not rise,
sevenths that do not fall, augmented steps. Everything else costs little.

Shapes: C voicings of a chord, D voicings of the next chord, V = 4 voices, soprano first.
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
"""Cost of breaking a rule."""
SOPRANO, ALTO, TENOR, BASS = range(4)
TUTTI = (SOPRANO, ALTO, TENOR, BASS)
KEPT = 56
"""Maximum number of voicings considered per chord."""

Ints = NDArray[np.int16]
Costs = NDArray[np.float32]

_PAIRS = tuple(combinations(range(4), 2))
_SILENT = -1


@dataclass(frozen=True, slots=True)
class VoicingRules:
    """Ranges and spacing of the voices."""

    lowest: tuple[int, int, int, int] = (62, 55, 48, 40)
    """Lowest note of each voice as MIDI numbers, soprano first."""
    highest: tuple[int, int, int, int] = (79, 74, 67, 62)
    """Highest note of each voice as MIDI numbers, soprano first."""
    spacing: tuple[int, int, int] = (12, 12, 19)
    """Largest distance in semitones between soprano and alto, alto and tenor, tenor and bass."""
    span: int = 99
    """Largest distance in semitones between soprano and tenor."""
    unisons: bool = True
    """Whether two voices may share a note."""
    voices: tuple[int, ...] = TUTTI
    """Voices that sing; the lowest of them has the bass."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Voicings:
    """Voicings of one chord."""

    steps: Ints
    """Diatonic steps, shape ``(C, V)``."""
    midi: Ints
    """MIDI numbers, -1 for a silent voice, shape ``(C, V)``."""
    tones: Ints
    """Index of each voice's chord tone, shape ``(C, V)``."""
    perfect: NDArray[np.int32]
    """Bit set of the pairs of voices that form fifths or octaves, shape ``(C,)``."""
    cost: Costs
    """Cost of each voicing on its own, shape ``(C,)``."""

    def pitches(self, row: int) -> tuple[Pitch | None, ...]:
        """Return the notes of one voicing, soprano first."""
        return tuple(
            None if midi < 0 else Pitch(step, midi - 12 * (step // 7 + 1) - NATURAL[step % 7])
            for step, midi in zip(self.steps[row].tolist(), self.midi[row].tolist(), strict=True)
        )


@lru_cache(maxsize=4096)
def voicings(chord: Chord, rules: VoicingRules) -> Voicings:
    """List the voicings of a chord that break no rule, at most the best :data:`KEPT`."""
    midi, tones, steps = _combinations(chord, rules)
    kept = _permitted(midi, tones, chord, rules)
    midi, tones, steps = midi[kept], tones[kept], steps[kept]
    cost = _voicing_cost(midi, tones, chord, rules)
    best = np.sort(_spread(midi[:, min(rules.voices)], cost))
    midi, tones, steps, cost = midi[best], tones[best], steps[best], cost[best]
    return Voicings(
        steps=steps, midi=midi, tones=tones, perfect=_perfect(midi), cost=cost.astype(np.float32)
    )


@lru_cache(maxsize=6000)
def moves(
    first: Chord, first_rules: VoicingRules, second: Chord, second_rules: VoicingRules
) -> Costs:
    """Compute the cost of moving from each voicing of a chord to each of the next, ``(C, D)``."""
    a, b = voicings(first, first_rules), voicings(second, second_rules)
    both = [v for v in first_rules.voices if v in second_rules.voices]
    cost = np.zeros((len(a.cost), len(b.cost)), np.float32)
    if not both:
        return cost
    semitones = (b.midi[None, :, :] - a.midi[:, None, :]).astype(np.int64)  # (C, D, V)
    steps = (b.steps[None, :, :] - a.steps[:, None, :]).astype(np.int64)
    for voice in both:
        cost += _melodic_costs()[voice, steps[:, :, voice] + 24, semitones[:, :, voice] + 40]
        if first == second and voice != SOPRANO:  # only the melody moves over a repeated chord
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
    """Check whether two voices, upper first, move in parallel fifths, octaves or unisons."""
    if first[0] == second[0] or first[1] == second[1]:
        return False
    gap = (first[0].midi - first[1].midi) % 12
    return gap in (0, 7) and gap == (second[0].midi - second[1].midi) % 12


def _combinations(chord: Chord, rules: VoicingRules) -> tuple[Ints, Ints, Ints]:
    """Combine all notes in the voices' ranges to MIDI numbers, tones and steps, each ``(C, V)``."""
    lowest = max(rules.voices)
    choices: list[list[tuple[int, int, int]]] = []
    for voice in range(4):
        if voice not in rules.voices:
            choices.append([(_SILENT, -1, 0)])
            continue
        tones = (chord.bass,) if voice == lowest else range(len(chord.tones))
        choices.append(
            [
                (midi, tone, step)
                for tone in tones
                for midi, step in _octaves(chord.tones[tone])
                if rules.lowest[voice] <= midi <= rules.highest[voice]
            ]
        )
    grid = np.indices([len(choice) for choice in choices]).reshape(4, -1)
    columns = [np.array(c, np.int16).reshape(-1, 3)[i] for c, i in zip(choices, grid, strict=True)]
    stacked = np.stack(columns, 1)  # (C, V, 3)
    return stacked[:, :, 0], stacked[:, :, 1], stacked[:, :, 2]


def _octaves(tone: Spelling) -> list[tuple[int, int]]:
    pitches = [Pitch(7 * octave + tone[0], tone[1]) for octave in range(1, 7)]
    return [(pitch.midi, pitch.step) for pitch in pitches]


def _permitted(midi: Ints, tones: Ints, chord: Chord, rules: VoicingRules) -> NDArray[np.bool_]:
    """Select combinations that are ordered, close, complete, and without forbidden doublings."""
    good = np.ones(len(midi), np.bool_)
    for upper, lower in pairwise(rules.voices):
        gap = midi[:, upper] - midi[:, lower]
        room = sum(rules.spacing[upper:lower]) if lower < BASS else rules.spacing[2]
        room = max(room, 16) if lower - upper > 1 else room
        good &= (gap >= (0 if rules.unisons else 1)) & (gap <= room)
    good &= midi[:, SOPRANO] - midi[:, TENOR] <= rules.span
    counts = np.stack([(tones == tone).sum(1) for tone in range(len(chord.tones))], 1)
    for tone in chord.rare:
        good &= counts[:, tone] <= 1
    needed = _needed(chord, len(rules.voices))
    return good & (counts[:, needed] > 0).all(1)


def _needed(chord: Chord, n_voices: int) -> list[int]:
    """List the tones that must be present; a chord in root position may lack its fifth."""
    tones = list(range(len(chord.tones)))
    if chord.has_seventh:
        if n_voices == 3:
            return [0, 1, 3] if chord.bass != 2 else [1, 2, 3]
        return tones if chord.bass else [0, 1, 3]
    if n_voices == 2:
        return [1] if chord.bass != 2 else [2]
    return [0, 1] if chord.bass == 0 else tones


def _voicing_cost(midi: Ints, tones: Ints, chord: Chord, rules: VoicingRules) -> Costs:
    """Compute the cost of doublings, missing fifths, spacing, unisons and extreme ranges."""
    cost = np.zeros(len(midi), np.float32)
    counts = np.stack([(tones == tone).sum(1) for tone in range(len(chord.tones))], 1)
    cost += 0.5 * (counts[:, chord.doubled] < 2) + 0.5 * (counts[:, 1] > 1) * (chord.doubled != 1)
    cost += 1.6 * (counts[:, 2] == 0) + 2.0 * (counts.max(1) > 2)
    for upper, lower in pairwise(rules.voices):
        gap = (midi[:, upper] - midi[:, lower]).astype(np.float32)
        cost += 2.4 * (gap == 0)
        if lower < BASS:
            cost += 0.15 * np.maximum(gap - 9, 0)
    for voice in rules.voices:
        low, high = rules.lowest[voice], rules.highest[voice]
        middle, half = (low + high) / 2, max(high - low, 1) / 2
        cost += 1.2 * np.maximum(np.abs(midi[:, voice] - middle) / half - 0.55, 0)
    return cost


def _spread(top: Ints, cost: Costs) -> NDArray[np.int64]:
    """Select the rows of the best voicings, spread over the notes of the upper voice."""
    order = np.argsort(cost, kind="stable")
    rank = np.zeros(len(order), np.float32)
    for note in np.unique(top):
        of_note = order[top[order] == note]
        rank[of_note] = np.arange(len(of_note))
    chosen = np.argsort(rank * 0.5 + cost, kind="stable")
    return chosen[:KEPT]


def _perfect(midi: Ints) -> NDArray[np.int32]:
    """Compute bit sets of fifths (0-5) and octaves or unisons (6-11) between pairs of voices."""
    bits = np.zeros(len(midi), np.int32)
    for pair, (upper, lower) in enumerate(_PAIRS):
        sounding = (midi[:, upper] >= 0) & (midi[:, lower] >= 0)
        interval = (midi[:, upper] - midi[:, lower]) % 12
        bits |= (sounding & (interval == 7)).astype(np.int32) << pair
        bits |= (sounding & (interval == 0)).astype(np.int32) << (pair + 6)
    return bits


@lru_cache(maxsize=1)
def _moved_pairs() -> NDArray[np.int32]:
    """Map the bit set of moving voices to the bit set of pairs in which both voices move."""
    table = np.zeros(16, np.int32)
    for moved in range(16):
        for pair, (upper, lower) in enumerate(_PAIRS):
            if moved >> upper & 1 and moved >> lower & 1:
                table[moved] |= (1 << pair) | (1 << (pair + 6))
    return table


@lru_cache(maxsize=1)
def _melodic_costs() -> Costs:
    """Tabulate the cost of melodic intervals by voice, steps + 24 and semitones + 40."""
    table = np.full((4, 49, 81), BROKEN, np.float32)
    # Steps, semitones, and cost in the soprano, the inner voices and the bass.
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
    table[:, 24 - 2, 40 - 2] = 0.8  # a falling diminished third, from the Neapolitan
    return table


def _overlaps(a: Voicings, b: Voicings, both: Sequence[int]) -> Costs:
    """Penalise a voice that moves beyond the previous note of its neighbour."""
    overlaps = np.zeros((len(a.cost), len(b.cost)), np.bool_)
    for upper, lower in pairwise(both):
        overlaps |= b.midi[None, :, lower] > a.midi[:, None, upper]
        overlaps |= b.midi[None, :, upper] < a.midi[:, None, lower]
    return overlaps * np.float32(BROKEN)


def _hidden(a: Voicings, b: Voicings, semitones: NDArray[np.int64], both: Sequence[int]) -> Costs:
    """Penalise hidden fifths and octaves between the outer voices if the upper voice leaps."""
    if len(both) < 2:
        return np.zeros(semitones.shape[:2], np.float32)
    top, low = semitones[:, :, both[0]], semitones[:, :, both[-1]]
    interval = (b.midi[:, both[0]] - b.midi[:, both[-1]]) % 12
    perfect = (interval == 0) | (interval == 7)
    same = (top * low > 0) & perfect[None, :]
    cost: Costs = (same & (np.abs(top) > 2)) * np.full(1, BROKEN, np.float32)
    if len(both) == 4:  # all four voices in the same direction
        cost = cost + ((semitones > 0).all(2) | (semitones < 0).all(2)) * np.float32(3.0)
    return cost


def _tendencies(
    first: Chord,
    second: Chord,
    a: Voicings,
    steps: NDArray[np.int64],
    semitones: NDArray[np.int64],
    both: Sequence[int],
) -> Costs:
    """Penalise unresolved leading tones and sevenths, if the next chord has the resolution."""
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
        # The cadential fourth and sixth fall by step; the Neapolitan's root does not rise.
        good = (steps[:, :, voice] == -1) | (semitones[:, :, voice] == 0)
        good |= (first.name == "N6") & (semitones[:, :, voice] < 0)
        tense: NDArray[np.bool_] = a.tones[:, voice] < (2 if first.name == "K64" else 1)
        cost += tense[:, None] * np.where(good, 0.0, 3.0)
    return cost


@lru_cache(maxsize=8192)
def _contradictions(first: Chord, second: Chord) -> tuple[tuple[int, int], ...]:
    """Find tones of two chords with the same letter but different alterations."""
    return tuple(
        (i, j)
        for i, tone in enumerate(first.tones)
        for j, other in enumerate(second.tones)
        if spells(tone, other)
    )


def _false_relation(had: NDArray[np.bool_], has: NDArray[np.bool_]) -> Costs:
    """Penalise an altered note in a different voice from that of the unaltered one."""
    same_voice = (had[:, None, :] & has[None, :, :]).any(2)
    needed = had.any(1, keepdims=True) & has.any(1, keepdims=True).T
    return np.where(needed & ~same_voice, np.float32(4.0), np.float32(0.0))


def smoothest(chords: Sequence[tuple[Chord, VoicingRules]], wishes: Sequence[Costs]) -> list[int]:
    """Find the sequence of voicings with the least total cost.

    Args:
        chords: Chords with the rules for their voices.
        wishes: Additional cost of each voicing, each of shape ``(C,)``.

    Returns:
        Index of each chord's voicing in :func:`voicings`.
    """
    if not chords:
        return []
    candidates = [voicings(chord, rules) for chord, rules in chords]
    total = candidates[0].cost + wishes[0]
    back: list[NDArray[np.int64]] = []
    for i in range(1, len(chords)):
        reached = total[:, None] + moves(*chords[i - 1], *chords[i])
        best = reached.argmin(0)
        back.append(best)
        total = reached[best, np.arange(reached.shape[1])] + candidates[i].cost + wishes[i]
    rows = [int(total.argmin())]
    for best in reversed(back):
        rows.append(int(best[rows[-1]]))
    return rows[::-1]


def broken_at(chords: Sequence[tuple[Chord, VoicingRules]], rows: Sequence[int]) -> list[int]:
    """Find chords whose approach breaks a rule, for voicings chosen by :func:`smoothest`."""
    return [
        i
        for i in range(1, len(chords))
        if moves(*chords[i - 1], *chords[i])[rows[i - 1], rows[i]] >= BROKEN
    ]
