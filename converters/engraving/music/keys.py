"""Pitches with their spelling, and the keys they come from."""

from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

LETTERS = "cdefgab"
"""A letter is a number from 0 (c) to 6 (b) everywhere else."""
NATURAL = (0, 2, 4, 5, 7, 9, 11)
"""Semitones of the letters above c."""
SHARPS = (3, 0, 4, 1, 5, 2, 6)
"""Letters in the order in which a signature sharpens them; flats come the other way round."""

Mode = Literal["major", "minor"]
Spelling = tuple[int, int]
"""Letter and alteration in semitones, from -2 (double flat) to 2 (double sharp)."""


class Pitch(NamedTuple):
    """A spelled pitch."""

    step: int
    """Octave times seven plus the letter; 28 is c4, the middle one."""
    alter: int

    @property
    def midi(self) -> int:
        """Number of the key on the keyboard; 60 is c4."""
        return 12 * (self.step // 7 + 1) + NATURAL[self.step % 7] + self.alter

    @property
    def spelling(self) -> Spelling:
        """The pitch without its octave."""
        return self.step % 7, self.alter


@dataclass(frozen=True, slots=True)
class Key:
    """A key: its signature, and which note of it is the tonic."""

    fifths: int
    """Sharps of the signature, or flats as a negative number; -7 to 7."""
    mode: Mode = "major"

    def __post_init__(self) -> None:
        """Check that there is such a signature."""
        if not -7 <= self.fifths <= 7:
            raise ValueError(f"fifths must be from -7 to 7, got {self.fifths}")

    @property
    def tonic(self) -> int:
        """Letter of the tonic."""
        return (4 * self.fifths + (5 if self.mode == "minor" else 0)) % 7

    @property
    def signature(self) -> tuple[int, ...]:
        """Alteration of each letter."""
        return _signature(self.fifths)

    def degree(self, degree: int) -> Spelling:
        """Spell a degree of the (natural) scale, 0 for the tonic; it may be past the octave."""
        letter = (self.tonic + degree) % 7
        return letter, self.signature[letter]

    def diatonic(self, step: int) -> Pitch:
        """The pitch that the signature makes of a step."""
        return Pitch(step, self.signature[step % 7])


def above(spelling: Spelling, steps: int, semitones: int) -> Spelling:
    """Spell the note that many steps and semitones higher."""
    letter, alter = spelling
    octaves, found = divmod(letter + steps, 7)
    return found, NATURAL[letter] + alter + semitones - NATURAL[found] - 12 * octaves


def semitone(spelling: Spelling) -> int:
    """Pitch class, from 0 (c) to 11."""
    letter, alter = spelling
    return (NATURAL[letter] + alter) % 12


@cache
def _signature(fifths: int) -> tuple[int, ...]:
    order = SHARPS if fifths > 0 else SHARPS[::-1]
    changed = order[: abs(fifths)]
    return tuple((1 if fifths > 0 else -1) if letter in changed else 0 for letter in range(7))
