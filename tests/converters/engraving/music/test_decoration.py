import random
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
import verovio
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from class_maps import load
from converters.engraving import smufl, svg
from converters.engraving.music.decoration import decorate
from converters.engraving.music.decorations.bars import WHOLE, MeiBar, read_bars
from converters.engraving.music.decorations.mei import ID, name, tag
from converters.engraving.symbols import symbols

HEAD = (
    '<mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0"><meiHead><fileDesc>'
    "<titleStmt><title/></titleStmt><pubStmt/></fileDesc></meiHead><music><body><mdiv><score>"
)
TAIL = "</score></mdiv></body></music></mei>"
COMPOSITES = {
    f"graceNote{kind}Stem{way}"
    for kind in ("Acciaccatura", "Appoggiatura")
    for way in ("Up", "Down")
}
"""Composite grace notes, of which only the parts are drawn as glyphs."""
WITH_RARE_CLASSES = (20, 18, 11, 9, 7, 13, 6, 3, 1)
"""Seeds of pieces that have all classes together; drawing these first saves half of the pieces."""


def piece(
    *, staves: int = 2, layers: int = 1, bars: int = 8, sung: bool = False, tied: bool = False
) -> str:
    """Write bars of four quarter notes in 4/4 and D major, with consecutive note ids."""
    clefs = (
        [("G", 2, 4), ("F", 4, 3)] if staves == 2 else [("G", 2, 4), ("G", 2, 4), ("F", 4, 3)] * 2
    )
    defs = "".join(
        f'<staffDef n="{n}" lines="5"><clef shape="{shape}" line="{line}"/></staffDef>'
        for n, (shape, line, _) in enumerate(clefs[:staves], 1)
    )
    count = 0

    def layer(n: int, octave: int) -> str:
        nonlocal count
        notes = ""
        for letter in random.Random(count).sample("cdefgab", 4):
            count += 1
            verse = "<verse n='1'><syl>la</syl></verse>" if sung else ""
            notes += (
                f'<note xml:id="n{count}" pname="{letter}" oct="{octave}" dur="4">{verse}</note>'
            )
        return f'<layer n="{n}">{notes}</layer>'

    measures = ""
    for i in range(1, bars + 1):
        first = count + 4
        inner = "".join(
            f'<staff n="{n}">{"".join(layer(k, octave) for k in range(1, layers + 1))}</staff>'
            for n, (*_, octave) in enumerate(clefs[:staves], 1)
        )
        tie = (
            f'<tie startid="#n{first}" endid="#n{count + 1}"/>'
            if tied and i % 2 and i < bars
            else ""
        )
        measures += f'<measure n="{i}">{inner}{tie}</measure>'
    return (
        f'{HEAD}<scoreDef keysig="2s" meter.count="4" meter.unit="4"><staffGrp symbol="brace">{defs}'
        f"</staffGrp></scoreDef><section>{measures}</section>{TAIL}"
    )


def toolkit(**options: object) -> Any:  # noqa: ANN401
    verovio.setDefaultResourcePath(str(smufl.resources()))
    made = verovio.toolkit()
    fixed = {"xmlIdSeed": 5, "dynamSingleGlyphs": True, "svgFormatRaw": True}
    made.setOptions(fixed | {"pageWidth": 2100, "pageHeight": 2970, "scale": 60} | options)
    return made


def by_verovio(mei: str) -> str:
    """Return the same score as written by verovio."""
    reader = toolkit(xmlIdSeed=99)
    assert reader.loadData(mei)
    return str(reader.getMEI({"removeIds": False}))


SCORES = {
    "a note alone": piece(staves=1, bars=1),
    "one staff": piece(staves=1),
    "two staves": piece(),
    "two staves, four layers": piece(layers=2, tied=True),
    "three staves": piece(staves=3, tied=True),
    "four staves, sung": piece(staves=4, sung=True, tied=True),
    "written by verovio": by_verovio(piece(layers=2, sung=True, tied=True)),
}
scores = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)


@pytest.fixture
def warnings(capfd: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """Capture verovio's messages, which bypass Python's streams."""
    verovio.enableLog(verovio.LOG_WARNING)
    yield capfd
    verovio.enableLog(verovio.LOG_OFF)


def length(element: Any, metre: Fraction) -> Fraction:  # noqa: ANN401
    """Compute the duration of a layer or an element in it, in whole notes."""
    kind = name(element)
    if element.get("grace"):
        return Fraction(0)
    if kind in {"mRest", "multiRest"}:
        return metre
    if kind in {"note", "chord", "rest", "space"}:
        value = element.get("dur")
        plain = Fraction(2) if value == "breve" else Fraction(1, int(value))
        return plain * (2 - Fraction(1, 2 ** int(element.get("dots", 0))))
    inner = sum((length(child, metre) for child in element), Fraction(0))
    if kind == "tuplet":
        return inner * Fraction(int(element.get("numbase")), int(element.get("num")))
    return inner


def bars_of(mei: str) -> list[MeiBar]:
    return read_bars(etree.fromstring(mei.encode()))


@pytest.mark.parametrize("bars", [0, 1])
def test_score_without_notes_is_unchanged(bars: int) -> None:
    empty = re.sub("<note.*?</note>", "", piece(bars=bars))
    assert decorate(empty, random.Random(1), density=1) == empty


@scores
def test_density_0_adds_nothing(score: str) -> None:
    assert decorate(score, random.Random(1), density=0) == score


@pytest.mark.parametrize("density", [-0.1, 1.1, float("nan")])
def test_density_is_a_fraction(density: float) -> None:
    with pytest.raises(ValueError, match=f"density must be from 0 to 1, got {density}"):
        decorate(piece(), random.Random(1), density=density)


def test_text_that_is_not_xml() -> None:
    with pytest.raises(ValueError, match="mei: not XML: "):
        decorate("**kern", random.Random(1))


@scores
def test_equal_seeds_give_equal_scores(score: str) -> None:
    first, again, other = (decorate(score, random.Random(seed), density=1) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@scores
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), density=st.floats(0.01, 1))
def test_bars_are_full_and_ids_are_unique(score: str, seed: int, density: float) -> None:
    decorated = decorate(score, random.Random(seed), density=density)
    bars = bars_of(decorated)
    for bar in bars:
        assert bar.metre is not None
        metre = Fraction(bar.metre.length, WHOLE)
        for layer in bar.measure.iter(tag("layer")):
            assert length(layer, metre) == metre or bar.measure.get("metcon") == "false"
    ids = [e.get(ID) for e in etree.fromstring(decorated.encode()).iter() if e.get(ID)]
    assert len(ids) == len(set(ids))


@scores
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_notes_of_the_score_are_unchanged(score: str, seed: int) -> None:
    def notes(mei: str) -> list[tuple[str | None, ...]]:
        result = etree.fromstring(mei.encode()).iter(tag("note"))
        return [tuple(map(n.get, (ID, "pname", "oct", "dur", "dots", "grace"))) for n in result]

    own = notes(score)
    kept = set(own)
    assert [note for note in notes(decorate(score, random.Random(seed))) if note in kept] == own


@scores
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_nothing_is_inserted_between_tied_notes(score: str, seed: int) -> None:
    bars = bars_of(decorate(score, random.Random(seed), density=1))
    where = {n.get(ID): i for i, bar in enumerate(bars) for n in bar.measure.iter(tag("note"))}
    ties = [tie for bar in bars for tie in bar.measure.iter(tag("tie"))]
    assert all(where[t.get("endid")[1:]] - where[t.get("startid")[1:]] == 1 for t in ties)


@scores
def test_clef_key_and_metre_are_restored(score: str) -> None:
    """Clefs may differ from the original ones, because the score's own notes may have new clefs."""
    own_notes = {n.get(ID) for bar in bars_of(score) for n in bar.measure.iter(tag("note"))}
    for seed in range(10):
        for bar in bars_of(decorate(score, random.Random(seed), density=1)):
            if any(n.get(ID) in own_notes for n in bar.measure.iter(tag("note"))):
                assert (bar.fifths, bar.metre and bar.metre.attributes()) == (
                    2,
                    {"meter.count": "4", "meter.unit": "4"},
                )
                for n, clef in bar.clefs.items():
                    positions = [
                        "cdefgab".index(note.get("pname")) + 7 * int(note.get("oct")) - clef.bottom
                        for note in bar.staves[n].iter(tag("note"))
                        if note.get(ID) in own_notes
                    ]
                    assert -5 <= min(positions) <= max(positions) <= 13


def test_duplicate_ids_in_the_score() -> None:
    repeated = piece().replace('xml:id="n2"', 'xml:id="n1"')
    assert "<artic" in decorate(repeated, random.Random(1), density=1)


def test_a_decorated_score_can_be_decorated_again() -> None:
    once = decorate(piece(), random.Random(1))
    twice = decorate(once, random.Random(2))
    ids = re.findall('xml:id="(.*?)"', twice)
    assert len(ids) == len(set(ids))
    assert twice.count("<measure") > once.count("<measure")


@scores
def test_verovio_prints_no_warnings(score: str, warnings: pytest.CaptureFixture[str]) -> None:
    for seed in range(8):
        made = toolkit()
        assert made.loadData(decorate(score, random.Random(seed), density=1))
        made.renderToSVG(1)
    assert warnings.readouterr().err == ""


@pytest.mark.slow
def test_all_classes_occur() -> None:
    missing = set(load("deepscores").names) - COMPOSITES
    for seed in dict.fromkeys((*WITH_RARE_CLASSES, *range(100))):
        score = piece(layers=2, bars=16, tied=seed % 4 == 0)
        made = toolkit(footer="none", header="none")
        assert made.loadData(decorate(score, random.Random(seed), density=1))
        for page in range(1, made.getPageCount() + 1):
            result = symbols(svg.read(made.renderToSVG(page), "Leipzig"))
            missing -= {symbol.category for symbol in result}
        if not missing:
            break
    assert missing == set()
