"""Rhythms: how the beats of a bar are divided.

Time is counted in 128th notes, as in :mod:`converters.engraving.music.decorations.bars`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from converters.engraving.music.decorations.bars import WHOLE, Metre

HALF, QUARTER, EIGHTH, SIXTEENTH = 64, 32, 16, 8

_NAMES = {2 * WHOLE: "breve"} | {WHOLE // n: str(n) for n in (1, 2, 4, 8, 16, 32, 64, 128)}
_HELD = sorted((3 * n // d for n in _NAMES for d in (2, 3) if n > 1 or d == 3), reverse=True)
"""Lengths that are written with one dot or none, the longest first."""

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
"""By the time that a tuplet takes: its notes, how many they replace, what one is written as.

What stands there several times is chosen as much more often.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sound:
    """A note, a chord or a rest."""

    length: int
    """As written: inside a tuplet it takes less time."""
    is_rest: bool = False
    strokes: int = 0
    """Tremolo strokes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """What belongs together: a beat, a tuplet or a single long sound."""

    sounds: tuple[Sound, ...]
    beamed: bool = True
    ratio: tuple[int, int] | None = None
    """Of a tuplet: its notes, and how many they replace."""


Rhythm = Sequence[Group]


def written(length: int) -> tuple[str, int]:
    """Name of a note value, and its dots.

    Raises:
        ValueError: No note with up to two dots is that long.
    """
    for dots, parts in enumerate((1, 3, 7)):
        base, rest = divmod(length << dots, parts)
        if not rest and base in _NAMES:
            return _NAMES[base], dots
    raise ValueError(f"no note is {length} 128ths long")


def beats(rng: random.Random, metre: Metre) -> list[int]:
    """Lengths of the beats of a bar; those of an odd metre come in any order."""
    unit = WHOLE // metre.unit
    if metre.unit <= 4:
        return [unit] * metre.count
    if metre.count % 3 == 0:
        return [3 * unit] * (metre.count // 3)
    twos = (-metre.count) % 3 or 3
    if metre.count < 2 * twos:  # 1, 2 and 4 have no room for a three
        return [2 * unit] * (metre.count // 2) + [unit] * (metre.count % 2)
    groups = [2 * unit] * twos + [3 * unit] * ((metre.count - 2 * twos) // 3)
    rng.shuffle(groups)
    return groups


def flowing(rng: random.Random, metre: Metre, shortest: int = SIXTEENTH) -> Rhythm:
    """Beats of ordinary values under beams."""
    return [_beat(divided(rng, beat, shortest)) for beat in beats(rng, metre)]


def flagged(rng: random.Random, metre: Metre, shortest: int, rest_share: float) -> Rhythm:
    """Values down to ``shortest``, each with flags of its own, broken by rests."""
    lengths = beats(rng, metre)
    deep = set(rng.sample(range(len(lengths)), min(len(lengths), 2)))
    divisions = [
        divided(rng, length, shortest if i in deep else SIXTEENTH)
        for i, length in enumerate(lengths)
    ]
    return [_with_rests(rng, _beat(division), rest_share) for division in divisions]


def tuplets(rng: random.Random, metre: Metre) -> Rhythm:
    """Beats, or in slow triple time whole bars, that are divided unusually."""
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


def broad(rng: random.Random, metre: Metre, rest_share: float = 0.25) -> Rhythm:
    """Notes and rests from the half note on, as far as they fill the bar."""
    lengths: list[int] = []
    while (left := metre.length - sum(lengths)) > 0:
        fitting = [n for n in _HELD if n <= left]
        long = [n for n in fitting if n >= HALF] or fitting[:1]
        lengths.append(rng.choice(long[:2] if rng.random() < 0.4 else long))
    rng.shuffle(lengths)
    sounds = [Sound(length=length, is_rest=rng.random() < rest_share) for length in lengths]
    return [Group(sounds=(sound,)) for sound in sounds]


def held(metre: Metre) -> Rhythm:
    """As few notes as fill the bar."""
    lengths: list[int] = []
    while (left := metre.length - sum(lengths)) > 0:
        lengths.append(next(n for n in _HELD if n <= left))
    return [Group(sounds=(Sound(length=length),)) for length in lengths]


def trembling(rng: random.Random, metre: Metre) -> Rhythm:
    """Tremolos on quarter, half and whole notes, all with as many strokes."""
    strokes = rng.choices((1, 2, 3, 4, 5), (3, 3, 4, 2, 2))[0]
    return [
        replace(group, sounds=tuple(replace(s, strokes=strokes) for s in group.sounds))
        if group.sounds[0].length >= QUARTER
        else group
        for group in broad(rng, metre, rest_share=0)
    ]


def divided(rng: random.Random, length: int, shortest: int, *, deep: bool = True) -> list[int]:
    """Divide a length into notes; where it is ``deep``, one of them is about the shortest."""
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
    """Ways to divide a length into parts that can be written and divided again."""
    if length % 3 == 0:
        third = length // 3
        return rng.choice(((third, third, third), (2 * third, third), (third, 2 * third)))
    if length % 4 or rng.random() < 0.5:
        return (length // 2, length - length // 2) if length > 1 else (0, 1)
    return rng.choice(((3 * length // 4, length // 4), (length // 4, 3 * length // 4)))


def _beat(lengths: Sequence[int]) -> Group:
    return Group(sounds=tuple(Sound(length=length) for length in lengths))


def _with_rests(rng: random.Random, group: Group, share: float) -> Group:
    """The group without beams, and with some of its notes, but not all, replaced by rests."""
    sounds = [replace(s, is_rest=rng.random() < share) for s in group.sounds]
    if all(s.is_rest for s in sounds):
        k = rng.randrange(len(sounds))
        sounds[k] = replace(sounds[k], is_rest=False)
    return Group(sounds=tuple(sounds), beamed=False)


def _tuplet(rng: random.Random, length: int) -> Group:
    n, replaced, value = rng.choice(_TUPLETS[length])
    lengths = [value] * n
    if value >= SIXTEENTH and n <= 6 and rng.random() < 0.3:  # two of the notes become one
        k = rng.randrange(n - 1)
        lengths[k : k + 2] = [2 * value]
    group = replace(_beat(lengths), ratio=(n, replaced), beamed=rng.random() < 0.8)
    if rng.random() < 0.2:
        k = rng.randrange(len(lengths))
        sounds = [replace(s, is_rest=i == k) for i, s in enumerate(group.sounds)]
        group = replace(group, sounds=tuple(sounds))
    return group
