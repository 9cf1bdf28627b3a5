"""Which symbols correspond in the data sets, held against every class map of music.

Each row is a kind of symbol with, per data set, the classes that its categories have in a map: the
class and the relation, or None if no category may map to the classes of the row.
"""

from pathlib import Path

import pytest
import yaml

import class_maps
from class_maps import CategoryMapping, InputError
from class_maps.loader import from_yaml

MAPS = ("harmony", "harmony-core", "deepscores", "muscima")
SOURCES = ("deepscoresv2", "engraved", "muscima", "doremi")
SAME = ("exact",)
MERGED = ("finer", "finer")
NEVER = None

ROWS = [
    # symbol, map, classes, then the relations in DeepScoresV2, engraved pages, MUSCIMA++, DoReMi
    ("filled noteheads", "harmony", ["noteheadBlack"], MERGED, MERGED, SAME, SAME),
    ("filled noteheads", "harmony-core", ["noteheadBlackOnLine", "noteheadBlackInSpace"], SAME * 2, SAME * 2, NEVER, NEVER),
    ("filled noteheads", "deepscores", ["noteheadBlackOnLine", "noteheadBlackInSpace"], SAME * 2, SAME * 2, NEVER, NEVER),
    ("filled noteheads", "muscima", ["noteheadFull"], MERGED, MERGED, SAME, SAME),
    ("open noteheads", "harmony", ["noteheadHalf", "noteheadWhole"], MERGED * 2, MERGED * 2, SAME * 2, SAME * 2),
    ("open noteheads", "harmony-core", ["noteheadHalfOnLine", "noteheadHalfInSpace"], SAME * 2, SAME * 2, NEVER, NEVER),
    ("open noteheads", "deepscores", ["noteheadHalfOnLine", "noteheadWholeInSpace"], SAME * 2, SAME * 2, NEVER, NEVER),
    ("open noteheads", "muscima", ["noteheadHalf", "noteheadWhole"], MERGED * 2, MERGED * 2, SAME * 2, SAME * 2),
    ("clefs", "harmony", ["clefG", "clefF"], SAME * 2, SAME * 2, SAME * 2, SAME * 2),
    ("clefs", "harmony-core", ["clefG", "clefF"], SAME * 2, SAME * 2, SAME * 2, SAME * 2),
    ("clefs", "deepscores", ["clefG", "clefF"], SAME * 2, SAME * 2, SAME * 2, SAME * 2),
    ("clefs", "muscima", ["gClef", "fClef"], SAME * 2, SAME * 2, SAME * 2, SAME * 2),
    ("C clefs", "harmony", ["clefCAlto", "clefCTenor"], SAME * 2, SAME * 2, NEVER, NEVER),
    ("C clefs", "deepscores", ["clefCAlto", "clefCTenor"], SAME * 2, SAME * 2, NEVER, NEVER),
    ("C clefs", "muscima", ["cClef"], MERGED, MERGED, SAME, SAME),
    ("ledger lines", "deepscores", ["ledgerLine"], SAME, SAME, SAME, NEVER),
    ("ledger lines", "muscima", ["legerLine"], SAME, SAME, SAME, NEVER),
    ("accidentals", "harmony", ["accidentalSharp"], SAME, SAME, ("coarser",), ("coarser",)),
    ("accidentals", "harmony-core", ["accidentalFlat"], SAME, SAME, ("coarser",), ("coarser",)),
    ("accidentals", "deepscores", ["accidentalNatural"], SAME, SAME, ("coarser",), ("coarser",)),
    ("accidentals", "muscima", ["accidentalSharp"], ("finer",) * 3, ("finer",) * 3, SAME, SAME),
    ("glyphs of key signatures", "harmony", ["keySharp", "keyFlat", "keyNatural"], SAME * 3, SAME * 3, NEVER, NEVER),
    ("glyphs of key signatures", "harmony-core", ["keySignature"], ("finer",) * 3, ("finer",) * 3, NEVER, NEVER),
    ("glyphs of key signatures", "deepscores", ["keySharp", "keyFlat", "keyNatural"], SAME * 3, SAME * 3, NEVER, NEVER),
    ("whole signatures", "muscima", ["keySignature", "timeSignature"], NEVER, NEVER, SAME * 2, NEVER),
    ("numerals", "harmony", ["timeSig3", "timeSig4"], SAME * 2, SAME * 2, NEVER, SAME * 2),
    ("numerals", "harmony-core", ["timeSig3", "timeSig4"], SAME * 2, SAME * 2, NEVER, SAME * 2),
    ("numerals", "deepscores", ["timeSig3", "timeSig9"], SAME * 2, SAME * 2, NEVER, SAME * 2),
    ("numerals", "deepscores", ["fingering3", "tuplet3", "clef8", "timeSig0"], SAME * 4, SAME * 4, NEVER, NEVER),
    ("numerals", "muscima", ["numeral3"], ("finer",) * 3, ("finer",) * 3, SAME, ("finer",)),
    ("numerals", "muscima", ["numeral8"], ("finer",) * 3, ("finer",) * 3, SAME, ("finer",)),
    ("articulations", "deepscores", ["articStaccatoAbove", "articTenutoBelow", "articAccentAbove"], SAME * 3, SAME * 3, NEVER, SAME * 3),
    ("articulations", "deepscores", ["articMarcatoAbove", "articMarcatoBelow"], SAME * 2, SAME * 2, SAME * 2, SAME * 2),
    ("articulations", "muscima", ["articulationStaccato"], MERGED, MERGED, SAME, MERGED),
    ("letters of dynamics", "deepscores", ["dynamicP", "dynamicM", "dynamicF", "dynamicS", "dynamicZ", "dynamicR"], SAME * 6, SAME * 6, SAME * 6, NEVER),
    ("letters of dynamics", "muscima", ["dynamicLetterP", "dynamicLetterF"], SAME * 2, SAME * 2, SAME * 2, NEVER),
    ("hairpins", "deepscores", ["dynamicCrescendoHairpin"], SAME, SAME, SAME, NEVER),
    ("hairpins", "muscima", ["dynamicDiminuendoHairpin"], SAME, SAME, SAME, NEVER),
    ("arpeggios", "deepscores", ["arpeggiato"], SAME, SAME, SAME, NEVER),
    ("arpeggios", "muscima", ["arpeggio"], SAME, SAME, SAME, NEVER),
    ("numbers of tuplets", "deepscores", ["tuplet3", "tuplet6"], SAME * 2, SAME * 2, NEVER, NEVER),
    ("numbers of tuplets", "muscima", ["tuple"], NEVER, NEVER, SAME, NEVER),
    ("brackets of tuplets", "deepscores", ["tupletBracket"], SAME, SAME, SAME, SAME),
    ("brackets of tuplets", "muscima", ["tupleBracket"], SAME, SAME, SAME, SAME),
    ("multi-measure rests", "deepscores", ["restHBar"], SAME, SAME, SAME, NEVER),
    ("multi-measure rests", "muscima", ["multiMeasureRest"], SAME, SAME, SAME, NEVER),
    ("barlines", "harmony", ["barlineSingle"], NEVER, MERGED, ("coarser",), ("coarser", "finer")),
    ("barlines", "harmony", ["barlineDouble", "barlineFinal"], NEVER, ("exact", "finer", "finer", "finer"), NEVER, NEVER),
    ("barlines", "muscima", ["barline"], NEVER, MERGED, SAME, ("exact", "finer")),
    ("barlines", "muscima", ["measureSeparator"], NEVER, NEVER, SAME, NEVER),
    ("lines of staves", "muscima", ["staffLine"], NEVER, NEVER, SAME, SAME),
    ("lines of staves", "muscima", ["staffSpace"], NEVER, NEVER, SAME, NEVER),
    ("staves", "harmony", ["staff"], SAME, SAME, SAME, NEVER),
    ("staves", "deepscores", ["staff"], SAME, SAME, SAME, NEVER),
    ("staves", "muscima", ["staff"], SAME, SAME, SAME, NEVER),
    ("beams", "harmony", ["beam"], SAME, SAME, SAME, NEVER),
    ("beams", "harmony-core", ["beam"], SAME, SAME, SAME, NEVER),
    ("beams", "deepscores", ["beam"], SAME, SAME, SAME, NEVER),
    ("beams", "muscima", ["beam"], SAME, SAME, SAME, NEVER),
    ("fermatas", "harmony", ["fermata"], MERGED, MERGED, ("finer", "finer", "exact"), NEVER),
    ("fermatas", "deepscores", ["fermataAbove", "fermataBelow"], SAME * 2, SAME * 2, SAME * 2, NEVER),
    ("fermatas", "muscima", ["fermataAbove", "fermataBelow"], SAME * 2, SAME * 2, SAME * 2, NEVER),
    ("volta brackets", "muscima", ["volta"], NEVER, SAME, SAME, NEVER),
]  # fmt: skip


def relations_of(source: CategoryMapping, classes: list[str]) -> tuple[str, ...] | None:
    """Return the relations of all categories of the classes, or None if they are unlabelled."""
    mapped = [c for name in classes for c, other in source.class_of.items() if other == name]
    if not mapped:
        assert set(classes) <= set(source.unlabelled)
        return None
    assert not set(classes) & set(source.unlabelled)
    return tuple(source.relations[category] for category in mapped)


@pytest.mark.parametrize(("symbol", "name", "classes", "deepscores", "engraved", "muscima", "doremi"), ROWS)  # fmt: skip
def test_a_kind_of_symbol(
    symbol: str,
    name: str,
    classes: list[str],
    deepscores: tuple[str, ...] | None,
    engraved: tuple[str, ...] | None,
    muscima: tuple[str, ...] | None,
    doremi: tuple[str, ...] | None,
) -> None:
    class_map = class_maps.load(name)
    expected = dict(zip(SOURCES, (deepscores, engraved, muscima, doremi), strict=True))
    for source, relations in expected.items():
        assert relations_of(class_map.source(source), classes) == relations, (symbol, source)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", MAPS)
def test_every_class_is_labelled_or_unlabelled(name: str, source: str) -> None:
    class_map = class_maps.load(name)
    mapping = class_map.source(source)
    assert mapping.relations.keys() == mapping.class_of.keys()
    mapped = set(mapping.class_of.values())
    assert mapping.unlabelled == tuple(c for c in class_map.names if c not in mapped)


@pytest.mark.parametrize(
    ("name", "source", "category", "class_name"),
    [
        ("harmony-core", "muscima", "keySignature", "keySignature"),
        ("harmony", "doremi", "beam", "beam"),
        ("harmony", "doremi", "kStaffLine", "staff"),
        ("harmony", "muscima", "measureSeparator", "barlineSingle"),
        ("deepscores", "muscima", "staffLine", "staff"),
        ("deepscores", "muscima", "tuple", "tuplet3"),
        ("deepscores", "muscima", "timeSignature", "timeSig4"),
        ("deepscores", "doremi", "dynamicFF", "dynamicF"),
        ("muscima", "doremi", "beam", "beam"),
        ("muscima", "doremi", "kStaffLine", "staff"),
    ],
)
def test_groups_and_parts_are_refused(
    name: str, source: str, category: str, class_name: str, tmp_path: Path
) -> None:
    text = yaml.safe_load(class_maps.load(name).path.read_text())
    text["sources"][source]["map"] = {category: class_name}
    text["sources"][source].pop("relations", None)
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(text))
    with pytest.raises(InputError, match=f"map: {category}: each box encloses a (group|part)"):
        from_yaml(path)
    relation = class_maps.catalogue(source).relations[category]
    text["sources"][source]["relations"] = {category: relation}
    path.write_text(yaml.safe_dump(text))
    assert from_yaml(path).source(source).relations == {category: relation}
