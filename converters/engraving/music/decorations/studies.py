"""Studies: inserted bars of melody with ordinary symbols that harmony seldom needs."""

import random
from collections.abc import Callable, Sequence

from lxml.etree import _Element as Element

from converters.engraving.music.decorations.bars import Clef, MeiMetre
from converters.engraving.music.decorations.mei import name
from converters.engraving.music.decorations.melodies import Melody
from converters.engraving.music.decorations.rhythms import (
    EIGHTH,
    HALF,
    SIXTEENTH,
    Rhythm,
    RhythmEvent,
    RhythmGroup,
    beats,
    flagged,
    flowing,
)
from converters.engraving.music.decorations.scenes import Scene

ALTO, TENOR = Clef(shape="C", line=3), Clef(shape="C", line=4)
_FOUR_FOUR = MeiMetre(count=4, unit=4)
_HALVES = ((-HALF, HALF), (HALF, -HALF))
"""Rhythms of a bar; negative lengths are rests."""


def short(scene: Scene) -> None:
    """Write eighths and sixteenths with flags, and rests between them."""
    for _ in range(2):
        rhythm = flagged(scene.rng, scene.metre, SIXTEENTH, 0.35)
        scene.bar({staff: melody.bar(rhythm) for staff, melody in _melodies(scene).items()})


def on_beats(scene: Scene) -> None:
    """Write notes and rests of a quarter or, in compound metres, of a dotted quarter."""
    if scene.metre.unit < 4 or len(beats(scene.rng, scene.metre)) < 2:
        scene.set_metre(_FOUR_FOUR)
    for _ in range(2):
        rhythm = _on_beats(scene.rng, scene.metre)
        scene.bar({staff: melody.bar(rhythm) for staff, melody in _melodies(scene).items()})


def long(scene: Scene) -> None:
    """Write whole notes on two staves, and half notes and rests while another staff is silent."""
    if scene.metre.length != _FOUR_FOUR.length:
        scene.set_metre(_FOUR_FOUR)
    melodies = _melodies(scene)
    scene.bar({n: melody.bar([_single(2 * HALF)]) for n, melody in melodies.items()})
    for staff, melody in melodies.items():
        scene.bar({staff: melody.bar([_single(n) for n in scene.rng.choice(_HALVES)])})


def sharpened(scene: Scene) -> None:
    """Write double sharps, in a key with many sharps."""
    _chromatic(scene, scene.rng.randint(5, 7))


def flattened(scene: Scene) -> None:
    """Write double flats, in a key with many flats."""
    _chromatic(scene, -scene.rng.randint(5, 7))


def c_clefs(scene: Scene) -> None:
    """Write a bar in alto and tenor clef, and another with the clefs exchanged."""
    staves = scene.rng.sample(scene.staves, 2)
    for clefs in ((ALTO, TENOR), (TENOR, ALTO)):
        voices: dict[str, list[Element]] = {}
        for staff, clef in zip(staves, clefs, strict=True):
            scene.clef_at_end(staff, clef)
            rhythm = flowing(scene.rng, scene.metre, EIGHTH)
            voices[staff] = scene.melody(staff, clef).bar(rhythm)
        scene.bar(voices)
    for staff in staves:
        scene.clef_at_end(staff, scene.home.clefs[staff])


def tied(scene: Scene) -> None:
    """Write two bars whose staves are tied across the barline."""
    voices = {
        staff: [melody.bar(flowing(scene.rng, scene.metre, EIGHTH)) for _ in range(2)]
        for staff, melody in _melodies(scene).items()
    }
    for first, second in voices.values():
        _tie(_notes(first)[-1], _notes(second)[0])
    for i in range(2):
        scene.bar({staff: bars[i] for staff, bars in voices.items()})


STUDIES: dict[str, Callable[[Scene], None]] = {
    "noteheadWholeOnLine": long,
    "restWhole": long,
    "restHalf": long,
    "flag8thUp": short,
    "flag16thUp": short,
    "rest8th": short,
    "rest16th": short,
    "restQuarter": on_beats,
    "accidentalDoubleSharp": sharpened,
    "accidentalDoubleFlat": flattened,
    "clefCAlto": c_clefs,
    "clefCTenor": c_clefs,
    "tie": tied,
}
"""Functions that write studies, by the category of symbols that they contain."""


def _melodies(scene: Scene) -> dict[str, Melody]:
    """Start a melody on two staves."""
    return {staff: scene.melody(staff) for staff in scene.rng.sample(scene.staves, 2)}


def _chromatic(scene: Scene, fifths: int) -> None:
    scene.set_key(fifths)
    melodies = _melodies(scene)
    for melody in melodies.values():
        melody.chromatic, melody.extreme = 0.7, 0.0
    for _ in range(2):
        rhythm = flowing(scene.rng, scene.metre, EIGHTH)
        scene.bar({staff: melody.bar(rhythm) for staff, melody in melodies.items()})


def _on_beats(rng: random.Random, metre: MeiMetre) -> Rhythm:
    """Draw the notes and rests of a bar, at least one of each."""
    lengths = beats(rng, metre)
    resting = set(rng.sample(range(len(lengths)), max(1, len(lengths) // 2)))
    return [_single(-n if i in resting else n) for i, n in enumerate(lengths)]


def _single(length: int) -> RhythmGroup:
    return RhythmGroup(sounds=(RhythmEvent(length=abs(length), is_rest=length < 0),))


def _notes(bar: Sequence[Element]) -> list[Element]:
    return [e for top in bar for e in top.iter() if name(e) == "note"]


def _tie(first: Element, second: Element) -> None:
    """Repeat a note and tie it to its repetition, which needs no accidental."""
    for attribute in ("pname", "oct"):
        second.set(attribute, str(first.get(attribute)))
    second.attrib.pop("accid", None)
    first.set("tie", "i")
    second.set("tie", "t")
