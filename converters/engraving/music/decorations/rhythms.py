"""Rhythms: divisions of the beats of a bar.

Time is counted in 128th notes, as in :mod:`converters.engraving.music.decorations.bars`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from converters.engraving.music.decorations.bars import WHOLE, MeiMetre

HALF, QUARTER, EIGHTH, SIXTEENTH = 64, 32, 16, 8

_NAMES = {2 * WHOLE: "breve"} | {WHOLE // n: str(n) for n in (1, 2, 4, 8, 16, 32, 64, 128)}
_HELD = sorted((3 * n // d for n in _NAMES for d in (2, 3) if n > 1 or d == 3), reverse=True)
"""Lengths written with at most one dot, in descending order."""

_SIMPLE = {
    HALF: (
        *((3, 2, QUARTER),) * 4,
        (5, 4, EIGHTH),
        *((6, 4, EIGHTH),) * 2,
        (7, 4, EIGHTH),
        (9, 8, SIXTEENTH),
        (11, 8, SIXTEENTH),
        (13, 8, SIXTEENTH),
    ),
    QUARTER: (
        *((3, 2, EIGHTH),) * 6,
        (5, 4, SIXTEENTH),
        *((6, 4, SIXTEENTH),) * 3,
        (7, 4, SIXTEENTH),
        (9, 8, SIXTEENTH // 2),
        (11, 8, SIXTEENTH // 2),
        (12, 8, SIXTEENTH // 2),
    ),
    EIGHTH: ((3, 2, SIXTEENTH), (5, 4, SIXTEENTH // 2)),
}
_COMPOUND = {
    3 * QUARTER: (
        (2, 3, QUARTER),
        (4, 3, QUARTER),
        (5, 6, EIGHTH),
        (7, 6, EIGHTH),
        *((8, 6, EIGHTH),) * 2,
        (11, 12, SIXTEENTH),
    ),
    3 * EIGHTH: (
        *((2, 3, EIGHTH),) * 2,
        (4, 3, EIGHTH),
        (4, 6, SIXTEENTH),
        (5, 6, SIXTEENTH),
        (7, 6, SIXTEENTH),
        *((8, 6, SIXTEENTH),) * 2,
        (9, 6, SIXTEENTH),
    ),
    3 * SIXTEENTH: ((2, 3, SIXTEENTH), (4, 3, SIXTEENTH)),
}
_TUPLETS = _SIMPLE | _COMPOUND
"""Tuplets by the time that they take: number of notes, number replaced, written length of each.

Repeated entries are chosen more often.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class RhythmEvent:
    """A note, chord or rest of a rhythm."""

    length: int
    """Written length; within a tuplet, it sounds shorter."""
    is_rest: bool = False
    strokes: int = 0
    """Number of tremolo strokes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RhythmGroup:
    """A beat, a tuplet or a single long event."""

    sounds: tuple[RhythmEvent, ...]
    beamed: bool = True
    ratio: tuple[int, int] | None = None
    """Number of notes in a tuplet, and the number that they replace."""


Rhythm = Sequence[RhythmGroup]


def written(length: int) -> tuple[str, int]:
    """Return the name of a note value and its number of dots.

    Raises:
        ValueError: No note value with up to two dots has this length.
    """
    for dots, parts in enumerate((1, 3, 7)):
        base, rest = divmod(length << dots, parts)
        if not rest and base in _NAMES:
            return _NAMES[base], dots
    raise ValueError(f"no note value is {length} 128ths long")


def beats(rng: random.Random, metre: MeiMetre) -> list[int]:
    """Return the lengths of the beats of a bar; unequal beats are shuffled."""
    unit = WHOLE // metre.unit
    if metre.unit <= 4:
        return [unit] * metre.count
    if metre.count % 3 == 0:
        return [3 * unit] * (metre.count // 3)
    twos = (-metre.count) % 3 or 3
    if metre.count < 2 * twos:  # counts of 1, 2 and 4 cannot contain a group of three
        return [2 * unit] * (metre.count // 2) + [unit] * (metre.count % 2)
    groups = [2 * unit] * twos + [3 * unit] * ((metre.count - 2 * twos) // 3)
    rng.shuffle(groups)
    return groups


def flowing(rng: random.Random, metre: MeiMetre, shortest: int = SIXTEENTH) -> Rhythm:
    """Choose random beats of ordinary note values, under beams."""
    return [_beat(divided(rng, beat, shortest)) for beat in beats(rng, metre)]


def flagged(rng: random.Random, metre: MeiMetre, shortest: int, rest_fraction: float) -> Rhythm:
    """Draw unbeamed values down to ``shortest``, interspersed with rests."""
    lengths = beats(rng, metre)
    deep = set(rng.sample(range(len(lengths)), min(len(lengths), 2)))
    divisions = [
        divided(rng, length, shortest if i in deep else SIXTEENTH)
        for i, length in enumerate(lengths)
    ]
    return [_with_rests(rng, _beat(division), rest_fraction) for division in divisions]


def tuplets(rng: random.Random, metre: MeiMetre) -> Rhythm:
    """Draw tuplets on beats, or on whole bars in slow triple time."""
    if metre.length in _COMPOUND and rng.random() < 0.6:
        return [_tuplet(rng, metre.length)]
    lengths = beats(rng, metre)
    if metre.unit == 4 and metre.count % 2 == 0 and rng.random() < 0.4:
        lengths = [2 * QUARTER] * (metre.count // 2)
    return [
        _tuplet(rng, beat)
        if beat in _TUPLETS and rng.random() < 0.75
        else _beat(divided(rng, beat, EIGHTH))
        for beat in lengths
    ]


def broad(rng: random.Random, metre: MeiMetre, rest_fraction: float = 0.25) -> Rhythm:
    """Draw notes and rests of at least a half note, as far as they fill the bar."""
    lengths: list[int] = []
    while (left := metre.length - sum(lengths)) > 0:
        fitting = [n for n in _HELD if n <= left]
        long = [n for n in fitting if n >= HALF] or fitting[:1]
        lengths.append(rng.choice(long[:2] if rng.random() < 0.4 else long))
    rng.shuffle(lengths)
    sounds = [
        RhythmEvent(length=length, is_rest=rng.random() < rest_fraction) for length in lengths
    ]
    return [RhythmGroup(sounds=(sound,)) for sound in sounds]


def sustained(metre: MeiMetre) -> Rhythm:
    """Fill the bar with as few notes as possible."""
    lengths: list[int] = []
    while (left := metre.length - sum(lengths)) > 0:
        lengths.append(next(n for n in _HELD if n <= left))
    return [RhythmGroup(sounds=(RhythmEvent(length=length),)) for length in lengths]


def trembling(rng: random.Random, metre: MeiMetre) -> Rhythm:
    """Draw tremolos on quarter, half and whole notes, all with the same number of strokes."""
    strokes = rng.choices((1, 2, 3, 4, 5), (3, 3, 4, 2, 2))[0]
    return [
        replace(group, sounds=tuple(replace(s, strokes=strokes) for s in group.sounds))
        if group.sounds[0].length >= QUARTER
        else group
        for group in broad(rng, metre, rest_fraction=0)
    ]


def divided(rng: random.Random, length: int, shortest: int, *, deep: bool = True) -> list[int]:
    """Divide a length into notes; if ``deep``, one of them is about as short as ``shortest``."""
    parts = _parts(rng, length)
    if min(parts) < shortest or (not deep and rng.random() < 0.6):
        return [length]
    deepest = rng.randrange(len(parts)) if deep else -1
    return [
        note
        for i, part in enumerate(parts)
        for note in divided(rng, part, shortest, deep=i == deepest)
    ]


def _parts(rng: random.Random, length: int) -> tuple[int, ...]:
    """Draw a division of a length into parts that can be written and divided further."""
    if length % 3 == 0:
        third = length // 3
        return rng.choice(((third, third, third), (2 * third, third), (third, 2 * third)))
    if length % 4 or rng.random() < 0.5:
        return (length // 2, length - length // 2) if length > 1 else (0, 1)
    return rng.choice(((3 * length // 4, length // 4), (length // 4, 3 * length // 4)))


def _beat(lengths: Sequence[int]) -> RhythmGroup:
    return RhythmGroup(sounds=tuple(RhythmEvent(length=length) for length in lengths))


def _with_rests(rng: random.Random, group: RhythmGroup, fraction: float) -> RhythmGroup:
    """Remove the beams of a group, and replace some of its notes, but not all, by rests."""
    sounds = [replace(s, is_rest=rng.random() < fraction) for s in group.sounds]
    if all(s.is_rest for s in sounds):
        k = rng.randrange(len(sounds))
        sounds[k] = replace(sounds[k], is_rest=False)
    return RhythmGroup(sounds=tuple(sounds), beamed=False)


def _tuplet(rng: random.Random, length: int) -> RhythmGroup:
    n, replaced, value = rng.choice(_TUPLETS[length])
    lengths = [value] * n
    if value >= SIXTEENTH and n <= 6 and rng.random() < 0.3:  # merge two of the notes
        k = rng.randrange(n - 1)
        lengths[k : k + 2] = [2 * value]
    group = replace(_beat(lengths), ratio=(n, replaced), beamed=rng.random() < 0.8)
    if rng.random() < 0.2:
        k = rng.randrange(len(lengths))
        sounds = [replace(s, is_rest=i == k) for i, s in enumerate(group.sounds)]
        group = replace(group, sounds=tuple(sounds))
    return group
