"""Spelled pitches, and keys."""

from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

LETTERS = "cdefgab"
"""Letters in order; other code numbers them from 0 (c) to 6 (b)."""
NATURAL = (0, 2, 4, 5, 7, 9, 11)
"""Semitones of the letters above c."""
SHARPS = (3, 0, 4, 1, 5, 2, 6)
"""Letters in the order of sharps in a key signature; flats are added in reverse order."""

Mode = Literal["major", "minor"]
Spelling = tuple[int, int]
"""Letter and alteration in semitones, from -2 (double flat) to 2 (double sharp)."""


class Pitch(NamedTuple):
    """A spelled pitch."""

    step: int
    """Seven times the octave plus the letter; 28 is c4, middle C."""
    alter: int

    @property
    def midi(self) -> int:
        """MIDI note number; 60 is c4."""
        return 12 * (self.step // 7 + 1) + NATURAL[self.step % 7] + self.alter

    @property
    def spelling(self) -> Spelling:
        """Letter and alteration, without the octave."""
        return self.step % 7, self.alter


@dataclass(frozen=True, slots=True)
class Key:
    """A key: signature and mode."""

    fifths: int
    """Number of sharps in the signature, negative for flats; -7 to 7."""
    mode: Mode = "major"

    def __post_init__(self) -> None:
        """Check the number of sharps or flats."""
        if not -7 <= self.fifths <= 7:
            raise ValueError(f"fifths must be from -7 to 7, got {self.fifths}")

    @property
    def tonic(self) -> int:
        """Letter of the tonic."""
        return (4 * self.fifths + (5 if self.mode == "minor" else 0)) % 7

    @property
    def signature(self) -> tuple[int, ...]:
        """Alteration of each letter, from c to b."""
        return _signature(self.fifths)

    def degree(self, degree: int) -> Spelling:
        """Spell a degree of the natural scale, 0 for the tonic; it may exceed the octave."""
        letter = (self.tonic + degree) % 7
        return letter, self.signature[letter]

    def diatonic(self, step: int) -> Pitch:
        """Return the pitch of a step under the key signature."""
        return Pitch(step, self.signature[step % 7])


def above(spelling: Spelling, steps: int, semitones: int) -> Spelling:
    """Spell the note that is higher by the given numbers of steps and semitones."""
    letter, alter = spelling
    octaves, target = divmod(letter + steps, 7)
    return target, NATURAL[letter] + alter + semitones - NATURAL[target] - 12 * octaves


def semitone(spelling: Spelling) -> int:
    """Compute the pitch class, from 0 (c) to 11."""
    letter, alter = spelling
    return (NATURAL[letter] + alter) % 12


@cache
def _signature(fifths: int) -> tuple[int, ...]:
    order = SHARPS if fifths > 0 else SHARPS[::-1]
    changed = order[: abs(fifths)]
    return tuple((1 if fifths > 0 else -1) if letter in changed else 0 for letter in range(7))
