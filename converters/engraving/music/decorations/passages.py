"""Passages: inserted bars, each kind of which contains certain rare symbols."""

import random
from collections.abc import Callable, Sequence
from functools import partial

from lxml.etree import _Element as Element

from converters.engraving.music.decorations.bars import Clef, MeiBar, MeiMetre, joined
from converters.engraving.music.decorations.mei import Pen, name, tag
from converters.engraving.music.decorations.rhythms import (
    EIGHTH,
    QUARTER,
    SIXTEENTH,
    RhythmEvent,
    RhythmGroup,
    broad,
    flagged,
    flowing,
    trembling,
    tuplets,
)
from converters.engraving.music.decorations.scenes import Scene

PER_BOUNDARY = 0.45
"""Passages per barline that allows one, at density 1."""

METRES = (
    *(MeiMetre(count=count, unit=2) for count in (2, 3, 4)),
    *(MeiMetre(count=count, unit=4) for count in (1, 2, 3, 5, 6, 7)),
    *(MeiMetre(count=count, unit=8) for count in (3, 5, 6, 7, 7, 8, 9, 9, 10, 11, 12)),
    *(MeiMetre(count=count, unit=16) for count in (5, 6, 7, 9, 10, 11, 13, 15)),
    *(MeiMetre(count=4, unit=4, symbol="common"),) * 2,
    *(MeiMetre(count=2, unit=2, symbol="cut"),) * 3,
)
BROAD_METRES = (
    MeiMetre(count=4, unit=2),
    MeiMetre(count=4, unit=2),
    MeiMetre(count=6, unit=2),
    MeiMetre(count=8, unit=4),
    MeiMetre(count=2, unit=1),
    MeiMetre(count=3, unit=1),
)
TREBLE, BASS = Clef(shape="G", line=2), Clef(shape="F", line=4)
CLEFS = {
    Clef(shape="C", line=3): 5,
    Clef(shape="C", line=4): 5,
    Clef(shape="G", line=2, octaves=-1): 3,
    Clef(shape="G", line=2, octaves=1): 2,
    Clef(shape="G", line=2, octaves=2): 5,
    Clef(shape="F", line=4, octaves=-1): 2,
    Clef(shape="F", line=4, octaves=-2): 2,
    Clef(shape="perc", line=3): 7,
    TREBLE: 1,
    BASS: 1,
}
"""Clefs for passages, with their weights."""
PLAYERS = ("Fl.", "Ob.", "Cl.", "Fg.", "Cor.", "Tr.", "Vl.", "Vla.", "Vc.", "Solo")


def insert_passages(bars: Sequence[MeiBar], pen: Pen, rng: random.Random, density: float) -> None:
    """Insert passages between bars of a score, with all kinds about equally frequent.

    A barline gets at most one passage, and none if a line, beam or word extends across it.
    """
    places = _places(list(bars))
    n = int(PER_BOUNDARY * density * len(places) + rng.random())
    kinds = _order(rng, n)
    for i, kind in zip(sorted(rng.sample(places, min(n, len(places)))), kinds, strict=False):
        scene = Scene(pen=pen, rng=rng, home=bars[i], before=bars[i - 1])
        kind(scene)
        for element in scene.close():
            bars[i].measure.addprevious(element)


def renumber(measures: Sequence[Element]) -> None:
    """Number new measures, and shift the numbers of the following ones."""
    last = shift = 0
    for measure in measures:
        number = measure.get("n")
        if number is None:
            shift += 1
            measure.set("n", str(last + 1))
        elif number.isdecimal():
            measure.set("n", str(int(number) + shift))
        last = int(measure.get("n")) if measure.get("n").isdecimal() else last
        silent = max(
            (int(rest.get("num", 1)) for rest in measure.iter(tag("multiRest"))), default=1
        )
        if number is None:
            shift += silent - 1
            last += silent - 1


def _places(bars: list[MeiBar]) -> list[int]:
    """List the bars before which a passage can be inserted."""
    connected = joined(bars)
    return [
        i
        for i in range(1, len(bars))
        if not connected[i - 1]
        and name(bars[i].measure.getparent()) == "section"
        and list(bars[i].staves) == list(bars[i - 1].staves) != []
        and (bars[i - 1].measure.get("metcon") != "false" or bars[i - 1].measure.get("right"))
        and bars[i - 1].measure.get("right") != "invis"
    ]


def _order(rng: random.Random, n: int) -> list[Callable[[Scene], None]]:
    """Draw the kinds of n passages; a kind is repeated only once all have occurred."""
    kinds: list[Callable[[Scene], None]] = []
    while len(kinds) < n:
        drawn = {kind: rng.random() ** (1 / weight) for kind, weight in PASSAGES.items()}
        kinds += sorted(PASSAGES, key=lambda kind: -drawn[kind])
    return kinds[:n]


def _flags(scene: Scene) -> None:
    """Write notes with flags, down to a value that varies from bar to bar."""
    melodies = scene.melodies()
    for _ in range(scene.rng.randint(1, 2)):
        shortest = scene.rng.choice((1, 1, 2, 2, 4, 4, 8, 16))
        scene.play(melodies, partial(flagged, scene.rng, scene.metre, shortest, 0.2))


def _points(scene: Scene) -> None:
    """Write single notes between rests."""
    melodies = scene.melodies()
    for _ in range(scene.rng.randint(1, 2)):
        shortest = scene.rng.choice((1, 2, 4, 8))
        scene.play(melodies, partial(flagged, scene.rng, scene.metre, shortest, 0.6))


def _tuplets(scene: Scene) -> None:
    kind = scene.rng.random()
    if kind < 0.4:
        scene.set_metre(MeiMetre(count=scene.rng.choice((3, 3, 2, 4)), unit=4))
    elif kind < 0.75:
        scene.set_metre(MeiMetre(count=scene.rng.choice((3, 6, 9)), unit=8))
    melodies = scene.melodies()
    for _ in range(scene.rng.randint(1, 2)):
        scene.play(melodies, partial(tuplets, scene.rng, scene.metre))


def _broad(scene: Scene) -> None:
    """Write breves and whole notes."""
    scene.set_metre(scene.rng.choice(BROAD_METRES))
    melodies = {n: scene.melody(n) for n in scene.staves}
    for _ in range(scene.rng.randint(1, 3)):
        scene.play(melodies, partial(broad, scene.rng, scene.metre))


def _cues(scene: Scene) -> None:
    """Write cue notes on one staff, in long or short values."""
    is_broad = scene.rng.random() < 0.6
    if is_broad and scene.rng.random() < 0.85:
        scene.set_metre(scene.rng.choice(BROAD_METRES[:4]))
    staff = scene.rng.choice(scene.staves)
    melody = scene.melody(staff)
    melody.is_cue, melody.chromatic = True, 0.3
    player = _direction(scene, staff, scene.rng.choice(PLAYERS))
    for i in range(scene.rng.randint(1, 2)):
        rhythm = (
            broad(scene.rng, scene.metre, 0.1)
            if is_broad
            else flagged(scene.rng, scene.metre, scene.rng.choice((8, 16, 16)), 0.3)
        )
        scene.bar({staff: melody.bar(rhythm)}, [] if i else [player])


def _silence(scene: Scene) -> None:
    """Write a multi-bar rest in all staves; not of four bars, which is drawn as a longa rest."""
    few, many = scene.rng.choice((2, 3, 5, 6, 7, 8, 9)), scene.rng.randint(10, 99)
    n = scene.rng.choice((few, few, many))
    rests = {staff: [scene.pen.write("multiRest", {"num": str(n)})] for staff in scene.staves}
    scene.bar(rests)


def _metres(scene: Scene) -> None:
    """Write bars with different metres."""
    melodies = scene.melodies()
    for _ in range(scene.rng.randint(2, 4)):
        scene.set_metre(scene.rng.choice(METRES))
        scene.play(melodies, partial(flowing, scene.rng, scene.metre))


def _keys(scene: Scene) -> None:
    """Write a bar in a distant key, sometimes followed by another."""
    if scene.before.measure.get("right") is None and scene.rng.random() < 0.6:
        scene.before.measure.set("right", "dbl")
    for _ in range(scene.rng.randint(1, 2)):
        fifths = [f for f in range(-7, 8) if f != scene.key.fifths]
        scene.set_key(scene.rng.choices(fifths, [1 + abs(f) for f in fifths])[0])
        melodies = scene.melodies()
        for melody in melodies.values():
            melody.chromatic, melody.extreme = 0.15, 0.3
        scene.play(melodies, partial(flowing, scene.rng, scene.metre))


def _chromatic(scene: Scene) -> None:
    """Write many accidentals, including double ones."""
    melodies = scene.melodies()
    for melody in melodies.values():
        melody.chromatic, melody.extreme = 0.5, 0.4
    for _ in range(scene.rng.randint(1, 2)):
        scene.play(melodies, partial(flowing, scene.rng, scene.metre, EIGHTH))


def _clefs(scene: Scene) -> None:
    """Change the clef of one staff, sometimes again within a bar."""
    staff = scene.rng.choice(scene.staves)
    home = scene.home.clefs[staff]
    first, second = _other_clef(scene.rng, home), _other_clef(scene.rng, home)
    scene.clef_at_end(staff, first)
    clef = first
    for _ in range(scene.rng.randint(1, 2)):
        voice = scene.melody(staff, clef).bar(rhythm := flowing(scene.rng, scene.metre))
        if clef == first != second and len(rhythm) > 1 and scene.rng.random() < 0.5:
            half = len(rhythm) // 2
            voice = [
                *scene.melody(staff, first).bar(rhythm[:half]),
                scene.pen.write("clef", second.attributes()),
                *scene.melody(staff, second).bar(rhythm[half:]),
            ]
            clef = second
        scene.bar({staff: voice})
    scene.clef_at_end(staff, home)


def _tremolos(scene: Scene) -> None:
    melodies = scene.melodies()
    for _ in range(scene.rng.randint(1, 2)):
        scene.play(melodies, partial(trembling, scene.rng, scene.metre))


def _chords(scene: Scene) -> None:
    """Write chords, some of them arpeggiated."""
    melodies = scene.melodies()
    for melody in melodies.values():
        melody.chords, melody.low, melody.high = 0.8, -2, 5
    for _ in range(scene.rng.randint(1, 2)):
        voices = {n: m.bar(broad(scene.rng, scene.metre, 0.1)) for n, m in melodies.items()}
        chords = [e for voice in voices.values() for e in voice if len(e) > 2]
        scene.bar(voices, [_arpeggio(scene, c) for c in chords if scene.rng.random() < 0.5])


def _cadenza(scene: Scene) -> None:
    """Write an unmetred run of small notes between two long notes."""
    staff = scene.rng.choice(scene.staves)
    melody = scene.melody(staff)
    long_note = (RhythmGroup(sounds=(RhythmEvent(length=2 * QUARTER),)),)
    voice = melody.bar(long_note)
    melody.is_cue, melody.chromatic = True, 0.25
    value = scene.rng.choice((SIXTEENTH, SIXTEENTH, SIXTEENTH // 2))
    for _ in range(scene.rng.randint(2, 4)):
        voice += melody.bar(
            [RhythmGroup(sounds=(RhythmEvent(length=value),) * scene.rng.randint(3, 7))]
        )
    melody.is_cue = False
    voice += melody.bar(long_note)
    text = scene.rng.choice(("ad lib.", "Cadenza", "rapido", "liberamente"))
    word = _direction(scene, staff, text)
    scene.bar({staff: voice}, [word], {"metcon": "false"})


PASSAGES: dict[Callable[[Scene], None], float] = {
    _flags: 3,
    _points: 2.5,
    _tuplets: 5,
    _broad: 2.5,
    _cues: 6,
    _silence: 2.5,
    _metres: 3,
    _keys: 2.5,
    _chromatic: 2,
    _clefs: 5,
    _tremolos: 2,
    _chords: 2,
    _cadenza: 1.5,
}
"""Functions that write passages, with their weights."""


def _direction(scene: Scene, staff: str, text: str) -> Element:
    word = scene.pen.write("dir", {"staff": staff, "tstamp": "1", "place": "above"})
    word.text = text
    return word


def _arpeggio(scene: Scene, chord: Element) -> Element:
    return scene.pen.write("arpeg", {"startid": "#" + scene.pen.id_of(chord)})


def _other_clef(rng: random.Random, clef: Clef) -> Clef:
    others = [c for c in CLEFS if c != clef]
    return rng.choices(others, [CLEFS[c] for c in others])[0]
