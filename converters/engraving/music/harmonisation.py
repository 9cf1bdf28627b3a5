"""Harmonisation: from a plan to chord progressions, a melody, and the four voices."""

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
    VoicingRules,
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
"""Names of pivot chords in the old and the new key, by the old mode and the new key's relation."""

TRIES = 30
AVOIDED = 40.0
"""Cost added to a voicing that causes parallels in its context."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sonority:
    """A chord at a position in the piece."""

    slot: Slot
    chord: Chord
    key: Key
    """Key in which the chord is heard."""
    phrase: Phrase
    notes: tuple[Pitch | None, ...]
    """Note of each voice, soprano first; None for a silent voice."""


Harmony = list[tuple[str, Key]]
"""Name and key of each chord of a phrase."""


def harmonise(rng: random.Random, plan: Plan) -> list[Sonority] | None:
    """Harmonise a plan for four voices; None if all attempts break a rule of voice leading."""
    phrases = [phrase for section in plan.sections for phrase in section.phrases]
    places = [(i, phrase, slot) for i, phrase in enumerate(phrases) for slot in phrase.slots]
    rules = [_rules(plan, phrase) for _, phrase, _ in places]
    known: dict[_Kind, Harmony] = {}
    for _ in range(TRIES):
        harmonies = _harmonies(rng, plan, known)
        melodies = _melodies(rng, plan, harmonies)
        names = [name for harmony in harmonies for name in harmony]
        chords = list(zip((chord(*name) for name in names), rules, strict=True))
        wishes = [_melody_costs(*c, note) for c, note in zip(chords, melodies, strict=True)]
        voiced, broken = _voice([slot for _, _, slot in places], chords, wishes)
        if not broken:
            return [
                Sonority(slot=slot, chord=c, key=key, phrase=phrase, notes=notes)
                for (_, phrase, slot), (c, _), (_, key), notes in zip(
                    places, chords, names, voiced, strict=True
                )
            ]
        for i in broken:  # redraw the phrases that could not be voiced
            for at in (places[i - 1][0], places[i][0]):
                known.pop(_kind(plan, phrases[at]), None)
    return None


_Notes = tuple[Pitch | None, ...]


def _voice(
    slots: Sequence[Slot], chords: Sequence[tuple[Chord, VoicingRules]], wishes: list[Costs]
) -> tuple[list[_Notes], list[int]]:
    """Voice the chords; also return the indices of those that could not be voiced.

    Parallel fifths from beat to beat are only detected afterwards. The chord to which they lead is
    then voiced differently, by adding a cost to ``wishes``.
    """
    weights = [slot.weight for slot in slots]
    voiced: list[_Notes] = []
    parallels: list[int] = []
    for _ in range(TRIES):
        rows = smoothest(chords, wishes)
        voiced = [voicings(*c).pitches(row) for c, row in zip(chords, rows, strict=True)]
        parallels = _beat_parallels(weights, voiced)
        if not parallels:
            return voiced, broken_at(chords, rows)
        for i in parallels:
            wishes[i][rows[i]] += AVOIDED
    return voiced, parallels


def _beat_parallels(weights: Sequence[int], notes: Sequence[_Notes]) -> list[int]:
    """Find chords on beats that form parallel fifths or octaves with the previous beat.

    Parallels only count if one of the two voices does not move in between.
    """
    indices: list[int] = []
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
                indices.append(i)
        before = i
    return indices


_Kind = tuple[int, str, str, Key]


def _kind(plan: Plan, phrase: Phrase) -> _Kind:
    """Return the key by which phrases share their chords."""
    section = max(s.onset for s in plan.sections if s.onset - s.pickup <= phrase.onset)
    return section, phrase.letter, phrase.cadence, phrase.key


def _rules(plan: Plan, phrase: Phrase) -> VoicingRules:
    if phrase.voices == plan.rules.voices:
        return plan.rules
    return replace(plan.rules, voices=phrase.voices)


def _harmonies(rng: random.Random, plan: Plan, known: dict[_Kind, Harmony]) -> list[Harmony]:
    """Draw the chords of every phrase; phrases of the same kind share them through ``known``."""
    harmonies: list[Harmony] = []
    for section in plan.sections:
        for phrase in section.phrases:
            kind = _kind(plan, phrase)
            if kind not in known:
                before = harmonies[-1][-1] if harmonies else None
                known[kind] = _harmony(rng, phrase, before)
            harmonies.append(known[kind])
    return harmonies


def _harmony(rng: random.Random, phrase: Phrase, before: tuple[str, Key] | None) -> Harmony:
    """Draw the chords of a phrase."""
    changes = _chord_changes(rng, phrase.slots)
    weights = [slot.weight for slot, new in zip(phrase.slots, changes, strict=True) if new]
    name = before[0] if before is not None and before[1] == phrase.home else None
    drawn = None
    if phrase.key != phrase.home and len(weights) >= 5:
        drawn = _modulation(rng, phrase, weights, name)
    if drawn is None:
        names = progression(rng, phrase.home.mode, weights, phrase.cadence, before=name)
        drawn = [(n, phrase.home) for n in names]
    following = iter(drawn)
    harmony: Harmony = []
    for new in changes:
        harmony.append(next(following) if new else harmony[-1])
    return harmony


def _chord_changes(rng: random.Random, slots: Sequence[Slot]) -> list[bool]:
    """Draw which slots have a new chord; short slots on weak positions mostly do not."""
    changes = []
    for i, slot in enumerate(slots):
        light = slot.weight <= 1 and 0 < i < len(slots) - 1 and slot.ticks < slots[i - 1].ticks * 2
        changes.append(not (light and rng.random() < 0.7))
    return changes


def _modulation(
    rng: random.Random, phrase: Phrase, weights: Sequence[int], before: str | None
) -> Harmony | None:
    """Draw chords that lead to another key by way of a pivot chord."""
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
                rng,
                phrase.key.mode,
                weights[at + 1 :],
                "authentic",
                before=new_name,
                continues=True,
            )
        except ValueError:
            continue
        return [(n, phrase.home) for n in first] + [(n, phrase.key) for n in rest]
    return None


def _melodies(rng: random.Random, plan: Plan, harmonies: Sequence[Harmony]) -> list[Pitch]:
    """Draw the desired melody of all phrases, concatenated."""
    rules = plan.rules
    melody: list[Pitch] = []
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
            middle = _step_near((rules.lowest[top] + rules.highest[top]) // 2)
            closing = (0,) if phrase.cadence in ("authentic", "plagal") else (1, 2, 0)
            known[chords] = draw_melody(
                rng, chords, contours[shape], middle=middle, closing=closing
            )
        melody += known[chords]
    return melody


def _step_near(midi: int) -> int:
    return round((midi - 12) * 7 / 12)


def _melody_costs(of: Chord, rules: VoicingRules, note: Pitch) -> Costs:
    """Compute the cost of each voicing for leaving the desired melody."""
    deviation = np.abs(voicings(of, rules).steps[:, min(rules.voices)] - note.step)
    return np.where(deviation == 0, 0, 1.5 + 0.4 * deviation).astype(np.float32)
