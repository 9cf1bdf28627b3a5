"""Chords given by Roman numerals, spelled in a key.

A name consists of a numeral, the figures of the inversion and, for an applied chord, the degree
whose key it is borrowed from: ``I``, ``ii65``, ``V42/IV``. ``K64`` is the cadential six-four chord.
"""

import re
from dataclasses import dataclass
from functools import cache

from converters.engraving.music.keys import Key, Mode, Spelling, above, semitone

QUALITIES = {
    "major": (4, 7),
    "minor": (3, 7),
    "diminished": (3, 6),
    "dominant": (4, 7, 10),
    "minor seventh": (3, 7, 10),
    "major seventh": (4, 7, 11),
    "half-diminished": (3, 6, 10),
    "fully diminished": (3, 6, 9),
}
"""Semitones of the third, fifth and seventh above the root."""

FIGURES = {"": 0, "6": 1, "64": 2, "7": 0, "65": 1, "43": 2, "42": 3}
"""Index of the tone in the bass by figures."""

_MAJOR: dict[str, tuple[int, int, str]] = {
    "I": (0, 0, "major"),
    "K": (0, 0, "major"),
    "ii": (1, 0, "minor"),
    "ii7": (1, 0, "minor seventh"),
    "iii": (2, 0, "minor"),
    "IV": (3, 0, "major"),
    "IV7": (3, 0, "major seventh"),
    "iv": (3, 0, "minor"),
    "V": (4, 0, "major"),
    "V7": (4, 0, "dominant"),
    "vi": (5, 0, "minor"),
    "vi7": (5, 0, "minor seventh"),
    "viio": (6, 0, "diminished"),
    "viio7": (6, 0, "half-diminished"),
}
_MINOR: dict[str, tuple[int, int, str]] = {
    "i": (0, 0, "minor"),
    "K": (0, 0, "minor"),
    "I": (0, 0, "major"),
    "iio": (1, 0, "diminished"),
    "iio7": (1, 0, "half-diminished"),
    "N": (1, -1, "major"),
    "III": (2, 0, "major"),
    "iv": (3, 0, "minor"),
    "iv7": (3, 0, "minor seventh"),
    "V": (4, 0, "major"),
    "V7": (4, 0, "dominant"),
    "VI": (5, 0, "major"),
    "VII": (6, 0, "major"),
    "viio": (6, 1, "diminished"),
    "viio7": (6, 1, "fully diminished"),
}
_NUMERALS = {"major": _MAJOR, "minor": _MINOR}
"""Degree of the root, its alteration, and the quality, by mode and numeral."""

_NAME = re.compile(r"([bivIVKN]+o?)(64|65|6|7|43|42)?(?:/([ivIV]+)o?)?")


@dataclass(frozen=True, slots=True, eq=False)
class Chord:
    """A spelled chord; instances are cached so that they hash quickly."""

    name: str
    tones: tuple[Spelling, ...]
    """Root, third, fifth and, in seventh chords, seventh."""
    bass: int
    """Index of the tone in the bass."""
    rising: int | None
    """Index of the leading tone, if the chord contains it."""
    rare: tuple[int, ...]
    """Indices of the tones that must not be doubled."""
    doubled: int
    """Index of the tone to double."""

    @property
    def has_seventh(self) -> bool:
        """Whether the chord has a seventh, which resolves downwards."""
        return len(self.tones) == 4


@cache
def chord(name: str, key: Key) -> Chord:
    """Spell a chord.

    Args:
        name: Name of the chord, as described in this module's docstring.
        key: Key of the chord.

    Raises:
        ValueError: The name is malformed, or the chord does not exist in the mode of the key.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name}: not the name of a chord")
    numeral, figures, target = match[1], match[2] or "", match[3]
    seventh = "7" if figures in ("7", "65", "43", "42") else ""
    root, quality = _root(numeral + seventh, target, key)
    tones = (root, *(above(root, 2 * (i + 1), n) for i, n in enumerate(QUALITIES[quality])))
    inversion = FIGURES[figures]
    rising = 1 if numeral == "V" else 0 if numeral == "viio" else None
    rare = {3} if seventh else set()
    if rising is not None:
        rare.add(rising)
    return Chord(name, tones, inversion, rising, tuple(sorted(rare)), _doubled(numeral, inversion))


def _root(numeral: str, target: str | None, key: Key) -> tuple[Spelling, str]:
    """Determine the spelling of the root, and the quality."""
    mode: Mode = key.mode
    tonic = key.degree(0)
    if target is not None:
        degree, alter, quality = _numeral(target, mode)
        letter, natural = key.degree(degree)
        tonic = (letter, natural + alter)
        mode = "minor" if quality in ("minor", "diminished") else "major"
        if numeral == "viio7":
            mode = "minor"  # the fully diminished chord is applied to major degrees too
    degree, alter, quality = _numeral(numeral, mode)
    if target is None:
        letter, natural = key.degree(degree)
        return (letter, natural + alter), quality
    if numeral.startswith("V"):
        return above(tonic, 4, 7), quality
    return above(tonic, 6, 11), quality


def _numeral(numeral: str, mode: Mode) -> tuple[int, int, str]:
    entry = _NUMERALS[mode].get(numeral)
    if entry is None:
        raise ValueError(f"{numeral}: no such chord in {mode}")
    return entry


def _doubled(numeral: str, inversion: int) -> int:
    """Return the tone to double: bass of diminished, Neapolitan and six-four chords, else root."""
    if numeral in ("viio", "iio", "N"):
        return 1
    return 2 if inversion == 2 else 0


def spells(tone: Spelling, other: Spelling) -> bool:
    """Check whether two tones have the same letter but different alterations."""
    return tone[0] == other[0] and semitone(tone) != semitone(other)
