"""Plans of pieces: sections, phrases, cadences and keys, before there is a note.

A piece is a row of sections, a section a row of phrases, and phrases that bear the same letter are
alike. Time runs in ticks from the first full bar of the piece.
"""

import random
from dataclasses import dataclass, replace

from converters.engraving.music.keys import Key, Mode
from converters.engraving.music.metres import METRES, Metre
from converters.engraving.music.progressions import Cadence
from converters.engraving.music.rhythms import (
    Cell,
    Slot,
    draw_cell,
    draw_last_onset,
    phrase_slots,
)
from converters.engraving.music.styles import CHOIR, STYLES, THREE_AND_ONE, TWO_AND_TWO, Style
from converters.engraving.music.voicing import Setting


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase:
    """A stretch of music that ends with a cadence."""

    letter: str
    """Phrases of a section with the same letter share rhythm, chords and melody."""
    key: Key
    """Where it ends."""
    home: Key
    """Where it begins: the key of its section."""
    cadence: Cadence
    slots: tuple[Slot, ...]
    """Places of its chords; their onsets count from the piece's start."""
    silent_before: int = 0
    """Ticks of its last chord that are silent, to breathe."""
    voices: tuple[int, ...] = (0, 1, 2, 3)
    """Which voices sing."""
    fermata: bool = False

    @property
    def onset(self) -> int:
        """Where it begins, with its pickup."""
        return self.slots[0].onset

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.slots[-1].end


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Phrases under one signature, between heavier bar lines."""

    key: Key
    metre: Metre
    onset: int
    """Of its first full bar."""
    n_bars: int
    pickup: int
    phrases: tuple[Phrase, ...]
    repeated: bool = False
    two_endings: bool = False
    """Whether its last bar is different the second time."""

    @property
    def end(self) -> int:
        """Where its last phrase ends."""
        return self.onset + self.n_bars * self.metre.bar - self.pickup


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a piece will be."""

    style: Style
    staves: tuple[tuple[int, ...], ...]
    """Voices of each staff, upper first."""
    setting: Setting
    sections: tuple[Section, ...]


def draw_plan(
    rng: random.Random,
    bars: int,
    *,
    key: Key | None = None,
    n_staves: int | None = None,
    style: str | None = None,
    metre: str | None = None,
) -> Plan:
    """Draw what a piece will be.

    Args:
        rng: Source of chance.
        bars: How many bars it has, at least 1.
        key: Of its last section, unless that is to be drawn too.
        n_staves: 2 or 4, likewise.
        style: Name of its style, likewise.
        metre: Name of its first metre, likewise.
    """
    drawn = rng.choices([s for _, s in STYLES], [weight for weight, _ in STYLES])[0]
    if style is not None:
        drawn = next(s for _, s in STYLES if s.name == style)
    staves = _draw_staves(rng, drawn, n_staves)
    setting = CHOIR if not drawn.keyboard else THREE_AND_ONE if len(staves[0]) == 3 else TWO_AND_TWO
    weights, names = zip(*drawn.metres, strict=True)
    first = METRES[metre or rng.choices(names, weights)[0]]
    home = key or draw_key(rng)
    usual = rng.choice(drawn.phrase_bars.get(first.beats, (4,)))
    lengths = _phrase_lengths(rng, bars, usual)
    pickup = _draw_pickup(rng, first) if rng.random() < drawn.pickup else 0
    groups = _group(rng, lengths)
    keys = _section_keys(rng, home, len(groups))
    sections: list[Section] = []
    onset = 0
    for i, (group, own) in enumerate(zip(groups, keys, strict=True)):
        is_last = i == len(groups) - 1
        here = sections[-1].metre if sections else first
        if sections and not pickup and rng.random() < 0.2:
            other = METRES[rng.choices(names, weights)[0]]
            if other.unit == here.unit and other.count != here.count:
                here = other  # the beat stays
        section = _section(
            rng, drawn, own, here, onset=onset, lengths=group, pickup=pickup, is_last=is_last
        )
        sections.append(section)
        onset = section.onset + section.n_bars * here.bar
    return Plan(style=drawn, staves=staves, setting=setting, sections=tuple(sections))


def _draw_staves(
    rng: random.Random, style: Style, n_staves: int | None
) -> tuple[tuple[int, ...], ...]:
    """Draw which voices stand on which staff."""
    if n_staves is None:
        n_staves = 4 if rng.random() < style.four_staves else 2
    if n_staves == 4:
        return ((0,), (1,), (2,), (3,))
    return ((0, 1, 2), (3,)) if style.keyboard and rng.random() < 0.5 else ((0, 1), (2, 3))


def draw_key(rng: random.Random) -> Key:
    """Draw a key; simple signatures come more often, and all of them come."""
    fifths = rng.choices(range(-7, 8), [10 - abs(f) for f in range(-7, 8)])[0]
    mode: Mode = "minor" if rng.random() < 0.38 else "major"
    return Key(fifths, mode)


def related_keys(key: Key) -> dict[str, Key]:
    """The keys that a phrase may lead to, by the degree that is their tonic."""
    other: Mode = "minor" if key.mode == "major" else "major"
    wanted = {"relative": (key.fifths, other), "dominant": (key.fifths + 1, key.mode)}
    return {name: Key(*found) for name, found in wanted.items() if abs(found[0]) <= 7}


def _phrase_lengths(rng: random.Random, bars: int, usual: int) -> list[int]:
    """Divide bars into phrases of about the usual length."""
    if bars < 2 * usual:
        return [bars] if bars < 6 else [bars - bars // 2, bars // 2]
    n, rest = divmod(bars, usual)
    lengths = [usual] * n
    if rest >= max(2, usual // 2):
        return [*lengths, rest]
    for _ in range(rest):
        lengths[rng.randrange(n)] += 1
    return lengths


def _group(rng: random.Random, lengths: list[int]) -> list[list[int]]:
    """Divide phrases into sections of two or more."""
    if len(lengths) < 4 or rng.random() < 0.45:
        return [lengths]
    cut = 2 * rng.randint(1, (len(lengths) - 2) // 2)
    if len(lengths) - cut >= 8 and rng.random() < 0.6:
        second = cut + 2 * rng.randint(1, (len(lengths) - cut - 2) // 2)
        return [lengths[:cut], lengths[cut:second], lengths[second:]]
    return [lengths[:cut], lengths[cut:]]


def _section_keys(rng: random.Random, home: Key, n: int) -> list[Key]:
    """Keys of the sections; the last is home."""
    keys = [home] * n
    near = [
        Key(fifths, mode)
        for fifths, mode in (
            (home.fifths + 1, home.mode),
            (home.fifths - 1, home.mode),
            (home.fifths, "minor" if home.mode == "major" else "major"),
            (home.fifths + (-3 if home.mode == "major" else 3), _other(home.mode)),
        )
        if abs(fifths) <= 7
    ]
    if n == 2 and rng.random() < 0.3:
        keys[0] = rng.choice(near)
    if n == 3 and rng.random() < 0.6:
        keys[1] = rng.choice(near)
    return keys


def _other(mode: Mode) -> Mode:
    return "minor" if mode == "major" else "major"


def _draw_pickup(rng: random.Random, metre: Metre) -> int:
    """Draw the length of an upbeat in ticks."""
    if metre.compound:
        return rng.choice((metre.unit_ticks, metre.unit_ticks, metre.beat))
    if metre.unit == 8 or metre.beats == 3:
        return metre.beat
    if metre.beats == 4:
        return rng.choice((metre.beat, metre.beat, metre.beat, metre.beat * 2, metre.beat // 2))
    return rng.choice((metre.beat, metre.beat // 2))


def _section(
    rng: random.Random,
    style: Style,
    key: Key,
    metre: Metre,
    *,
    onset: int,
    lengths: list[int],
    pickup: int,
    is_last: bool,
) -> Section:
    """Draw the phrases of a section."""
    letters = _letters(rng, lengths)
    pool = [draw_cell(rng, metre, style.variety) for _ in range(2)]
    divided = rng.random() < 0.25
    fermatas = rng.random() < style.fermatas
    breath = metre.beat if rng.random() < style.breath else 0
    templates: dict[str, list[Slot]] = {}
    phrases: list[Phrase] = []
    start = onset
    for i, (letter, n_bars) in enumerate(zip(letters, lengths, strict=True)):
        if letter not in templates:
            cells = _cells(rng, style, metre, pool, n_bars)
            last = draw_last_onset(rng, metre, pickup, n_bars)
            templates[letter] = phrase_slots(
                metre, cells, pickup=pickup, last_onset=last, divided_pickup=divided
            )
        slots = tuple(replace(s, onset=s.onset + start) for s in templates[letter])
        closes = i == len(lengths) - 1
        cadence, ends_in = _draw_cadence(rng, key, i, closes=closes, ends=closes and is_last)
        phrases.append(
            Phrase(
                letter=letter,
                key=ends_in,
                home=key,
                cadence=cadence,
                slots=slots,
                voices=_draw_voices(rng, style, ends=closes and is_last),
                silent_before=breath if slots[-1].ticks > breath + metre.beat // 2 else 0,
                fermata=fermatas or (is_last and closes and rng.random() < 0.3),
            )
        )
        start += n_bars * metre.bar
    repeated = sum(lengths) > 2 and rng.random() < 0.3
    return Section(
        key=key,
        metre=metre,
        onset=onset,
        n_bars=sum(lengths),
        pickup=pickup,
        phrases=tuple(phrases),
        repeated=repeated,
        two_endings=repeated
        and not pickup
        and phrases[-1].slots[-1].weight == 4
        and rng.random() < 0.6,
    )


def _draw_voices(rng: random.Random, style: Style, *, ends: bool) -> tuple[int, ...]:
    """Draw which voices sing a phrase; all at the end."""
    if ends or rng.random() >= style.trios:
        return (0, 1, 2, 3)
    return rng.choice(((0, 1, 2), (1, 2, 3)))


def _letters(rng: random.Random, lengths: list[int]) -> list[str]:
    """Name the phrases; only those of the same length can be alike."""
    forms = {1: ("A",), 2: ("AB", "AA", "AB"), 3: ("AAB", "ABA", "ABC")}
    four = ("ABAC", "AABA", "ABCD", "AABC", "ABCB", "ABAB")
    found: list[str] = []
    for first in range(0, len(lengths), 4):
        part = lengths[first : first + 4]
        form = rng.choice(forms.get(len(part), four))
        found += [f"{form[i]}{first if first % 8 else ''}.{n}" for i, n in enumerate(part)]
    return found


def _cells(
    rng: random.Random, style: Style, metre: Metre, pool: list[Cell], n_bars: int
) -> list[Cell]:
    """Rhythms of a phrase's bars: mostly two that recur."""
    patterns = ((0, 0, 0, 0), (0, 1, 0, 1), (0, 0, 1, 0), (0, 0, 0, 1))
    pattern = rng.choice(patterns)
    cells = [pool[pattern[i % 4]] for i in range(n_bars)]
    if n_bars > 2 and rng.random() < 0.3:
        cells[-2] = draw_cell(rng, metre, style.variety)
    return cells


def _draw_cadence(
    rng: random.Random, key: Key, i: int, *, closes: bool, ends: bool
) -> tuple[Cadence, Key]:
    """Draw how a phrase closes and in which key."""
    if ends:
        return ("plagal" if rng.random() < 0.12 else "authentic"), key
    if closes:
        return "authentic", key
    near = list(related_keys(key).values())
    if near and rng.random() < (0.28 if i % 2 else 0.18):
        return "authentic", rng.choice(near)
    kinds: tuple[Cadence, ...] = ("half", "imperfect", "authentic", "deceptive")
    weights = (1, 2, 4, 0.4) if i % 2 else (5, 2, 0.5, 0.7)
    return rng.choices(kinds, weights)[0], key
