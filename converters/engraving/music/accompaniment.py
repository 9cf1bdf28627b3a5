"""Broken chords: the three lower voices as one line for the left hand."""

import random
from collections.abc import Sequence

from converters.engraving.music.figuration import Part, VoiceEvent
from converters.engraving.music.harmonisation import Sonority
from converters.engraving.music.metres import QUARTER, VALUES, Metre
from converters.engraving.music.pauses import last_of_phrases
from converters.engraving.music.plans import Plan
from converters.engraving.music.voicing import ALTO, BASS, TENOR

_PATTERNS = (
    (BASS, ALTO, TENOR, ALTO),
    (BASS, TENOR, ALTO, TENOR),
    (BASS, TENOR, ALTO, TENOR),
)
_PATTERNS_OF_THREE = ((BASS, TENOR, ALTO), (BASS, ALTO, TENOR), (BASS, TENOR, ALTO))


def break_chords(rng: random.Random, sonorities: Sequence[Sonority], plan: Plan) -> list[Part]:
    """Play the three lower voices of each chord in succession.

    Args:
        rng: Random number generator; the piece has one pattern for each kind of length.
        sonorities: Chords of the piece, all with four voices.
        plan: Plan of the piece.

    Returns:
        Parts of the line, one per sonority; chords that end phrases have few notes.
    """
    metres = [s.metre for s in plan.sections for p in s.phrases for _ in p.slots]
    patterns = (rng.choice(_PATTERNS), rng.choice(_PATTERNS_OF_THREE))
    ending = set(last_of_phrases(sonorities))
    parts: list[Part] = []
    for i, (sonority, metre) in enumerate(zip(sonorities, metres, strict=True)):
        ticks = sonority.slot.ticks - (sonority.phrase.silent_before if i in ending else 0)
        part = _broken(sonority, metre, ticks, patterns, ends=i in ending)
        if ticks < sonority.slot.ticks:
            part.append(VoiceEvent(sonority.slot.ticks - ticks, None))
        parts.append(part)
    return parts


def _broken(
    sonority: Sonority,
    metre: Metre,
    ticks: int,
    patterns: tuple[tuple[int, ...], tuple[int, ...]],
    *,
    ends: bool,
) -> Part:
    """Break a chord into notes of equal length; the last one of a phrase ends with a long note."""
    value = metre.unit_ticks if metre.unit == 8 else QUARTER // 2
    in_threes = metre.compound or metre.unit == 8
    pattern = patterns[1] if in_threes else patterns[0]
    n = ticks // value
    if ends and n > len(pattern) and (ticks - len(pattern) * value) in VALUES:
        moving = len(pattern)
    else:
        moving = 1 if ends or n < 2 or ticks % value else n
    order = [pattern[i % len(pattern)] for i in range(moving)]
    events = [VoiceEvent(value, sonority.notes[voice]) for voice in order]
    if ends and moving > 1:
        events.append(VoiceEvent(ticks - moving * value, sonority.notes[BASS]))
    elif moving == 1:
        events[0].ticks = ticks
    return events
