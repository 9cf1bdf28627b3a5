"""Plans of pieces: sections, phrases, cadences and keys, before there is a note.

A piece is a row of sections, a section a row of phrases, and phrases that bear the same letter are
alike. Time runs in ticks from the first full bar of the piece.
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
from converters.engraving.music.styles import CHOIR, SONG, STYLES, THREE_AND_ONE, TWO_AND_TWO, Style
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
    """What the voices may do."""
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
    """Draw what a piece will be.

    Args:
        rng: Source of chance.
        bars: How many bars it has, at least 1.
        key: Of its last section, unless that is to be drawn too.
        n_staves: 2 or 4, likewise; a song has two.
        style: Name of its style, likewise.
        metre: Name of its first metre, likewise.
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
    for own, group in zip(section_keys(rng, home, len(groups)), groups, strict=True):
        here = sections[-1].metre if sections else first
        if sections and not traits.pickup and rng.random() < 0.2:
            other = METRES[rng.choices(names, weights)[0]]
            if other.unit == here.unit and other.count != here.count:
                here = other  # the beat stays
        ends = len(sections) == len(groups) - 1
        section = _draw_section(rng, traits, own, here, onset=onset, lengths=group, ends=ends)
        sections.append(section)
        onset += section.n_bars * here.bar
    return Plan(
        style=drawn,
        staves=staves,
        setting=_setting(drawn, staves),
        n_verses=rng.choices(range(len(drawn.verses)), drawn.verses)[0],
        sections=tuple(sections),
    )


def _setting(style: Style, staves: tuple[tuple[int, ...], ...]) -> Setting:
    """What the voices may do."""
    if style.broken:
        return SONG
    if not style.keyboard:
        return CHOIR
    return THREE_AND_ONE if len(staves[0]) == 3 else TWO_AND_TWO


@dataclass(frozen=True, kw_only=True, slots=True)
class _Traits:
    """What all sections of a piece share."""

    style: Style
    pickup: int
    divided_pickup: bool
    fermatas: bool
    breath: bool


def _draw_style(rng: random.Random, name: str | None) -> Style:
    drawn = rng.choices([s for _, s in STYLES], [weight for weight, _ in STYLES])[0]
    if name is None:
        return drawn
    return next(s for _, s in STYLES if s.name == name)


def _draw_staves(
    rng: random.Random, style: Style, n_staves: int | None
) -> tuple[tuple[int, ...], ...]:
    """Draw which voices stand on which staff."""
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
    """Draw a section of phrases of so many bars; ``ends``: it is the last."""
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
    """Ticks of the last chord that are silent; enough of it is left."""
    if traits.breath and last.ticks > metre.beat * 3 // 2:
        return metre.beat
    rest = last.ticks - max(n for n in VALUES if n <= last.ticks)
    return rest if rest < metre.beat else 0  # rather a short rest than a tie


def _draw_templates(
    rng: random.Random, traits: _Traits, metre: Metre, letters: list[str], lengths: list[int]
) -> dict[str, list[Slot]]:
    """Draw the rhythm of each kind of phrase: mostly of two kinds of bars that recur."""
    style = traits.style
    pool = [draw_cell(rng, metre, style.variety, broad=style.broad) for _ in range(2)]
    found: dict[str, list[Slot]] = {}
    for letter, n_bars in zip(letters, lengths, strict=True):
        if letter in found:
            continue
        pattern = rng.choice(((0, 0, 0, 0), (0, 1, 0, 1), (0, 0, 1, 0), (0, 0, 0, 1)))
        cells = [pool[pattern[i % 4]] for i in range(n_bars)]
        if n_bars > 2 and rng.random() < 0.3:
            cells[-2] = draw_cell(rng, metre, style.variety, broad=style.broad)
        found[letter] = phrase_slots(
            metre,
            cells,
            pickup=traits.pickup,
            last_onset=draw_last_onset(rng, metre, traits.pickup, n_bars),
            divided_pickup=traits.divided_pickup,
        )
    return found


def _draw_voices(rng: random.Random, style: Style) -> tuple[int, ...]:
    """Draw which voices sing a phrase."""
    if rng.random() >= style.trios:
        return (0, 1, 2, 3)
    return rng.choice(((0, 1, 2), (1, 2, 3)))
