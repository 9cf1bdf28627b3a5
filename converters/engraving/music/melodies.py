"""Melodies: a soprano line over given chords, to which the other voices are added.

Shapes: N notes available to the soprano over one chord, at most :data:`KEPT`.
"""

import math
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.engraving.music.chords import Chord
from converters.engraving.music.keys import Pitch, semitone

KEPT = 9
"""Maximum number of notes considered over a chord."""
Floats = NDArray[np.float32]


def draw_contour(rng: random.Random, n: int) -> list[float]:
    """Draw the contour of a phrase as ``n`` heights in steps above the middle of the range."""
    height = rng.uniform(1.5, 3.5)
    kind = rng.choice(("arch", "arch", "fall", "rise", "wave", "valley"))
    places = [i / max(n - 1, 1) for i in range(n)]
    shapes = {
        "arch": [math.sin(math.pi * min(x * 1.15, 1)) * 1.6 - 0.8 for x in places],
        "fall": [1 - 2 * x for x in places],
        "rise": [1.6 * min(x * 1.3, 1) - 0.8 - max(0, x - 0.8) * 4 for x in places],
        "wave": [math.sin(2 * math.pi * x) for x in places],
        "valley": [0.8 - 1.6 * math.sin(math.pi * x) for x in places],
    }
    return [height * y for y in shapes[kind]]


def draw_melody(
    rng: random.Random,
    chords: Sequence[Chord],
    contour: Sequence[float],
    *,
    middle: int,
    closing: Sequence[int],
) -> list[Pitch]:
    """Draw a singable line over chords.

    Args:
        rng: Random number generator.
        chords: Chords of a phrase.
        contour: Target height of each note, in steps above ``middle``.
        middle: Step around which the line moves.
        closing: Tones of the last chord on which the line may end, best first; 0 is the root.

    Returns:
        A note per chord.
    """
    if not chords:
        return []
    notes = [_notes(chord, middle) for chord in chords]
    cost = [
        (0.1 * (n[0] - middle - y) ** 2 + _noise(rng, len(n[0]))).astype(np.float32)
        for n, y in zip(notes, contour, strict=True)
    ]
    cost[0] += 1.5 * (notes[0][2] == 3)
    cost[-1] += _closing_cost(notes[-1][2], closing)
    if len(chords) == 1:
        return [_pitch(notes[0], int(cost[0].argmin()))]
    total = cost[0][:, None] + cost[1][None, :] + _pair_cost(chords, notes, 0)
    back: list[NDArray[np.int64]] = []
    for i in range(2, len(chords)):
        first, second = notes[i - 2][0], notes[i - 1][0]
        turn = _TURNS[
            (second[None, :] - first[:, None])[:, :, None] + 24,
            (notes[i][0][None, :] - second[:, None])[None, :, :] + 24,
        ]
        reached = total[:, :, None] + turn  # (N, N', N'')
        best = reached.argmin(0)
        back.append(best)
        reached = np.take_along_axis(reached, best[None], 0)[0]
        total = reached + _pair_cost(chords, notes, i - 1) + cost[i][None, :]
    last = np.unravel_index(int(total.argmin()), total.shape)
    rows = [int(last[1]), int(last[0])]
    for best in reversed(back):
        rows.append(int(best[rows[-1], rows[-2]]))
    rows.reverse()
    return [_pitch(n, row) for n, row in zip(notes, rows, strict=True)]


def _noise(rng: random.Random, n: int) -> list[float]:
    """Draw Gumbel noise, which turns choosing the least cost into drawing by weight."""
    return [-0.45 * math.log(-math.log(rng.random() or 0.5)) for _ in range(n)]


Notes = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _notes(chord: Chord, middle: int) -> Notes:
    """List steps, MIDI numbers and chord tones of the notes near the middle, ascending."""
    notes = sorted(
        (step, Pitch(step, alter).midi, tone)
        for tone, (letter, alter) in enumerate(chord.tones)
        for step in range(letter, 70, 7)
        if abs(step - middle) <= 6
    )
    while len(notes) > KEPT:
        notes.remove(max(notes, key=lambda note: abs(note[0] - middle)))
    steps, midi, tones = np.array(notes, np.int64).T
    return steps, midi, tones


def _pitch(notes: Notes, row: int) -> Pitch:
    step, midi = int(notes[0][row]), int(notes[1][row])
    return Pitch(step, midi - Pitch(step, 0).midi)


def _closing_cost(tones: NDArray[np.int64], closing: Sequence[int]) -> Floats:
    cost = np.full(len(tones), 6.0, np.float32)
    for rank, tone in enumerate(closing):
        cost[tones == tone] = 1.5 * rank
    return cost


def _pair_cost(chords: Sequence[Chord], notes: Sequence[Notes], i: int) -> Floats:
    """Compute the cost of the intervals from chord ``i`` to the next, shape ``(N, N')``."""
    (steps, midi, tones), (next_steps, next_midi, _) = notes[i], notes[i + 1]
    first, second = chords[i], chords[i + 1]
    by = next_steps[None, :] - steps[:, None]
    semitones = next_midi[None, :] - midi[:, None]
    cost: Floats = _INTERVALS[by + 24].copy()
    cost += 8.0 * ((np.abs(semitones) == 6) | ((np.abs(by) == 1) & (np.abs(semitones) > 2)))
    if first.rising is not None:
        cost += 6.0 * ((tones == first.rising)[:, None] & (by != 1) & (by != 0))
    cost += 6.0 * ((tones == 3)[:, None] & (by != -1) & (by != 0))
    bass, next_bass = semitone(first.tones[first.bass]), semitone(second.tones[second.bass])
    if bass != next_bass:  # avoid parallel fifths and octaves between the outer voices
        before, after = (midi - bass) % 12, (next_midi - next_bass) % 12
        same = (before[:, None] == after[None, :]) & ((after == 0) | (after == 7))[None, :]
        cost += 8.0 * (same & (by != 0))
    return cost


def _interval_table() -> Floats:
    table = np.full(49, 9.0, np.float32)
    for by, cost in ((0, 1.1), (1, 0.0), (2, 0.7), (3, 1.1), (4, 1.8), (5, 3.0), (7, 3.5)):
        table[24 + by] = table[24 - by] = cost
    return table


def _turn_table() -> Floats:
    """Tabulate the cost of consecutive intervals: leaps should be filled, repetitions avoided."""
    table = np.zeros((49, 49), np.float32)
    for i in range(-24, 25):
        for j in range(-24, 25):
            cost = 0.0
            if abs(i) >= 3 and not (i * j < 0 and abs(j) <= 2):
                cost += 1.5
            if abs(i) >= 2 and i * j > 0 and abs(j) >= 2:
                cost += 1.2 if abs(i) == abs(j) == 2 else 3.0
            if i == j == 0:
                cost += 1.6
            if i == -j != 0:
                cost += 0.5
            table[i + 24, j + 24] = cost
    return table


_INTERVALS = _interval_table()
_TURNS = _turn_table()
