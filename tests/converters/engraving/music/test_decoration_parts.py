import random
from collections.abc import Callable
from fractions import Fraction
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from converters.engraving.music.decorations import rhythms
from converters.engraving.music.decorations.bars import Clef, MeiMetre, joined, read_bars
from converters.engraving.music.decorations.lanes import read_lanes
from converters.engraving.music.decorations.mei import ID, Pen, tag
from converters.engraving.music.decorations.melodies import Melody
from converters.engraving.music.decorations.passages import BROAD_METRES, CLEFS, METRES, renumber
from converters.engraving.music.decorations.rhythms import Rhythm, RhythmEvent, RhythmGroup
from converters.engraving.music.decorations.scenes import Scene
from converters.engraving.music.keys import Key

KINDS: dict[str, Callable[[random.Random, MeiMetre], Rhythm]] = {
    "broad": rhythms.broad,
    "flagged": partial(rhythms.flagged, shortest=1, rest_fraction=0.5),
    "flowing": rhythms.flowing,
    "held": lambda rng, metre: rhythms.sustained(metre),
    "trembling": rhythms.trembling,
    "tuplets": rhythms.tuplets,
}


def score(content: str, definition: str = "") -> etree._Element:
    return etree.fromstring(
        f'<mei xmlns="http://www.music-encoding.org/ns/mei"><scoreDef>{definition}</scoreDef>'
        f"<section>{content}</section></mei>"
    )


def measure(*layers: str, marks: str = "", attributes: str = "") -> str:
    inner = "".join(f"<layer>{layer}</layer>" for layer in layers)
    return f'<measure {attributes}><staff n="1">{inner}</staff>{marks}</measure>'


def note(id_: str, more: str = "", inner: str = "") -> str:
    return f'<note xml:id="{id_}" pname="c" oct="4" dur="4" {more}>{inner}</note>'


def taken(rhythm: Rhythm) -> Fraction:
    total = Fraction(0)
    for group in rhythm:
        n, replaced = group.ratio or (1, 1)
        total += Fraction(sum(sound.length for sound in group.sounds) * replaced, n)
    return total


metres = st.sampled_from([*METRES, *BROAD_METRES]) | st.builds(
    MeiMetre, count=st.integers(1, 20), unit=st.sampled_from((1, 2, 4, 8, 16))
)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@given(metre=metres, seed=st.integers(0, 10**6))
def test_rhythms_fill_the_bar_with_writable_notes(
    kind: Callable[[random.Random, MeiMetre], Rhythm], metre: MeiMetre, seed: int
) -> None:
    rhythm = kind(random.Random(seed), metre)
    assert taken(rhythm) == metre.length
    assert all(rhythms.written(sound.length) for group in rhythm for sound in group.sounds)


@given(metre=metres, seed=st.integers(0, 10**6))
def test_beats_fill_the_bar(metre: MeiMetre, seed: int) -> None:
    assert sum(rhythms.beats(random.Random(seed), metre)) == metre.length


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, ("128", 0)),
        (3, ("64", 1)),
        (28, ("8", 2)),
        (32, ("4", 0)),
        (192, ("1", 1)),
        (256, ("breve", 0)),
        (384, ("breve", 1)),
    ],
)
def test_note_values(length: int, expected: tuple[str, int]) -> None:
    assert rhythms.written(length) == expected


@pytest.mark.parametrize("length", [0, 5, 9, 1024])
def test_lengths_without_a_note_value(length: int) -> None:
    with pytest.raises(ValueError, match=f"no note value is {length} 128ths long"):
        rhythms.written(length)


def test_flagged_rhythms_reach_the_shortest_value() -> None:
    for shortest in (1, 2, 4, 8):
        rhythm = rhythms.flagged(random.Random(1), MeiMetre(count=4, unit=4), shortest, 0.2)
        assert min(sound.length for group in rhythm for sound in group.sounds) == shortest


@given(seed=st.integers(0, 10**6), clef=st.sampled_from(list(CLEFS)), fifths=st.integers(-7, 7))
def test_accidentals_are_written_only_where_needed(seed: int, clef: Clef, fifths: int) -> None:
    root = score("")
    rng = random.Random(seed)
    melody = Melody(
        pen=Pen(root), rng=rng, clef=clef, key=Key(fifths), chromatic=0.5, extreme=0.5, chords=0.5
    )
    bar = melody.bar([RhythmGroup(sounds=(RhythmEvent(length=32),))] * 12)
    signs = {"ff": -2, "f": -1, "n": 0, "s": 1, "x": 2}
    state: dict[tuple[str, str], int] = {}
    for element in bar:
        for result in element.iter(tag("note")):
            if result.get("loc") is not None:
                assert clef.shape == "perc"
                continue
            step = result.get("pname"), result.get("oct")
            signature = Key(fifths).signature["cdefgab".index(step[0])]
            if sign := result.get("accid"):
                assert signs[sign] != state.get(step, signature)
                state[step] = signs[sign]


def test_no_bars() -> None:
    assert read_bars(score("")) == []
    assert joined([]) == []
    assert read_lanes([], random.Random(1)) == []
    renumber([])


def test_clef_key_and_metre_of_each_bar() -> None:
    definition = (
        '<staffGrp><staffDef n="1" keysig="3f" clef.shape="C" clef.line="4"/>'
        '<staffDef n="2"><clef shape="F" line="4" dis="8" dis.place="below"/></staffDef></staffGrp>'
    )
    root = score(
        '<measure><staff n="1"/><staff n="2"/></measure>'
        '<scoreDef keysig="1s" meter.sym="cut"/>'
        '<measure><staff n="1"><layer><clef shape="perc"/></layer></staff><staff n="2"/></measure>'
        '<scoreDef><meterSigGrp><meterSig count="2" unit="4"/></meterSigGrp></scoreDef>'
        '<measure><staff n="1"/><staff n="2"/></measure>'
        '<scoreDef><keySig sig="0"/><meterSig count="3" unit="8"/></scoreDef>'
        '<measure><staff n="1"/><staff n="2"/></measure>',
        definition,
    )
    first, second, third, fourth = read_bars(root)
    low_bass = Clef(shape="F", line=4, octaves=-1)
    assert first.clefs == {"1": Clef(shape="C", line=4), "2": low_bass}
    assert (first.fifths, first.metre) == (None, None)
    assert (second.fifths, second.metre) == (1, MeiMetre(count=2, unit=2, symbol="cut"))
    assert third.clefs == {"1": Clef(shape="perc", line=3), "2": low_bass}
    assert (third.fifths, third.metre) == (1, None)
    assert (fourth.fifths, fourth.metre) == (0, MeiMetre(count=3, unit=8))


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('meter.count="2+3" meter.unit="8"', None),
        ('meter.count="0" meter.unit="8"', None),
        ('meter.count="4" meter.unit="0"', None),
        ('meter.count="4" meter.unit="3"', None),
        ('meter.count="4" meter.unit="4" meter.form="invis"', None),
        ('meter.sym="common"', MeiMetre(count=4, unit=4, symbol="common")),
    ],
)
def test_metres_that_cannot_be_restored(attributes: str, expected: MeiMetre | None) -> None:
    [bar] = read_bars(score(f'<scoreDef {attributes}/><measure><staff n="1"/></measure>'))
    assert bar.metre == expected


@pytest.mark.parametrize(
    ("clef", "bottom"),
    [
        (Clef(shape="G", line=2), 30),
        (Clef(shape="G", line=2, octaves=-1), 23),
        (Clef(shape="F", line=4), 18),
        (Clef(shape="C", line=3), 24),
        (Clef(shape="C", line=4), 22),
    ],
)
def test_pitch_of_the_lowest_line(clef: Clef, bottom: int) -> None:
    assert clef.bottom == bottom


@pytest.mark.parametrize(
    ("first", "reaches"),
    [
        pytest.param(measure(note("a")), False, id="nothing"),
        pytest.param(measure(note("a"), marks='<tie startid="#a" endid="#b"/>'), True, id="a tie"),
        pytest.param(measure(note("a"), marks='<slur tstamp="1" tstamp2="1m+1"/>'), True, id="tstamp2"),
        pytest.param(measure(note("a"), marks='<slur tstamp="1" tstamp2="0m+3"/>'), False, id="in the bar"),
        pytest.param(measure(note("a"), marks='<fermata startid="#a"/>'), False, id="a fermata"),
        pytest.param(measure(note("a", 'tie="i"')), True, id="a tie as attribute"),
        pytest.param(measure(note("a", inner='<verse><syl wordpos="i"/></verse>')), True, id="a word"),
        pytest.param(measure(note("a", inner='<verse><syl wordpos="t"/></verse>')), False, id="its end"),
    ],
)  # fmt: skip
def test_connections_across_a_barline(first: str, reaches: bool) -> None:
    assert joined(read_bars(score(first + measure(note("b"))))) == [reaches, False]


def test_new_bars_are_numbered_and_later_numbers_shift() -> None:
    rest = '<multiRest num="5"/>'
    root = score(
        measure(attributes='n="0"')
        + measure(attributes='n="1"')
        + measure()
        + measure(attributes='n="2"')
        + measure(rest)
        + measure(attributes='n="3"')
        + measure(attributes='n="3a"')
        + measure()
    )
    measures = list(root.iter(tag("measure")))
    renumber(measures)
    assert [m.get("n") for m in measures] == ["0", "1", "2", "3", "4", "9", "3a", "10"]


def test_lanes_of_several_layers_only_have_the_outer_sides() -> None:
    alone = measure(note("a") + note("b", 'grace="acc"') + note("c", 'cue="true"'))
    three = measure(note("d"), note("e"), note("f"))
    [lane], [upper, lower] = read_lanes(read_bars(score(alone + three)), random.Random(1))
    assert (lane.sides, upper.sides, lower.sides) == (("above", "below"), ("above",), ("below",))
    ids = [[s.element.get(ID) for s in result.spots] for result in (lane, upper, lower)]
    assert ids == [["a"], ["d"], ["f"]]
    assert (lane.is_lowest, upper.is_lowest, lower.is_lowest) == (True, False, True)


def test_existing_marks_occupy_their_places() -> None:
    marks = (
        '<fermata startid="#a" place="below"/><dynam startid="#b"/><tie startid="#a" endid="#b"/>'
    )
    [[lane]] = read_lanes(
        read_bars(score(measure(note("a") + note("b"), marks=marks))), random.Random(1)
    )
    assert [spot.taken for spot in lane.spots] == [{"below"}, {"above", "tied"}]


def test_only_one_of_two_staves_has_room_between_them() -> None:
    staves = "".join(f'<staff n="{n}"><layer><note dur="4"/></layer></staff>' for n in (1, 2))
    bars = read_bars(score(f"<measure>{staves}</measure>" * 40))
    sides = {
        tuple(tuple(lane.spots[0].taken) for lane in lanes)
        for lanes in read_lanes(bars, random.Random(1))
    }
    assert sides == {(("below",), ()), ((), ("above",))}


def test_new_ids_are_unique() -> None:
    pen = Pen(score('<measure xml:id="d0"/><measure xml:id="d2"/>'))
    assert [pen.write("note").get(ID) for _ in range(3)] == ["d1", "d3", "d4"]


def test_clef_at_the_end_of_a_bar_replaces_another() -> None:
    clef = '<clef shape="F" line="4"/>'
    root = score(measure(note("a") + clef) + measure(note("b")))
    before, home = read_bars(root)
    scene = Scene(pen=Pen(root), rng=random.Random(1), home=home, before=before)
    scene.clef_at_end("1", Clef(shape="C", line=3))
    assert [c.get("shape") for c in before.measure.iter(tag("clef"))] == ["C"]
