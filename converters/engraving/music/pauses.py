"""Rests: delayed entries of voices, and breaths between phrases."""

import random
from collections.abc import Sequence
from dataclasses import replace

from converters.engraving.music.figuration import Part, VoiceEvent
from converters.engraving.music.harmonisation import Sonority
from converters.engraving.music.plans import Plan
from converters.engraving.music.voicing import ALTO, SOPRANO, TENOR

_LATECOMERS = ((TENOR,), (ALTO,), (SOPRANO,), (ALTO, TENOR), (SOPRANO, ALTO))


def last_of_phrases(sonorities: Sequence[Sonority]) -> list[int]:
    """Find the indices of the sonorities that end phrases."""
    n = len(sonorities)
    return [
        i for i in range(n) if i == n - 1 or sonorities[i + 1].phrase is not sonorities[i].phrase
    ]


def enter_late(rng: random.Random, sonorities: list[Sonority], plan: Plan) -> None:
    """Silence upper voices at the start of some phrases, in place.

    The bass is never silenced, so that the chords keep their inversion.
    """
    metres = {id(p): s.metre for s in plan.sections for p in s.phrases}
    start = 0
    for end in last_of_phrases(sonorities):
        phrase = sonorities[start].phrase
        metre = metres[id(phrase)]
        late = rng.random() < plan.style.late
        if late and len(phrase.voices) == 4 and phrase.end - phrase.onset > 2 * metre.bar:
            entry = phrase.onset + rng.choice((metre.beat, metre.bar // 2, metre.bar))
            silent = rng.choice(_LATECOMERS)
            for i in range(start, end):
                if sonorities[i].slot.end <= entry:
                    notes = [None if v in silent else p for v, p in enumerate(sonorities[i].notes)]
                    sonorities[i] = replace(sonorities[i], notes=tuple(notes))
        start = end + 1


def breathe(parts: list[list[Part]], sonorities: Sequence[Sonority]) -> None:
    """Replace the end of a phrase's last chord with a rest where the plan requires it, in place."""
    for i in last_of_phrases(sonorities):
        silent = sonorities[i].phrase.silent_before
        too_short = any(voice[i][-1].ticks <= silent for voice in parts)
        for voice in parts:
            if silent and not too_short:
                voice[i][-1].ticks -= silent
                voice[i].append(VoiceEvent(silent, None))
