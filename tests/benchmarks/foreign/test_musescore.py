import pytest
from foreign_pages import LEFT, block, musescore_page, musescore_staff, sign, stroke

from benchmarks.foreign import musescore, svg
from benchmarks.foreign.labels import symbols
from converters.engraving.symbols import Symbol

BLACK, HALF = block(1.3, -0.5, 0.5), block(1.4, -0.5, 0.5)
CLEF, FIGURE = block(2.5, -4.0, 2.7), block(0.9, 3.0, 4.2)
GLYPHS = {
    ("Note", BLACK): "Black",
    ("Note", HALF): "Half",
    ("Rest", BLACK): "Quarter",
    ("Hook", BLACK): "8thUp",
    ("Accidental", BLACK): "Flat",
    ("Accidental", HALF): "bracket",
    ("KeySig", BLACK): "Flat",
    ("TimeSig", BLACK): "4",
    ("Fermata", BLACK): "Above",
    ("Clef", CLEF): "clefG",
    ("Clef", BLACK): "clefC",
    ("Clef", f"{CLEF} {FIGURE}"): "clefG8",
}


def page_symbols(*shapes: str, staves: tuple[float, ...] = (200,)) -> list[Symbol]:
    drawn = [musescore_staff(top) for top in staves]
    read = svg.read(musescore_page(*drawn, *shapes))
    return symbols(musescore.label(read.shapes, GLYPHS), 20.0)[len(staves) :]


def box(symbol: Symbol) -> list[float]:
    return list(symbol.outline.box_xyxy().round(2).tolist())


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Note", "noteheadBlackOnLine"),
        ("Rest", "restQuarter"),
        ("Hook", "flag8thUp"),
        ("Accidental", "accidentalFlat"),
        ("KeySig", "keyFlat"),
        ("TimeSig", "timeSig4"),
        ("Fermata", "fermataAbove"),
        ("NoteDot", "augmentationDot"),
        ("Clef", "clefCAlto"),
    ],
)
def test_a_glyph(name: str, category: str) -> None:
    (symbol,) = page_symbols(sign(name, BLACK, 300, 240))
    assert symbol.category == category
    assert box(symbol) == [300, 230, 326, 250]


@pytest.mark.parametrize(
    ("y", "category"), [(220, "clefCTenor"), (280, "otherSymbol"), (240, "clefCAlto")]
)
def test_a_c_clef_is_named_by_its_line(y: float, category: str) -> None:
    (symbol,) = page_symbols(sign("Clef", BLACK, 300, y))
    assert symbol.category == category


def test_an_octave_clef_is_two_symbols() -> None:
    clef, figure = page_symbols(sign("Clef", f"{CLEF} {FIGURE}", 120, 260))
    assert (clef.category, box(clef)) == ("clefG", [120, 180, 170, 314])
    assert (figure.category, box(figure)) == ("clef8", [120, 320, 138, 344])


def test_a_note_between_two_staves_belongs_to_the_staff_with_a_line_or_space_there() -> None:
    # The lower staff is nearer, but its lines and spaces are at other heights.
    (symbol,) = page_symbols(sign("Note", HALF, 300, 350), staves=(200, 394))
    assert (symbol.category, symbol.position) == ("noteheadHalfInSpace", -7)


def test_a_note_off_the_grid_of_all_staves_is_an_error() -> None:
    with pytest.raises(ValueError, match="between a line and a space"):
        page_symbols(sign("Note", BLACK, 300, 244))


def test_an_unknown_glyph_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown glyph of the class Note"):
        page_symbols(sign("Note", CLEF, 300, 240))


def test_the_first_barline_of_all_staves_of_a_system_is_one_systemic_barline() -> None:
    parts = [(200, 400), (400, 480)]
    strokes = [stroke("BarLine", LEFT + 2, y0, LEFT + 2, y1, width=4) for y0, y1 in parts]
    (symbol,) = page_symbols(*strokes, staves=(200, 400))
    assert (symbol.category, box(symbol)) == ("systemicBarline", [100, 200, 104, 480])


def test_a_final_barline_with_repeat_dots() -> None:
    lines = [stroke("BarLine", 800, 200, 800, 280, width=3)]
    lines += [stroke("BarLine", 815, 200, 815, 280, width=10)]
    dots = [sign("BarLine", block(0.4, -0.2, 0.2), 785, y) for y in (230, 250)]
    found = page_symbols(*lines, *dots)
    assert sorted(s.category for s in found) == ["barlineFinal", "repeatDot", "repeatDot"]


def test_a_two_way_repeat_may_have_its_heavy_line_drawn_twice() -> None:
    places = [(800, 3), (815, 10), (816, 10), (830, 3)]
    strokes = [stroke("BarLine", x, 200, x, 280, width=width) for x, width in places]
    (symbol,) = page_symbols(*strokes)
    assert symbol.category == "barlineRepeatBoth"


def test_a_tie_that_is_drawn_twice_is_one_symbol() -> None:
    tie = '<path class="TieSegment" fill-rule="evenodd" d="M300,300 C320,310 340,310 360,300"/>'
    (symbol,) = page_symbols(tie, tie)
    assert symbol.category == "tie"


def test_a_bracket_includes_its_tips_and_a_brace_is_a_curve() -> None:
    tips = [sign("Bracket", block(1, 0, 0.5), 80, y) for y in (190, 280)]
    brace = '<path class="Bracket" fill-rule="evenodd" d="M60,200 L70,240 L60,280 L55,240"/>'
    brackets = page_symbols(stroke("Bracket", 80, 200, 80, 280, width=9), *tips, brace)
    assert [s.category for s in brackets] == ["bracket", "brace"]
    assert box(brackets[0]) == [75.5, 190, 100, 290]


def test_repeat_endings_start_with_their_numbers() -> None:
    endings = []
    for x in (300, 500):
        endings.append(f'<path class="VoltaSegment" d="M{x},170 L{x + 9},170 L{x},185"/>')
        endings.append(stroke("VoltaSegment", x, 160, x + 150, 160, width=2))
        endings.append(stroke("VoltaSegment", x, 160, x, 190, width=2))
    first, second = page_symbols(*endings)
    assert (first.category, box(first)) == ("repeatEnding", [299, 159, 450, 190])
    assert (second.category, box(second)) == ("repeatEnding", [499, 159, 650, 190])


def test_text_is_not_labelled() -> None:
    assert page_symbols('<path class="Lyrics" d="M300,300 L310,300 L310,310"/>') == []
