"""Kinds of pieces: frequencies of metres, rhythms, figures and layouts."""

from dataclasses import dataclass, field

from converters.engraving.music.voicing import VoicingRules

CHOIR = VoicingRules()
"""Rules for four singers."""
THREE_AND_ONE = VoicingRules(
    lowest=(64, 60, 55, 38),
    highest=(81, 76, 72, 60),
    spacing=(9, 9, 24),
    span=14,
    unisons=False,
)
"""Rules for two hands, three notes in the right one."""
TWO_AND_TWO = VoicingRules(
    lowest=(64, 57, 48, 40), highest=(81, 76, 67, 60), spacing=(12, 16, 14), unisons=False
)
"""Rules for two hands with two notes each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MusicStyle:
    """A kind of piece; fractions are from 0 to 1."""

    name: str
    metres: tuple[tuple[float, str], ...]
    """Weight and name of each metre."""
    variety: float
    """Fraction of bars that do not simply move in beats."""
    passing: float
    """Fraction of thirds filled by a passing note."""
    neighbour: float
    """Fraction of repeated notes ornamented by a neighbour note."""
    suspension: float
    """Fraction of falling steps delayed by a suspension."""
    skips: float = 0.0
    """Fraction of steps and repeated notes preceded by another chord tone."""
    short: float = 0.1
    """Fraction of figures with sixteenths or dotted notes."""
    fermatas: float = 0.0
    """Fraction of pieces whose phrases end with a fermata."""
    four_staves: float = 0.0
    """Fraction of pieces in open score."""
    verses: tuple[float, ...] = (1.0,)
    """Weight of 0, 1, ... verses of lyrics."""
    pickup: float = 0.5
    """Fraction of pieces with an upbeat."""
    trios: float = 0.0
    """Fraction of phrases in which one voice is silent."""
    late: float = 0.0
    """Fraction of phrases in which a voice enters late."""
    breath: float = 0.0
    """Fraction of pieces whose phrases end with a rest."""
    holding: float = 0.0
    """Fraction of repeated notes in lower voices that are held instead."""
    broad: bool = False
    """Whether chords last longer than a beat."""
    broken: bool = False
    """Whether the lower voices play broken chords in one line."""
    keyboard: bool = False
    """Whether voices with the same rhythm share stems."""
    phrase_bars: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Usual lengths of a phrase in bars, by the number of perceived beats per bar."""


SONG = VoicingRules(
    lowest=(67, 52, 47, 40), highest=(84, 67, 62, 55), spacing=(24, 9, 12), unisons=False
)
"""Rules for a melody over broken chords that the left hand can reach."""

_PHRASES = {1: (8, 4), 2: (4,), 3: (4,), 4: (4, 2, 4)}

STYLES = (
    (
        3.0,
        MusicStyle(
            name="hymn",
            metres=(
                (5, "4/4"),
                (4, "3/4"),
                (2, "C"),
                (1.5, "2/2"),
                (1, "cut"),
                (1.5, "3/2"),
                (1, "2/4"),
                (0.5, "4/2"),
            ),
            variety=0.75,
            passing=0.14,
            neighbour=0.02,
            suspension=0.05,
            fermatas=0.25,
            four_staves=0.15,
            verses=(2, 1, 2, 3, 2),
            breath=0.15,
            phrase_bars=_PHRASES,
        ),
    ),
    (
        3.0,
        MusicStyle(
            name="chorale",
            metres=((4, "4/4"), (5, "C"), (2, "3/4"), (0.5, "3/2")),
            variety=0.15,
            passing=0.6,
            neighbour=0.12,
            suspension=0.4,
            short=0.12,
            fermatas=0.9,
            four_staves=0.35,
            verses=(4, 4, 1, 1),
            pickup=0.7,
            phrase_bars={3: (4, 4, 2), 4: (2, 2, 3, 4)},
        ),
    ),
    (
        1.5,
        MusicStyle(
            name="lilt",
            metres=((5, "6/8"), (1.5, "9/8"), (1.5, "12/8"), (1.5, "6/4"), (1, "3/8")),
            variety=1.0,
            passing=0.3,
            neighbour=0.1,
            suspension=0.12,
            fermatas=0.15,
            four_staves=0.2,
            verses=(3, 2, 2, 2),
            breath=0.3,
            holding=0.5,
            phrase_bars={1: (8, 4), 2: (4,), 3: (2,), 4: (2,)},
        ),
    ),
    (
        1.5,
        MusicStyle(
            name="motet",
            metres=((3, "cut"), (2, "2/2"), (2, "3/2"), (1, "4/2"), (2, "4/4"), (1, "3/4")),
            variety=0.7,
            passing=0.55,
            neighbour=0.12,
            suspension=0.45,
            fermatas=0.1,
            four_staves=1.0,
            verses=(1, 5, 1),
            pickup=0.25,
            trios=0.22,
            late=0.3,
            holding=0.25,
            breath=0.4,
            phrase_bars={2: (4, 6), 3: (4,), 4: (3, 4, 4)},
        ),
    ),
    (
        1.5,
        MusicStyle(
            name="keyboard",
            metres=((4, "4/4"), (4, "3/4"), (2, "2/4"), (2, "6/8"), (1, "3/8"), (1, "C")),
            variety=0.7,
            passing=0.35,
            neighbour=0.15,
            suspension=0.15,
            short=0.3,
            fermatas=0.1,
            breath=0.25,
            holding=0.6,
            skips=0.15,
            keyboard=True,
            phrase_bars=_PHRASES,
        ),
    ),
    (
        0.8,
        MusicStyle(
            name="song",
            metres=((4, "4/4"), (4, "3/4"), (2, "2/4"), (3, "6/8"), (1, "C"), (1, "9/8")),
            variety=1.0,
            passing=0.85,
            neighbour=0.5,
            suspension=0.0,
            short=0.35,
            pickup=0.3,
            breath=0.3,
            broad=True,
            broken=True,
            skips=0.6,
            phrase_bars=_PHRASES,
        ),
    ),
)
"""Weight and description of each kind of piece."""
