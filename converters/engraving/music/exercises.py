"""Exercises: short composed pieces in turn, which together contain certain symbols.

Each exercise starts with its own key and time signature, as in a textbook of harmony. Studies, bars
of melody on some staves, are inserted between them.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import cast

from lxml import etree
from lxml.etree import _Element as Element

from converters.engraving.music.composition import compose
from converters.engraving.music.decorations.bars import read_bars
from converters.engraving.music.decorations.mei import ID, Pen, tag
from converters.engraving.music.decorations.passages import renumber
from converters.engraving.music.decorations.scenes import Scene
from converters.engraving.music.decorations.studies import STUDIES
from converters.engraving.music.keys import Key, Mode

BARS = (2, 4)
"""Fewest and most bars of an exercise."""
LYRICS = 0.2
"""Fraction of pages of exercises that may have lyrics."""
STUDY_BARS = 2
"""Usual number of bars of a study."""
METRES = {
    "timeSig1": ("12/8",),
    "timeSig9": ("9/8",),
    "timeSigCommon": ("C",),
    "timeSigCutCommon": ("cut",),
    "timeSig6": ("6/8", "6/4"),
    "timeSig8": ("6/8", "3/8", "9/8", "12/8"),
    "timeSig3": ("3/4", "3/8", "3/2"),
    "timeSig2": ("2/4", "2/2", "3/2", "4/2", "12/8"),
    "timeSig4": ("4/4", "4/2", "2/4", "3/4", "6/4"),
}
"""Metres that contain a symbol, by category."""
KEYS = {"keySharp": range(2, 8), "keyFlat": range(-7, -1)}
"""Numbers of sharps of keys that contain a symbol, by category."""
STYLES = {"fermataAbove": "chorale"}
"""Kinds of pieces in which a symbol is frequent, by category."""
_OTHER_STYLES = {2: ("hymn", "hymn", "chorale", "keyboard"), 4: ("hymn", "chorale", "motet")}
_REPEATED = "repeatDot"
_CANCELLED = "keyNatural"
_DOUBLE = "barlineDouble"
CATEGORIES = frozenset({*METRES, *KEYS, *STYLES, *STUDIES, _REPEATED, _CANCELLED, _DOUBLE})
"""Categories of symbols that can be requested."""
LEAST = dict.fromkeys((*METRES, *STUDIES), 2) | {
    "keySharp": 4,
    "keyFlat": 4,
    "keyNatural": 6,
    "repeatDot": 4,
    "barlineDouble": 1,
    "fermataAbove": 2,
    "flag8thUp": 3,
    "flag16thUp": 4,
    "restQuarter": 3,
}
"""Usual number of symbols in one exercise or study with two staves, by category."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exercise:
    """Traits of an exercise."""

    n_bars: int
    metre: str
    key: Key
    style: str
    repeated: bool


def compose_exercises(
    rng: random.Random, *, bars: int, n_staves: int, wanted: Mapping[str, int]
) -> str:
    """Compose exercises.

    Args:
        rng: Random number generator; the same state gives the same exercises.
        bars: Approximate number of bars; there are more if the wanted symbols require it.
        n_staves: Number of staves, 2 or 4.
        wanted: Least number of symbols of categories of :data:`CATEGORIES`; it is usually but not
            always reached.

    Returns:
        The exercises as one MEI document.
    """
    uses = {
        key: -(-n // (LEAST[key] * (n_staves // 2 if key in METRES else 1)))
        for key, n in wanted.items()
    }
    studies = _draw_studies(rng, uses)
    exercises = _draw_traits(rng, bars - STUDY_BARS * len(studies), n_staves, uses)
    lyrics = rng.random() < LYRICS
    root = _compose(rng, exercises[0], n_staves, lyrics=lyrics)
    _prefix_ids(root, "e0")
    pen = Pen(root)
    n_places = min(len(exercises) - 1, len(studies))
    double = _DOUBLE in wanted or rng.random() < 0.5
    for i, exercise in enumerate(exercises[1:], 1):
        piece = _compose(rng, exercise, n_staves, opens=True, lyrics=lyrics)
        _prefix_ids(piece, f"e{i}")
        first = next(piece.iter(tag("measure")))
        _append(root, piece, cancelled=_CANCELLED in wanted, double=double)
        for study in studies[i - 1 :: n_places] if i <= n_places else ():
            _insert(root, first, study, pen, rng)
    measures = list(root.iter(tag("measure")))
    for measure in measures:
        measure.attrib.pop("n", None)
    renumber(measures)
    return str(etree.tostring(root, encoding="unicode"))


def _draw_studies(rng: random.Random, uses: Mapping[str, int]) -> list[Callable[[Scene], None]]:
    """Draw the order of the studies; one study can serve several categories."""
    n: Counter[Callable[[Scene], None]] = Counter()
    for key in uses:
        if key in STUDIES:
            n[STUDIES[key]] = max(n[STUDIES[key]], uses[key])
    studies = list(n.elements())
    rng.shuffle(studies)
    return studies


def _n_required(uses: Mapping[str, int]) -> int:
    """Compute the number of exercises that the uses require, apart from their metres."""
    keys = sum(uses.get(key, 0) for key in KEYS)
    studies = any(key in STUDIES for key in uses)
    changes = max(uses.get(_CANCELLED, 0), studies)
    barlines = uses.get(_DOUBLE, 0) + uses.get(_REPEATED, 0)
    return max(keys, changes + 1, barlines + 1, sum(uses.get(key, 0) for key in STYLES))


def _draw_traits(
    rng: random.Random, bars: int, n_staves: int, uses: Mapping[str, int]
) -> list[Exercise]:
    """Draw the traits of exercises that fill the bars; those with wanted symbols come first."""
    metres = _draw_metres(rng, uses)
    keys = [key for key in KEYS for _ in range(uses.get(key, 0))]
    styles = [STYLES[key] for key in STYLES for _ in range(uses.get(key, 0))]
    repeated = [_REPEATED] * uses.get(_REPEATED, 0)
    required = max(_n_required(uses), len(metres))
    n = max(required, round(bars / (sum(BARS) / 2)))
    names = (_filled(rng, part, required, n) for part in (metres, keys, styles, repeated))
    exercises: list[Exercise] = []
    for metre, key, style, is_repeated in zip(*names, strict=True):
        last = exercises[-1].key.fifths if exercises else 0
        changes = [f for f in KEYS.get(key, range(-7, 8)) if f != last]
        cancelling = [f for f in changes if f * last <= 0 and (f or exercises)]
        choices = cancelling if _CANCELLED in uses and cancelling else changes
        fifths = rng.choices(choices, [9 - abs(f) for f in choices])[0]
        mode: Mode = "minor" if rng.random() < 0.4 else "major"
        exercise = Exercise(
            n_bars=rng.randint(*BARS) if bars / n > BARS[0] + 0.5 else BARS[0],
            metre=metre or rng.choice([m for names in METRES.values() for m in names]),
            key=Key(fifths, mode),
            style=style or rng.choice(_OTHER_STYLES[n_staves]),
            repeated=bool(is_repeated) or (_DOUBLE not in uses and rng.random() < 0.15),
        )
        exercises.append(exercise)
    return exercises


def _filled(rng: random.Random, part: Sequence[str], required: int, n: int) -> list[str]:
    """Shuffle names among the required exercises, and add empty ones for all others."""
    names = [*part, *[""] * (required - len(part))]
    rng.shuffle(names)
    return [*names, *[""] * (n - required)]


def _compose(
    rng: random.Random,
    exercise: Exercise,
    n_staves: int,
    *,
    opens: bool = False,
    lyrics: bool = False,
) -> Element:
    """Compose an exercise.

    Args:
        rng: Random number generator.
        exercise: Traits of the exercise.
        n_staves: Number of staves, 2 or 4.
        opens: Whether a repeat needs a sign where it starts.
        lyrics: Whether lyrics are kept, if there are any.
    """
    mei = compose(
        rng,
        bars=exercise.n_bars,
        key=exercise.key,
        n_staves=n_staves,
        style=exercise.style,
        metre=exercise.metre,
    )
    piece = etree.fromstring(mei.encode())
    for verse in () if lyrics else list(piece.iter(tag("verse"))):
        cast(Element, verse.getparent()).remove(verse)
    if exercise.repeated:
        _repeat(piece, opens=opens)
    return piece


def _insert(
    root: Element, first: Element, study: Callable[[Scene], None], pen: Pen, rng: random.Random
) -> None:
    """Insert a study before the first measure of an exercise."""
    bars = read_bars(root)
    at = next(i for i, bar in enumerate(bars) if bar.measure is first)
    scene = Scene(pen=pen, rng=rng, home=bars[at], before=bars[at - 1])
    study(scene)
    for element in scene.close():
        first.addprevious(element)


def _draw_metres(rng: random.Random, wanted: Mapping[str, int]) -> list[str]:
    """Draw as few metres as contain the wanted figures and signs."""
    missing = {key: n for key, n in wanted.items() if key in METRES}
    metres: list[str] = []
    for key in METRES:  # figures of few metres come first, and may bring the others
        while missing.get(key, 0) > 0:
            metres.append(rng.choice(METRES[key]))
            for other in missing:
                missing[other] -= metres[-1] in METRES[other]
    return metres


def _prefix_ids(root: Element, prefix: str) -> None:
    """Make the ids of a piece, and the references to them, unique among the exercises."""
    for element in root.iter(etree.Element):
        if element.get(ID):
            element.set(ID, prefix + str(element.get(ID)))
        for reference in ("startid", "endid"):
            if value := element.get(reference):
                element.set(reference, f"#{prefix}{value[1:]}")


def _repeat(piece: Element, *, opens: bool) -> None:
    """Enclose an exercise in repeat signs unless a part of it is repeated already."""
    measures = list(piece.iter(tag("measure")))
    ends = ("rptstart", "rptend")
    if any(m.get("left") in ends or m.get("right") in ends for m in measures):
        return
    if opens:
        measures[0].set("left", "rptstart")
    measures[-1].set("right", "rptend")


def _append(root: Element, piece: Element, *, cancelled: bool, double: bool) -> None:
    """Append an exercise with its key and time signature.

    Args:
        root: Exercises so far.
        piece: Exercise to append.
        cancelled: Whether naturals cancel the previous key, as in older prints.
        double: Whether a double barline ends the previous exercise rather than a final one.
    """
    *_, last = root.iter(tag("measure"))
    if double and last.get("right") == "end":
        last.set("right", "dbl")
    section, other = (next(r.iter(tag("section"))) for r in (root, piece))
    definition = next(piece.iter(tag("scoreDef")))
    for group in list(definition):
        definition.remove(group)
    signature = etree.SubElement(definition, tag("keySig"))
    signature.set("sig", str(definition.attrib.pop("keysig")))
    signature.set("cancelaccid", "before" if cancelled or signature.get("sig") == "0" else "none")
    section.extend(chain([definition], list(other)))
