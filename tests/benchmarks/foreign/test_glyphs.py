import pytest
from foreign_pages import block, musescore_page, sign
from lxml import etree

from benchmarks.foreign import glyphs, svg
from converters.engraving.svg import Shape

NAMES = glyphs._sheet().names


def data(kind: str, name: str) -> str:
    """Make up a different outline for each glyph."""
    index = sorted({(k, n) for k, names in NAMES.items() for n in names}).index((kind, name))
    return block(1, -0.2, 0.2 + index / 100)


def engraved() -> list[Shape]:
    """Draw the glyphs from left to right, the digits of a time signature above each other."""
    shapes = []
    for kind, names in NAMES.items():
        x, upper = 0, True
        for name in names:
            stacked = kind == "TimeSig" and name.isdigit()
            x += 0 if stacked and not upper else 60
            upper = not upper if stacked else True
            shapes.append(sign(kind, data(kind, name), x, 300 if stacked and upper else 260))
    return svg.read(musescore_page(*reversed(shapes))).shapes


def test_glyphs_are_identified_by_their_order() -> None:
    names = glyphs.identify(engraved())
    expected = {(kind, data(kind, n)): n for kind, all_names in NAMES.items() for n in all_names}
    keys = {("KeySig", data("Accidental", n)): n for n in NAMES["Accidental"]}
    assert names == expected | keys


def test_all_signs_of_composed_pieces_are_in_the_score() -> None:
    assert set(NAMES["Rest"]) == {"DoubleWhole", "Whole", "Half", "Quarter", "8th", "16th"}
    assert set(NAMES["Note"]) == {"DoubleWhole", "Whole", "Half", "Black"}
    assert set(NAMES["TimeSig"]) >= {*"12345689", "Common", "CutCommon"}
    assert set(NAMES["Hook"]) == {"8thUp", "8thDown", "16thUp", "16thDown"}
    assert set(NAMES["Clef"]) == {"clefG", "clefF", "clefC", "clefG8"}


def test_the_measures_of_the_score_are_full() -> None:
    score = etree.fromstring(glyphs.score())
    lengths = [
        sum(int(note.findtext("duration")) for note in measure.iter("note"))
        for measure in score.iter("measure")
        if measure.find("note/rest[@measure]") is None
    ]
    assert lengths == [32, 32, *[16] * (len(lengths) - 2)]


def test_a_missing_glyph_is_an_error() -> None:
    shapes = engraved()
    shapes.remove(next(shape for shape in shapes if shape.group.name == "Hook"))
    with pytest.raises(ValueError, match="Hook: 3 glyphs, expected 4"):
        glyphs.identify(shapes)


def test_one_outline_with_two_names_is_an_error() -> None:
    kind, count = "Fermata", len(NAMES["Fermata"])
    fermatas = [sign(kind, block(1, 0, 1), 60 * i, 260) for i in range(count)]
    shapes = [shape for shape in engraved() if shape.group.name != kind]
    shapes += svg.read(musescore_page(*fermatas)).shapes
    with pytest.raises(ValueError, match="Fermata: Above and Below are the same glyph"):
        glyphs.identify(shapes)
