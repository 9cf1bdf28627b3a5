import numpy as np
import pytest
from foreign_pages import glyph, grob, lilypond_page, lilypond_staff, rect

from benchmarks.foreign import lilypond, svg
from benchmarks.foreign.labels import labelled_staff_space, symbols
from converters.engraving.symbols import Symbol


def page_symbols(*grobs: str) -> list[Symbol]:
    labelled = lilypond.label(svg.read(lilypond_page(lilypond_staff(10), *grobs)).shapes)
    assert labelled_staff_space(labelled) == pytest.approx(20)
    return symbols(labelled, 20.0)[1:]


def box(symbol: Symbol) -> list[float]:
    return list(symbol.outline.box_xyxy().round(2).tolist())


def test_a_staff_extends_to_the_outer_edges_of_its_lines() -> None:
    labelled = lilypond.label(svg.read(lilypond_page(lilypond_staff(10))).shapes)
    (staff,) = symbols(labelled, 20.0)
    assert staff.category == "staff"
    assert np.allclose(staff.outline.box_xyxy(), [99, 199, 901, 281], atol=0.05)


@pytest.mark.parametrize(
    ("name", "properties", "category"),
    [
        ("NoteHead", {"duration_log": "2", "staff_position": "-1"}, "noteheadBlackInSpace"),
        ("NoteHead", {"staff_position": "0.0"}, "noteheadBlackOnLine"),
        ("NoteHead", {"duration_log": "1", "staff_position": "2"}, "noteheadHalfOnLine"),
        ("NoteHead", {"duration_log": "0", "staff_position": "-7"}, "noteheadWholeInSpace"),
        ("Rest", {"duration_log": "0"}, "restWhole"),
        ("Rest", {"duration_log": "3"}, "rest8th"),
        ("MultiMeasureRest", {}, "restDoubleWhole"),
        ("Accidental", {"alteration": "-1/2"}, "accidentalFlat"),
        ("Accidental", {"alteration": "1"}, "accidentalDoubleSharp"),
        ("KeySignature", {"alteration_alist": "((3 . 1/2) (0 . 1/2))"}, "keySharp"),
        ("KeyCancellation", {"alteration_alist": "((3 . 0))"}, "keyNatural"),
        ("Clef", {"glyph_name": "clefs.G", "staff_position": "-2"}, "clefG"),
        ("Clef", {"glyph_name": "clefs.F_change", "staff_position": "2"}, "clefF"),
        ("Clef", {"glyph_name": "clefs.C", "staff_position": "0"}, "clefCAlto"),
        ("Clef", {"glyph_name": "clefs.C", "staff_position": "2"}, "clefCTenor"),
        ("Clef", {"glyph_name": "clefs.C", "staff_position": "-4"}, "otherSymbol"),
        ("Flag", {"glyph_name": "flags.u3"}, "flag8thUp"),
        ("Flag", {"glyph_name": "flags.d4"}, "flag16thDown"),
        ("Script", {"direction": "1"}, "fermataAbove"),
        ("Script", {"direction": "-1"}, "fermataBelow"),
        ("TimeSignature", {"fraction": "(4 . 4)", "style": "C"}, "timeSigCommon"),
        ("TimeSignature", {"fraction": "(2 . 2)", "style": "C"}, "timeSigCutCommon"),
        ("Dots", {}, "augmentationDot"),
    ],
)
def test_a_grob_of_one_glyph(name: str, properties: dict[str, str], category: str) -> None:
    (symbol,) = page_symbols(grob(name, glyph(10, 12, 1.2, 1), **properties))
    assert symbol.category == category
    assert box(symbol) == [200, 230, 224, 250]


def test_a_whole_rest_is_lower_than_a_rest_of_two_whole_notes() -> None:
    (symbol,) = page_symbols(grob("MultiMeasureRest", glyph(10, 12, 1.5, 0.6)))
    assert symbol.category == "restWhole"


def test_noteheads_of_two_voices_in_one_place_are_one_symbol() -> None:
    head = grob("NoteHead", glyph(10, 12, 1.2, 1), duration_log="2", staff_position="0")
    (symbol,) = page_symbols(head, head)
    assert (symbol.category, symbol.position) == ("noteheadBlackOnLine", 4)


def test_every_accidental_of_a_key_is_a_symbol() -> None:
    alist = "((6 . -1/2) (2 . -1/2))"
    shapes = glyph(8, 12, 0.9, 2.5), glyph(9, 10.5, 0.9, 2.5)
    flats = page_symbols(grob("KeySignature", *shapes, alteration_alist=alist))
    assert [flat.category for flat in flats] == ["keyFlat", "keyFlat"]


def test_the_parentheses_of_an_accidental_come_first() -> None:
    shapes = glyph(11.2, 12, 0.3, 2), glyph(9.7, 12, 0.3, 2), glyph(10.1, 12, 1, 3)
    found = page_symbols(grob("AccidentalCautionary", *shapes, alteration="1/2"))
    assert [s.category for s in found] == ["otherSymbol", "otherSymbol", "accidentalSharp"]


def test_digits_of_a_time_signature_are_read_from_top_to_bottom() -> None:
    shapes = glyph(8.2, 13, 1.4, 2), glyph(8.9, 11, 1.4, 2), glyph(7.5, 11, 1.0, 2)
    found = page_symbols(grob("TimeSignature", *shapes, fraction="(12 . 8)", style="C"))
    assert [s.category for s in found] == ["timeSig1", "timeSig2", "timeSig8"]
    assert [box(s)[1] for s in found] == [200, 200, 240]


@pytest.mark.parametrize(
    ("strokes", "category"),
    [
        ([(0, 0.2)], "barlineSingle"),
        ([(0, 0.2), (0.5, 0.2)], "barlineDouble"),
        ([(0, 0.2), (0.5, 0.6)], "barlineFinal"),
        ([(0, 0.6), (1.0, 0.2)], "barlineReverseFinal"),
        ([(0, 0.6), (0.9, 0.6)], "barlineRepeatBoth"),
    ],
)
def test_a_barline_continues_between_staves(
    strokes: list[tuple[float, float]], category: str
) -> None:
    parts = [("BarLine", 10, 4.05), ("SpanBar", 14, 6.0), ("BarLine", 20, 4.05)]
    grobs = [
        grob(name, *(rect(30 + x, y, width, height) for x, width in strokes))
        for name, y, height in parts
    ]
    (symbol,) = page_symbols(*grobs)
    assert symbol.category == category
    assert box(symbol)[1::2] == [200, 481]


def test_barlines_of_different_systems_and_bars_stay_apart() -> None:
    places = [(30, 10), (32, 10), (31, 40)]
    found = page_symbols(*(grob("BarLine", rect(x, y, 0.2, 4)) for x, y in places))
    assert [s.category for s in found] == ["barlineSingle"] * 3


def test_repeat_dots_are_symbols_of_their_own() -> None:
    shapes = rect(30.5, 10, 0.6, 4), rect(30, 10, 0.2, 4), glyph(29.4, 11.5, 0.4, 0.4)
    found = page_symbols(grob("BarLine", *shapes, glyph(29.4, 12.5, 0.4, 0.4)))
    assert sorted(s.category for s in found) == ["barlineFinal", "repeatDot", "repeatDot"]


def test_every_stroke_of_a_beam_is_a_symbol() -> None:
    strokes = (
        '<polygon stroke-linejoin="round" stroke-width="0.1" stroke="currentColor" '
        f'points="20 {y} 25 {y - 1} 25 {y - 0.6} 20 {y + 0.4}"/>'
        for y in (8.0, 8.8)
    )
    beams = page_symbols(grob("Beam", *strokes))
    assert [beam.category for beam in beams] == ["beam", "beam"]
    assert np.allclose(beams[0].outline.box_xyxy(), [399, 139, 501, 169], atol=0.2)


def test_text_and_unknown_grobs_are_not_labelled() -> None:
    words = '<g transform="translate(10, 30)"><text font-family="serif">la</text></g>'
    assert page_symbols(grob("LyricText", words), grob("LyricHyphen", rect(9, 9, 1, 0.1))) == []
