"""Plans of pieces: sections, phrases, cadences and keys, before there are notes.

A piece is a sequence of sections, and a section is a sequence of phrases; phrases with the same
letter are alike. Time is counted in ticks from the first full bar of the piece.
"""

import random
from dataclasses import dataclass, replace

from converters.engraving.music.forms import (
    draw_cadence,
    draw_groups,
    draw_key,
    draw_letters,
    draw_pickup,
    phrase_lengths,
    section_keys,
)
from converters.engraving.music.keys import Key
from converters.engraving.music.metres import METRES, VALUES, Metre
from converters.engraving.music.progressions import Cadence
from converters.engraving.music.rhythms import (
    Slot,
    draw_cell,
    draw_last_onset,
    phrase_slots,
)
from converters.engraving.music.styles import (
    CHOIR,
    SONG,
    STYLES,
    THREE_AND_ONE,
    TWO_AND_TWO,
    MusicStyle,
)
from converters.engraving.music.voicing import VoicingRules


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase:
    """A unit of music that ends with a cadence."""

    letter: str
    """Letter of the phrase; phrases of a section with the same letter share their music."""
    key: Key
    """Key in which the phrase ends."""
    home: Key
    """Key in which the phrase starts, which is the key of its section."""
    cadence: Cadence
    slots: tuple[Slot, ...]
    """Positions of its chords; onsets are relative to the start of the piece."""
    silent_before: int = 0
    """Ticks of silence at the end of its last chord, for a breath."""
    voices: tuple[int, ...] = (0, 1, 2, 3)
    """Voices that sing."""
    fermata: bool = False

    @property
    def onset(self) -> int:
        """Start in ticks, including the upbeat."""
        return self.slots[0].onset

    @property
    def end(self) -> int:
        """End in ticks."""
        return self.slots[-1].end


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Phrases under one key and time signature, between double barlines."""

    key: Key
    metre: Metre
    onset: int
    """Start of its first full bar in ticks."""
    n_bars: int
    pickup: int
    """Length of its upbeat in ticks."""
    phrases: tuple[Phrase, ...]
    repeated: bool = False
    two_endings: bool = False
    """Whether its last bar has first and second endings."""

    @property
    def end(self) -> int:
        """End of its last phrase in ticks."""
        return self.onset + self.n_bars * self.metre.bar - self.pickup


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Plan of a piece."""

    style: MusicStyle
    staves: tuple[tuple[int, ...], ...]
    """Voices of each staff, upper first."""
    rules: VoicingRules
    """Ranges and spacing of the voices."""
    n_verses: int
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
    """Draw the plan of a piece.

    Args:
        rng: Random number generator.
        bars: Number of bars, at least 1.
        key: Key of the last section; chosen at random if None.
        n_staves: Number of staves, 2 or 4; chosen at random if None. A song always has 2.
        style: Name of the style; chosen at random if None.
        metre: Name of the first metre; chosen at random if None.
    """
    drawn = _draw_style(rng, style)
    staves = _draw_staves(rng, drawn, n_staves)
    weights, names = zip(*drawn.metres, strict=True)
    first = METRES[metre or rng.choices(names, weights)[0]]
    home = key or draw_key(rng)
    usual = rng.choice(drawn.phrase_bars.get(first.felt, (4,)))
    groups = draw_groups(rng, phrase_lengths(rng, bars, usual))
    traits = _Traits(
        style=drawn,
        pickup=draw_pickup(rng, first) if rng.random() < drawn.pickup else 0,
        divided_pickup=rng.random() < 0.25,
        fermatas=rng.random() < drawn.fermatas,
        breath=rng.random() < drawn.breath,
    )
    sections: list[Section] = []
    onset = 0
    for section_key, group in zip(section_keys(rng, home, len(groups)), groups, strict=True):
        here = sections[-1].metre if sections else first
        if sections and not traits.pickup and rng.random() < 0.2:
            other = METRES[rng.choices(names, weights)[0]]
            if other.unit == here.unit and other.count != here.count:
                here = other  # the beat stays the same
        ends = len(sections) == len(groups) - 1
        section = _draw_section(
            rng, traits, section_key, here, onset=onset, lengths=group, ends=ends
        )
        sections.append(section)
        onset += section.n_bars * here.bar
    return Plan(
        style=drawn,
        staves=staves,
        rules=_rules(drawn, staves),
        n_verses=rng.choices(range(len(drawn.verses)), drawn.verses)[0],
        sections=tuple(sections),
    )


def _rules(style: MusicStyle, staves: tuple[tuple[int, ...], ...]) -> VoicingRules:
    """Choose the ranges and spacing of the voices."""
    if style.broken:
        return SONG
    if not style.keyboard:
        return CHOIR
    return THREE_AND_ONE if len(staves[0]) == 3 else TWO_AND_TWO


@dataclass(frozen=True, kw_only=True, slots=True)
class _Traits:
    """Traits shared by all sections of a piece."""

    style: MusicStyle
    pickup: int
    divided_pickup: bool
    fermatas: bool
    breath: bool


def _draw_style(rng: random.Random, name: str | None) -> MusicStyle:
    drawn = rng.choices([s for _, s in STYLES], [weight for weight, _ in STYLES])[0]
    if name is None:
        return drawn
    return next(s for _, s in STYLES if s.name == name)


def _draw_staves(
    rng: random.Random, style: MusicStyle, n_staves: int | None
) -> tuple[tuple[int, ...], ...]:
    """Draw the voices of each staff."""
    if style.broken:
        return ((0,), (1,))
    if n_staves is None:
        n_staves = 4 if rng.random() < style.four_staves else 2
    if n_staves == 4:
        return ((0,), (1,), (2,), (3,))
    return ((0, 1, 2), (3,)) if style.keyboard and rng.random() < 0.5 else ((0, 1), (2, 3))


def _draw_section(
    rng: random.Random,
    traits: _Traits,
    key: Key,
    metre: Metre,
    *,
    onset: int,
    lengths: list[int],
    ends: bool,
) -> Section:
    """Draw a section with phrases of the given lengths; ``ends`` marks the last section."""
    letters = draw_letters(rng, lengths)
    templates = _draw_templates(rng, traits, metre, letters, lengths)
    phrases: list[Phrase] = []
    start = onset
    for i, (letter, n_bars) in enumerate(zip(letters, lengths, strict=True)):
        closes = i == len(lengths) - 1
        slots = tuple(replace(s, onset=s.onset + start) for s in templates[letter])
        cadence, arrival = draw_cadence(rng, key, i, closes=closes, ends=closes and ends)
        last = ends and closes
        phrases.append(
            Phrase(
                letter=letter,
                key=arrival,
                home=key,
                cadence=cadence,
                slots=slots,
                voices=(0, 1, 2, 3) if last else _draw_voices(rng, traits.style),
                silent_before=_breath(traits, metre, slots[-1]),
                fermata=traits.fermatas or (last and rng.random() < 0.3),
            )
        )
        start += n_bars * metre.bar
    repeated = sum(lengths) > 2 and rng.random() < 0.3
    full = not traits.pickup and phrases[-1].slots[-1].weight == 4
    return Section(
        key=key,
        metre=metre,
        onset=onset,
        n_bars=sum(lengths),
        pickup=traits.pickup,
        phrases=tuple(phrases),
        repeated=repeated,
        two_endings=repeated and full and rng.random() < 0.6,
    )


def _breath(traits: _Traits, metre: Metre, last: Slot) -> int:
    """Return the ticks of silence at the end of the last chord, leaving enough of the chord."""
    if traits.breath and last.ticks > metre.beat * 3 // 2:
        return metre.beat
    rest = last.ticks - max(n for n in VALUES if n <= last.ticks)
    return rest if rest < metre.beat else 0  # prefer a short rest to a tie


def _draw_templates(
    rng: random.Random, traits: _Traits, metre: Metre, letters: list[str], lengths: list[int]
) -> dict[str, list[Slot]]:
    """Draw the rhythm of each kind of phrase, mostly from two recurring kinds of bars."""
    style = traits.style
    pool = [draw_cell(rng, metre, style.variety, broad=style.broad) for _ in range(2)]
    templates: dict[str, list[Slot]] = {}
    for letter, n_bars in zip(letters, lengths, strict=True):
        if letter in templates:
            continue
        pattern = rng.choice(((0, 0, 0, 0), (0, 1, 0, 1), (0, 0, 1, 0), (0, 0, 0, 1)))
        cells = [pool[pattern[i % 4]] for i in range(n_bars)]
        if n_bars > 2 and rng.random() < 0.3:
            cells[-2] = draw_cell(rng, metre, style.variety, broad=style.broad)
        templates[letter] = phrase_slots(
            metre,
            cells,
            pickup=traits.pickup,
            last_onset=draw_last_onset(rng, metre, traits.pickup, n_bars),
            divided_pickup=traits.divided_pickup,
        )
    return templates


def _draw_voices(rng: random.Random, style: MusicStyle) -> tuple[int, ...]:
    """Draw the voices that sing a phrase."""
    if rng.random() >= style.trios:
        return (0, 1, 2, 3)
    return rng.choice(((0, 1, 2), (1, 2, 3)))
