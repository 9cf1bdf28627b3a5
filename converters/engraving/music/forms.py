"""Musical forms: the number of phrases, their similarity, and their cadences."""

import random

from converters.engraving.music.keys import Key, Mode
from converters.engraving.music.metres import Metre
from converters.engraving.music.progressions import Cadence


def draw_key(rng: random.Random) -> Key:
    """Choose a random key; all keys occur, those with few accidentals more often."""
    fifths = rng.choices(range(-7, 8), [10 - abs(f) for f in range(-7, 8)])[0]
    mode: Mode = "minor" if rng.random() < 0.38 else "major"
    return Key(fifths, mode)


def phrase_lengths(rng: random.Random, bars: int, usual: int) -> list[int]:
    """Divide bars into phrases of approximately the usual length."""
    if bars < 2 * usual:
        return [bars] if bars < 6 else [bars - bars // 2, bars // 2]
    n, rest = divmod(bars, usual)
    lengths = [usual] * n
    if rest >= max(2, usual // 2):
        return [*lengths, rest]
    for _ in range(rest):
        lengths[rng.randrange(n)] += 1
    return lengths


def draw_groups(rng: random.Random, lengths: list[int]) -> list[list[int]]:
    """Divide phrases into sections of at least two phrases."""
    if len(lengths) < 4 or rng.random() < 0.45:
        return [lengths]
    cut = 2 * rng.randint(1, (len(lengths) - 2) // 2)
    if len(lengths) - cut >= 8 and rng.random() < 0.6:
        second = cut + 2 * rng.randint(1, (len(lengths) - cut - 2) // 2)
        return [lengths[:cut], lengths[cut:second], lengths[second:]]
    return [lengths[:cut], lengths[cut:]]


def draw_letters(rng: random.Random, lengths: list[int]) -> list[str]:
    """Assign letters to phrases; only phrases of the same length can share one."""
    forms = {1: ("A",), 2: ("AB", "AA", "AB"), 3: ("AAB", "ABA", "ABC")}
    four = ("ABAC", "AABA", "ABCD", "AABC", "ABCB", "ABAB")
    letters: list[str] = []
    for first in range(0, len(lengths), 4):
        part = lengths[first : first + 4]
        form = rng.choice(forms.get(len(part), four))
        letters += [f"{form[i]}{first if first % 8 else ''}.{n}" for i, n in enumerate(part)]
    return letters


def section_keys(rng: random.Random, home: Key, n: int) -> list[Key]:
    """Draw the keys of the sections; the last section is in the home key."""
    keys = [home] * n
    near = [
        Key(fifths, mode)
        for fifths, mode in (
            (home.fifths + 1, home.mode),
            (home.fifths - 1, home.mode),
            (home.fifths, "minor" if home.mode == "major" else "major"),
            (home.fifths + (-3 if home.mode == "major" else 3), _opposite(home.mode)),
        )
        if abs(fifths) <= 7
    ]
    if n == 2 and rng.random() < 0.3:
        keys[0] = rng.choice(near)
    if n == 3 and rng.random() < 0.6:
        keys[1] = rng.choice(near)
    return keys


def draw_cadence(
    rng: random.Random, key: Key, i: int, *, closes: bool, ends: bool
) -> tuple[Cadence, Key]:
    """Draw the cadence of a phrase and the key in which it closes."""
    if ends:
        return ("plagal" if rng.random() < 0.12 else "authentic"), key
    if closes:
        return "authentic", key
    near = [
        Key(fifths, mode)
        for fifths, mode in ((key.fifths, _opposite(key.mode)), (key.fifths + 1, key.mode))
        if abs(fifths) <= 7
    ]
    if near and rng.random() < (0.28 if i % 2 else 0.18):
        return "authentic", rng.choice(near)
    kinds: tuple[Cadence, ...] = ("half", "imperfect", "authentic", "deceptive")
    weights = (1, 2, 4, 0.4) if i % 2 else (5, 2, 0.5, 0.7)
    return rng.choices(kinds, weights)[0], key


def draw_pickup(rng: random.Random, metre: Metre) -> int:
    """Draw the length of an upbeat in ticks."""
    if metre.compound:
        return rng.choice((metre.unit_ticks, metre.unit_ticks, metre.beat))
    if metre.unit == 8 or metre.beats == 3:
        return metre.beat
    if metre.beats == 4:
        return rng.choice((metre.beat, metre.beat, metre.beat, metre.beat * 2, metre.beat // 2))
    return rng.choice((metre.beat, metre.beat // 2))


def _opposite(mode: Mode) -> Mode:
    return "minor" if mode == "major" else "major"
