"""Composition of pieces in four-part harmony from a seed; the music is free of copyright."""

import random
from collections.abc import Sequence
from itertools import pairwise

from converters.engraving.music.accompaniment import break_chords
from converters.engraving.music.figuration import decorate
from converters.engraving.music.harmonisation import Sonority, harmonise
from converters.engraving.music.keys import Key
from converters.engraving.music.lyrics import Language, Syllable, draw_line
from converters.engraving.music.mei import MeiPiece, MeiStaff, ScoreLayout, write
from converters.engraving.music.notation import (
    Bar,
    Line,
    Note,
    bars_of,
    set_accidentals,
    with_endings,
    write_voice,
)
from converters.engraving.music.pauses import breathe, enter_late, last_of_phrases
from converters.engraving.music.plans import Plan, draw_plan

_TEMPI = (
    "Adagio", "Andante", "Andante con moto", "Moderato", "Allegretto", "Con moto", "Largo",
    "Lento", "Maestoso", "Sostenuto", "Tranquillo", "Poco adagio", "Andantino", "Grave",
)  # fmt: skip


def compose(
    rng: random.Random,
    *,
    bars: int,
    key: Key | None = None,
    n_staves: int | None = None,
    style: str | None = None,
    metre: str | None = None,
) -> str:
    """Compose a piece.

    Args:
        rng: Random number generator; the same state gives the same piece.
        bars: Approximate length of the piece in bars, at least 1.
        key: Key in which the piece ends; chosen at random if None.
        n_staves: Number of staves, 2 or 4; chosen at random if None. A song always has 2.
        style: Name of one of :data:`styles.STYLES`; chosen at random if None.
        metre: Name of one of :data:`metres.METRES`; chosen at random if None.

    Returns:
        The piece as MEI 5.

    Raises:
        ValueError: ``bars`` is below 1.
    """
    if bars < 1:
        raise ValueError(f"bars must be at least 1, got {bars}")
    plan = draw_plan(rng, bars, key=key, n_staves=n_staves, style=style, metre=metre)
    sonorities = harmonise(rng, plan)
    while sonorities is None:  # one in thousands: a plan that cannot be harmonised is redrawn
        plan = draw_plan(rng, bars, key=key, n_staves=n_staves, style=style, metre=metre)
        sonorities = harmonise(rng, plan)
    enter_late(rng, sonorities, plan)
    parts = decorate(rng, sonorities, plan, _free_voices(plan))
    breathe(parts, sonorities)
    if plan.style.broken:
        parts = [parts[0], break_chords(rng, sonorities, plan)]
    bar_list = bars_of(plan)
    voices = [write_voice(part, sonorities, bar_list) for part in parts]
    bar_list = with_endings(bar_list, voices)
    layout = _draw_layout(rng, plan)
    _set_accidentals(voices, bar_list, layout)
    verses = _draw_verses(rng, plan, sonorities, voices)
    piece = MeiPiece(
        title=_draw_title(rng),
        layout=layout,
        bars=bar_list,
        voices=voices,
        tempo=rng.choice(_TEMPI) if rng.random() < 0.3 else "",
        verses=verses,
        slurs=_slurs(voices, verses),
        fermatas=_fermatas(sonorities),
    )
    return write(piece)


def _draw_title(rng: random.Random) -> str:
    """Draw the title: one made-up word."""
    return "".join(syllable.text for syllable in draw_line(rng, 4, "latin", "")).capitalize()


def _free_voices(plan: Plan) -> Sequence[int]:
    """List the voices that may be ornamented: if three share stems, only the outer ones."""
    if plan.style.broken:
        return (0,)
    return (0, 3) if max(map(len, plan.staves)) > 2 else range(4)


def _fermatas(sonorities: Sequence[Sonority]) -> set[int]:
    return {i for i in last_of_phrases(sonorities) if sonorities[i].phrase.fermata}


def _draw_layout(rng: random.Random, plan: Plan) -> ScoreLayout:
    """Draw clefs, labels and the conventions for stems and beams."""
    if len(plan.staves) == 4:
        labels = ("Soprano", "Alto", "Tenor", "Bass") if rng.random() < 0.6 else ("",) * 4
        clefs = rng.choice(
            (
                (("G", 2, 0), ("G", 2, 0), ("G", 2, 8), ("F", 4, 0)),
                (("G", 2, 0), ("G", 2, 0), ("G", 2, 8), ("F", 4, 0)),
                (("G", 2, 0), ("C", 3, 0), ("C", 4, 0), ("F", 4, 0)),
                (("C", 1, 0), ("C", 3, 0), ("C", 4, 0), ("F", 4, 0)),
            )
        )
        staves = tuple(
            MeiStaff(voices=(v,), clef=clefs[v], label=labels[v], short_label=labels[v][:1])
            for v in range(4)
        )
    else:
        upper, lower = plan.staves
        staves = (
            MeiStaff(voices=upper, clef=("G", 2, 0)),
            MeiStaff(voices=lower, clef=("F", 4, 0)),
        )
    return ScoreLayout(
        staves=staves,
        brace=len(plan.staves) == 2,
        joined_bars=len(plan.staves) == 2 or rng.random() < 0.3,
        shared_stems=plan.style.keyboard,
        wide_beams=len(plan.staves) == 2 and plan.n_verses == 0 and rng.random() < 0.5,
        beams_by_syllable=rng.random() < 0.5,
        courtesy=rng.random() < 0.6,
        merged_rests=rng.random() < 0.7,
        brackets=rng.random() < 0.2,
    )


def _set_accidentals(voices: list[list[Line]], bars: Sequence[Bar], layout: ScoreLayout) -> None:
    for staff in layout.staves:
        altered: dict[int, int] = {}
        for i, bar in enumerate(bars):
            lines = [voices[voice][i] for voice in staff.voices]
            altered = set_accidentals(lines, bar.section.key, altered, layout.courtesy)


def _draw_verses(
    rng: random.Random,
    plan: Plan,
    sonorities: Sequence[Sonority],
    voices: list[list[Line]],
) -> dict[int, list[list[Syllable | None]]]:
    """Draw the lyrics: below the soprano on two staves, below every voice in open score."""
    if plan.n_verses == 0:
        return {}
    language: Language = rng.choice(("latin", "english"))
    singing = range(4) if len(plan.staves) == 4 else (0,)
    sung = {v: {x.chord for line in voices[v] for x in line if x.sung} for v in singing}
    verses: dict[int, list[list[Syllable | None]]] = {v: [] for v in singing}
    for _ in range(plan.n_verses):
        texts = _draw_text(rng, sonorities, language)
        for v in singing:
            verses[v].append([s if i in sung[v] else None for i, s in enumerate(texts)])
    return verses


def _draw_text(
    rng: random.Random, sonorities: Sequence[Sonority], language: Language
) -> list[Syllable]:
    """Draw a syllable for each chord, and a line of verse for each phrase."""
    syllables: list[Syllable] = []
    for i in last_of_phrases(sonorities):
        ending = rng.choice((",", ",", ";", ".", "", "!")) if i < len(sonorities) - 1 else "."
        entries = [j for j in range(len(syllables) + 1, i) if _enters(sonorities, j)]
        for end in entries:  # a voice that enters late starts with a new word
            syllables += draw_line(
                rng, end - len(syllables), language, "", capital=end == entries[0]
            )
        syllables += draw_line(rng, i + 1 - len(syllables), language, ending, capital=not entries)
    return syllables


def _enters(sonorities: Sequence[Sonority], i: int) -> bool:
    """Check whether a voice starts to sing with a sonority."""
    before, here = sonorities[i - 1].notes, sonorities[i].notes
    return any(a is None and b is not None for a, b in zip(before, here, strict=True))


def _slurs(
    voices: list[list[Line]], verses: dict[int, list[list[Syllable | None]]]
) -> list[tuple[Note, Note]]:
    """List the slurs over notes that share a syllable."""
    slurs: list[tuple[Note, Note]] = []
    for voice in verses:
        notes = [x for line in voices[voice] for x in line if x.pitch is not None]
        starts = [i for i, x in enumerate(notes) if x.sung]
        for start, end in pairwise([*starts, len(notes)]):
            run = [x for x in notes[start:end] if x.chord == notes[start].chord]
            if sum(x.first for x in run) > 1:
                slurs.append((run[0], run[-1]))
    return slurs
