"""From a plan to chords for four voices: progressions, a melody, and the voices under it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from converters.engraving.music.chords import Chord, chord
from converters.engraving.music.keys import Key, Pitch
from converters.engraving.music.melodies import draw_contour, draw_melody
from converters.engraving.music.plans import Phrase, Plan
from converters.engraving.music.progressions import progression, walk
from converters.engraving.music.rhythms import Slot
from converters.engraving.music.voicing import (
    Costs,
    Setting,
    broken_at,
    is_parallel,
    smoothest,
    voicings,
)

_PIVOTS = {
    ("major", "dominant"): (("I", "IV"), ("vi", "ii"), ("I6", "IV6")),
    ("major", "relative"): (("vi", "i"), ("IV", "VI"), ("I", "III"), ("I", "III")),
    ("minor", "dominant"): (("i", "iv"), ("i6", "iv6"), ("III", "VI")),
    ("minor", "relative"): (("i", "vi"), ("iv", "ii"), ("VI", "IV"), ("III", "I")),
}
"""The names of a chord in two keys, by the mode of the first and what the second is to it."""

TRIES = 30
AVOIDED = 40.0
"""Cost of a setting that turned out to be wrong where it stands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sonority:
    """A chord in its place."""

    slot: Slot
    chord: Chord
    key: Key
    """That the chord is heard in."""
    phrase: Phrase
    notes: tuple[Pitch | None, ...]
    """Of each voice, soprano first; None for a voice that is silent."""


Harmony = list[tuple[str, Key]]
"""Name of each chord of a phrase, and the key it is in."""


def harmonise(rng: random.Random, plan: Plan) -> list[Sonority] | None:
    """Set a plan for four voices; None where no setting without a broken law was found."""
    phrases = [phrase for section in plan.sections for phrase in section.phrases]
    where = [(i, phrase, slot) for i, phrase in enumerate(phrases) for slot in phrase.slots]
    settings = [_setting(plan, phrase) for _, phrase, _ in where]
    known: dict[_Kind, Harmony] = {}
    for _ in range(TRIES):
        harmonies = _harmonies(rng, plan, known)
        melodies = _melodies(rng, plan, harmonies)
        names = [name for harmony in harmonies for name in harmony]
        chords = list(zip((chord(*name) for name in names), settings, strict=True))
        wishes = [_wish(*c, note) for c, note in zip(chords, melodies, strict=True)]
        found, broken = _set([slot for _, _, slot in where], chords, wishes)
        if not broken:
            return [
                Sonority(slot=slot, chord=c, key=key, phrase=phrase, notes=notes)
                for (_, phrase, slot), (c, _), (_, key), notes in zip(
                    where, chords, names, found, strict=True
                )
            ]
        for i in broken:  # draw the phrases anew that cannot be set
            for at in (where[i - 1][0], where[i][0]):
                known.pop(_kind(plan, phrases[at]), None)
    return None


_Notes = tuple[Pitch | None, ...]


def _set(
    slots: Sequence[Slot], chords: Sequence[tuple[Chord, Setting]], wishes: list[Costs]
) -> tuple[list[_Notes], list[int]]:
    """Set chords for voices; also gives the numbers of those that cannot be set.

    Fifths from beat to beat are found afterwards: the chord they lead to is then set in another
    way, by a change of ``wishes``.
    """
    weights = [slot.weight for slot in slots]
    found: list[_Notes] = []
    hidden: list[int] = []
    for _ in range(TRIES):
        rows = smoothest(chords, wishes)
        found = [voicings(*c).pitches(row) for c, row in zip(chords, rows, strict=True)]
        hidden = _hidden(weights, found)
        if not hidden:
            return found, broken_at(chords, rows)
        for i in hidden:
            wishes[i][rows[i]] += AVOIDED
    return found, hidden


def _hidden(weights: Sequence[int], notes: Sequence[_Notes]) -> list[int]:
    """Chords on a beat that follow in fifths or octaves on the beat before.

    Only where one of the voices does not move in between, and the other does not excuse it.
    """
    found: list[int] = []
    before = 0
    for i in range(1, len(notes)):
        if weights[i] < 2:
            continue
        voices = [v for v in range(4) if notes[before][v] and notes[i][v]] if i - before > 1 else []
        for upper, lower in combinations(voices, 2):
            stays = any(
                all(between[v] == notes[before][v] for between in notes[before + 1 : i])
                for v in (upper, lower)
            )
            a, b, c, d = (notes[at][v] for at in (before, i) for v in (upper, lower))
            if stays and a and b and c and d and is_parallel((a, b), (c, d)):
                found.append(i)
        before = i
    return found


_Kind = tuple[int, str, str, Key]


def _kind(plan: Plan, phrase: Phrase) -> _Kind:
    """What phrases have in common that have the same chords."""
    section = max(s.onset for s in plan.sections if s.onset - s.pickup <= phrase.onset)
    return section, phrase.letter, phrase.cadence, phrase.key


def _setting(plan: Plan, phrase: Phrase) -> Setting:
    own = plan.setting
    if phrase.voices == own.voices:
        return own
    return replace(own, voices=phrase.voices)


def _harmonies(rng: random.Random, plan: Plan, known: dict[_Kind, Harmony]) -> list[Harmony]:
    """Chords of every phrase; those that are alike have the same. ``known`` is filled."""
    found: list[Harmony] = []
    for section in plan.sections:
        for phrase in section.phrases:
            kind = _kind(plan, phrase)
            if kind not in known:
                before = found[-1][-1] if found else None
                known[kind] = _harmony(rng, phrase, before)
            found.append(known[kind])
    return found


def _harmony(rng: random.Random, phrase: Phrase, before: tuple[str, Key] | None) -> Harmony:
    """Draw the chords of a phrase."""
    places = _places(rng, phrase.slots)
    weights = [slot.weight for slot, own in zip(phrase.slots, places, strict=True) if own]
    name = before[0] if before is not None and before[1] == phrase.home else None
    drawn = None
    if phrase.key != phrase.home and len(weights) >= 5:
        drawn = _modulation(rng, phrase, weights, name)
    if drawn is None:
        names = progression(rng, phrase.home.mode, weights, phrase.cadence, before=name)
        drawn = [(n, phrase.home) for n in names]
    following = iter(drawn)
    harmony: Harmony = []
    for own in places:
        harmony.append(next(following) if own else harmony[-1])
    return harmony


def _places(rng: random.Random, slots: Sequence[Slot]) -> list[bool]:
    """Which slots have a chord of their own; short ones on light places mostly have not."""
    found = []
    for i, slot in enumerate(slots):
        light = slot.weight <= 1 and 0 < i < len(slots) - 1 and slot.ticks < slots[i - 1].ticks * 2
        found.append(not (light and rng.random() < 0.7))
    return found


def _modulation(
    rng: random.Random, phrase: Phrase, weights: Sequence[int], before: str | None
) -> Harmony | None:
    """Draw chords that lead to another key over one that both have."""
    relation = "relative" if phrase.key.mode != phrase.home.mode else "dominant"
    n = len(weights)
    for _ in range(6):
        pivot, new_name = rng.choice(_PIVOTS[phrase.home.mode, relation])
        at = rng.randint(0, max(0, n - 5))
        first = walk(rng, phrase.home.mode, weights[: at + 1], pivot, before=before)
        if first is None:
            continue
        try:
            rest = progression(
                rng, phrase.key.mode, weights[at + 1 :], "authentic", before=new_name, goes_on=True
            )
        except ValueError:
            continue
        return [(n, phrase.home) for n in first] + [(n, phrase.key) for n in rest]
    return None


def _melodies(rng: random.Random, plan: Plan, harmonies: Sequence[Harmony]) -> list[Pitch]:
    """The melody that is wished for, of all phrases in a row."""
    setting = plan.setting
    found: list[Pitch] = []
    phrases = [(section, p) for section in plan.sections for p in section.phrases]
    contours: dict[tuple[int, str], list[float]] = {}
    known: dict[tuple[Chord, ...], list[Pitch]] = {}
    for (section, phrase), harmony in zip(phrases, harmonies, strict=True):
        chords = tuple(chord(name, key) for name, key in harmony)
        shape = (section.onset, phrase.letter)
        if shape not in contours:
            contours[shape] = draw_contour(rng, len(chords))
        if chords not in known:
            top = min(phrase.voices)
            middle = _step_near((setting.lowest[top] + setting.highest[top]) // 2)
            closing = (0,) if phrase.cadence in ("authentic", "plagal") else (1, 2, 0)
            known[chords] = draw_melody(
                rng, chords, contours[shape], middle=middle, closing=closing
            )
        found += known[chords]
    return found


def _step_near(midi: int) -> int:
    return round((midi - 12) * 7 / 12)


def _wish(of: Chord, setting: Setting, note: Pitch) -> Costs:
    """What it costs to leave the wished melody."""
    away = np.abs(voicings(of, setting).steps[:, min(setting.voices)] - note.step)
    return np.where(away == 0, 0, 1.5 + 0.4 * away).astype(np.float32)
