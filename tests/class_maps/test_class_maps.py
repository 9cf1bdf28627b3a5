import pickle
from pathlib import Path

import pytest
from deepscores import sample

import class_maps
from class_maps import ConfigError, InputError, catalogue, with_nearest

GOOD = """
name: demo
classes: [note, bar]
sources:
  deepscoresv2:
    annotation_set: deepscores
    map: {noteheadBlackOnLine: note, noteheadBlackInSpace: note}
    unlabelled: [bar]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "demo.yaml"
    path.write_text(text)
    return path


def test_a_class_map_from_a_file(tmp_path: Path) -> None:
    class_map = class_maps.load(str(written(tmp_path, GOOD)))
    assert (class_map.name, class_map.names) == ("demo", ("note", "bar"))
    assert class_map.labels == {"note": 0, "bar": 1}
    source = class_map.source("deepscoresv2")
    assert source.class_of == {"noteheadBlackOnLine": "note", "noteheadBlackInSpace": "note"}
    assert source.unlabelled == ("bar",)


def test_words_that_yaml_1_1_reads_as_booleans_are_names(tmp_path: Path) -> None:
    text = "name: off\nclasses: [on]\nsources: {yolo: {map: {yes: on, no: on}}}\n"
    class_map = class_maps.load(str(written(tmp_path, text)))
    assert (class_map.name, class_map.names) == ("off", ("on",))
    assert class_map.source("yolo").class_of == {"yes": "on", "no": "on"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(GOOD, "", "expected a mapping, got nothing", id="empty"),
        pytest.param(GOOD, "- note", "expected a mapping, got list ['note']", id="list"),
        pytest.param("[note, bar]", "[]", "classes: expected at least one class", id="no classes"),
        pytest.param("[note, bar]", "[note, bar, note]", "classes: duplicate: note", id="duplicate"),
        pytest.param("[note, bar]", "[note, true]", "classes[1]: expected a name, got bool True; write a name instead of an id, or quote it", id="bool"),
        pytest.param("[note, bar]", "note", "classes: expected a list of names, got str 'note'", id="str"),
        pytest.param("name: demo", "nam: demo", "unknown: nam (did you mean name?); expected: name, classes, sources", id="key"),
        pytest.param("name: demo\n", "", "name: missing", id="no name"),
        pytest.param("deepscoresv2:", "deepscores2:", "sources: unknown: deepscores2 (did you mean deepscoresv2?); expected: deepscoresv2, engraved, coco, yolo, labelme, muscima, doremi, mung, voc, parquet", id="source"),
        pytest.param("annotation_set: deepscores", "annotation_set: muscima", "sources.deepscoresv2.annotation_set: unknown: muscima (did you mean muscima++?); expected one of deepscores, muscima++", id="set"),
        pytest.param("noteheadBlackOnLine", "noteheadBlakOnLine", "sources.deepscoresv2.map: not in annotation set deepscores of deepscoresv2: noteheadBlakOnLine (did you mean noteheadBlackOnLine?)", id="category"),
        pytest.param("InSpace: note", "InSpace: notes", "sources.deepscoresv2.map: not in classes: notes (did you mean note?)", id="target"),
        pytest.param("noteheadBlackInSpace", "noteheadBlackOnLine", "duplicate keys in the mapping at line 7: noteheadBlackOnLine", id="duplicate category"),
        pytest.param("[note, bar]", "[note, bar, flag]", "classes: without a category in any source: flag; map a category to each, or list it under unlabelled of a source", id="orphan"),
        pytest.param("unlabelled: [bar]", "unlabelled: [bar, note]", "sources.deepscoresv2.unlabelled: also mapped: note", id="both"),
        pytest.param("unlabelled: [bar]", "unlabelled: [baa]", "sources.deepscoresv2.unlabelled: not in classes: baa (did you mean bar?)", id="unlabelled"),
    ],
)  # fmt: skip
def test_errors_contain_file_location_and_nearest_name(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(InputError) as raised:
        class_maps.load(str(path))
    assert str(raised.value) == f"{path}: {message}"


LIKE = """
name: demo
classes: [note, bar]
sources:
  deepscoresv2:
    annotation_set: deepscores
    map: {noteheadBlackOnLine: note}
    unlabelled: [bar]
  engraved:
    annotation_set: engraved
    like: deepscoresv2
    map: {barlineSingle: bar, barlineDouble: bar}
"""
ADDED = "    map: {barlineSingle: bar, barlineDouble: bar}\n"


def test_like_extends_the_map_of_another_source(tmp_path: Path) -> None:
    class_map = class_maps.load(str(written(tmp_path, LIKE)))
    assert class_map.source("engraved").class_of == {
        "noteheadBlackOnLine": "note",
        "barlineSingle": "bar",
        "barlineDouble": "bar",
    }
    assert class_map.source("engraved").unlabelled == ()  # another data set may label these classes
    assert class_map.source("deepscoresv2").class_of == {"noteheadBlackOnLine": "note"}


def test_like_without_a_map(tmp_path: Path) -> None:
    class_map = class_maps.load(str(written(tmp_path, LIKE.replace(ADDED, ""))))
    assert class_map.source("engraved").class_of == {"noteheadBlackOnLine": "note"}


def test_like_may_refer_to_a_later_source_with_same_names(
    tmp_path: Path,
) -> None:
    text = """
name: demo
classes: [stem, barlineSingle]
sources:
  engraved: {annotation_set: engraved, like: deepscoresv2, map: {barlineSingle: barlineSingle}}
  deepscoresv2: {annotation_set: deepscores, map: same names, unlabelled: [barlineSingle]}
"""
    class_map = class_maps.load(str(written(tmp_path, text)))
    assert class_map.source("engraved").class_of == {
        "stem": "stem",
        "barlineSingle": "barlineSingle",
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("like: deepscoresv2", "like: deepscores", "like: unknown source: deepscores (did you mean deepscoresv2?); expected one of: deepscoresv2", id="misspelled"),
        pytest.param("like: deepscoresv2", "like: engraved", "like: unknown source: engraved; expected one of: deepscoresv2", id="itself"),
        pytest.param("like: deepscoresv2", "like: coco", "like: unknown source: coco; expected one of: deepscoresv2", id="missing"),
        pytest.param("like: deepscoresv2", "like: 2", "like: expected a name, got int 2; write a name instead of an id, or quote it", id="number"),
        pytest.param("{barlineSingle: bar,", "{barlineSingle: bar, noteheadBlackOnLine: note,", "map: already in the map of deepscoresv2: noteheadBlackOnLine; omit it here", id="duplicate"),
        pytest.param("{barlineSingle: bar,", "{barlineSingl: bar,", "map: not in annotation set engraved of engraved: barlineSingl (did you mean barlineSingle?)", id="category"),
        pytest.param("{barlineSingle: bar,", "{barlineSingle: baa,", "map: not in classes: baa (did you mean bar?)", id="class"),
        pytest.param("map: {barlineSingle: bar, barlineDouble: bar}", "map: same names", "map: expected a mapping, got str 'same names'", id="same names"),
        pytest.param(ADDED, ADDED + "    unlabelled: [note]\n", "unlabelled: also mapped: note", id="unlabelled"),
    ],
)  # fmt: skip
def test_errors_in_a_source_with_like(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in LIKE
    path = written(tmp_path, LIKE.replace(old, new, 1))
    with pytest.raises(InputError) as raised:
        class_maps.load(str(path))
    assert str(raised.value) == f"{path}: sources.engraved.{message}"


def test_like_must_not_name_a_source_with_like(tmp_path: Path) -> None:
    text = LIKE + "  coco: {like: engraved}\n"
    path = written(tmp_path, text)
    with pytest.raises(InputError) as raised:
        class_maps.load(str(path))
    assert str(raised.value) == (
        f"{path}: sources.coco.like: engraved uses like as well; give a source that has its own map"
    )


def test_damaged_yaml_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a: [1,\n b: {")
    with pytest.raises(InputError, match=r"demo.yaml: line 2: while parsing a flow") as raised:
        class_maps.load(str(path))
    assert "\n" not in str(raised.value)


def test_unknown_names() -> None:
    with pytest.raises(ConfigError) as raised:
        class_maps.load("harmoni")
    assert str(raised.value) == (
        "unknown class map: harmoni (did you mean harmony?); expected one of coco, deepscores, "
        "harmony, harmony-core, muscima, or the path of a .yaml file"
    )
    with pytest.raises(InputError, match=r"^nowhere\.yaml: no such class map$"):
        class_maps.load("nowhere.yaml")


def test_a_data_set_without_an_entry() -> None:
    with pytest.raises(ConfigError) as raised:
        class_maps.load("coco").source("deepscoresv2")
    path = class_maps.load("coco").path
    assert str(raised.value) == (
        "class map coco has no entry for deepscoresv2 data (available: coco); add "
        f"sources.deepscoresv2 to a copy of {path}, check it with `omr classes check COPY DATA`, "
        "and pass it to --classes"
    )
    with pytest.raises(
        ConfigError, match=r"harmony\.yaml \(`map: same names` keeps the categories "
    ):
        class_maps.load("harmony").source("coco")


def test_another_annotation_set_must_have_the_categories() -> None:
    harmony = class_maps.load("harmony")
    with pytest.raises(
        InputError, match=r"not in annotation set muscima\+\+ of deepscoresv2: clefC"
    ):
        harmony.source("deepscoresv2", "muscima++")
    with pytest.raises(
        ConfigError,
        match=r"^--annotation-set x: deepscoresv2 has no such annotation set; available: deepscores, m",
    ):
        harmony.source("deepscoresv2", "x")


@pytest.mark.parametrize("name", class_maps.shipped())
def test_every_shipped_map_loads(name: str) -> None:
    assert class_maps.load(name).name == name


@pytest.mark.parametrize(
    ("name", "size"),
    [("deepscores", 136), ("harmony", 42), ("harmony-core", 14), ("muscima", 164), ("coco", 80)],
)
def test_size_of_shipped_maps(name: str, size: int) -> None:
    assert len(class_maps.load(name).names) == size


def test_every_shipped_music_map_is_disjoint_from_coco() -> None:
    of_coco = set(class_maps.load("coco").names)
    for name in set(class_maps.shipped()) - {"coco"}:
        assert not of_coco & set(class_maps.load(name).names)
    class_of = class_maps.load("coco").source("coco").class_of
    assert class_of["tie"] == class_of["necktie"] == "necktie"
    assert len(class_of) == 81


def also(text: str) -> str:
    return f"name: demo\nclasses: [note, bar]\nsources:\n  coco: {text}\n"


def test_categories_with_other_names(tmp_path: Path) -> None:
    text = also("{map: same names, also: {line: bar, dot: note}}")
    assert class_maps.load(str(written(tmp_path, text))).source("coco").class_of == {
        "note": "note",
        "bar": "bar",
        "line": "bar",
        "dot": "note",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{map: same names, also: {bar: note}}", "also: already mapped by same names: bar"),
        ("{map: same names, also: {line: baa}}", "map: not in classes: baa (did you mean bar?)"),
        ("{map: {a: note, b: bar}, also: {c: bar}}", "also: only allowed with map: same names; move its entries to map"),
    ],
)  # fmt: skip
def test_invalid_categories_with_other_names(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, also(text))
    with pytest.raises(InputError) as raised:
        class_maps.load(str(path))
    assert str(raised.value) == f"{path}: sources.coco.{message}"


def test_deepscores_has_the_classes_of_the_release_in_order() -> None:
    table = catalogue("deepscoresv2")
    assert class_maps.load("deepscores").names == table.names("deepscores")
    assert [c.id for c in table.categories] == list(range(1, 209))
    assert sum(c.dense_train_count or 0 for c in table.categories) == 889_833
    assert sum(c.dense_test_count or 0 for c in table.categories) == 244_335
    assert table.names("deepscores")[41] == "stem"


def test_harmony_fills_everything_but_barlines_from_deepscores() -> None:
    harmony = class_maps.load("harmony")
    source = harmony.source("deepscoresv2")
    assert set(harmony.names) - set(source.class_of.values()) == set(source.unlabelled)
    assert source.unlabelled == ("barlineSingle", "barlineDouble", "barlineFinal")


def test_engraved_pages_have_the_categories_of_deepscores_and_more() -> None:
    of_release = [
        c for c in catalogue("deepscoresv2").categories if c.annotation_set == "deepscores"
    ]
    engraved = catalogue("engraved").categories
    assert catalogue("engraved").annotation_sets == ("engraved",)
    assert [(c.id, c.name, c.color) for c in engraved[:136]] == [
        (c.id, c.name, c.color) for c in of_release
    ]
    assert {c.dense_train_count for c in engraved} == {None}
    added = engraved[136:]
    assert [c.id for c in added] == list(range(1001, 1020))
    assert all(c.meaning for c in added)
    for what in ("name", "color"):
        assert len({getattr(c, what) for c in engraved}) == len(engraved)
    assert all(1 <= c.color <= 255 for c in engraved)


def test_harmony_fills_everything_from_engraved_pages() -> None:
    harmony = class_maps.load("harmony")
    source, of_release = harmony.source("engraved"), harmony.source("deepscoresv2")
    assert set(source.class_of.values()) == set(harmony.names)
    assert source.unlabelled == ()
    assert {c: n for c, n in source.class_of.items() if c not in of_release.class_of} == {
        "barlineSingle": "barlineSingle",
        "systemicBarline": "barlineSingle",
        "barlineDouble": "barlineDouble",
        "barlineFinal": "barlineFinal",
        "barlineReverseFinal": "barlineFinal",
        "barlineRepeatBoth": "barlineFinal",
    }


@pytest.mark.parametrize("name", ["harmony-core", "deepscores"])
def test_engraved_pages_fill_what_the_release_fills(name: str) -> None:
    class_map = class_maps.load(name)
    assert class_map.source("engraved").class_of == class_map.source("deepscoresv2").class_of


def test_catalogues_of_other_data_sets() -> None:
    muscima, doremi = catalogue("muscima"), catalogue("doremi")
    aliases = muscima.aliases[""]
    for table in (muscima, doremi):
        names = table.names(None)
        assert len(names) == len(set(names)) == len(table.all_names)
        assert table.relations.keys() <= set(names)
        for early, later in table.splits.items():
            assert {early, *later} <= set(names)
        assert table.annotation_sets == ()
    assert len(doremi.names(None)) == 94
    assert set(aliases.values()) <= set(muscima.names(None))
    assert aliases.keys().isdisjoint(muscima.names(None))
    for name in ("g-clef", "clefG", "gClef"):
        assert muscima.canonical(name, None) == "gClef"


MIXED = """
name: demo
classes: [beam, line]
sources:
  deepscoresv2: {annotation_set: deepscores, map: {beam: beam, staff: line}}
  doremi: {map: {beam: beam}}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{map: {beam: beam}}", "{map: {beam: beam}}", "map: beam: each box encloses a group of symbols, unlike those of other sources of class beam; omit it and list the class under unlabelled, or add relations: {beam: group} to mix them"),
        ("{map: {beam: beam}}", "{map: {beam: beam}, relations: {beam: exact}}", "map: beam: each box encloses a group of symbols, unlike those of other sources of class beam; omit it and list the class under unlabelled, or add relations: {beam: group} to mix them"),
        ("{map: {beam: beam}}", "{map: {kStaffLine: line}}", "map: kStaffLine: each box encloses a part of a symbol, unlike those of other sources of class line; omit it and list the class under unlabelled, or add relations: {kStaffLine: part} to mix them"),
        ("{map: {beam: beam}}", "{map: {beam: beam}, relations: {bean: group}}", "relations: not in map: bean (did you mean beam?)"),
        ("{map: {beam: beam}}", "{map: {beam: beam}, relations: {beam: grup}}", "relations.beam: unknown relation: grup (did you mean group?); expected one of exact, coarser, finer, group, part"),
        ("{map: {beam: beam}}", "{map: {bem: beam}}", "map: not in doremi: bem (did you mean beam?)"),
    ],
)  # fmt: skip
def test_groups_do_not_share_a_class_with_symbols(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, MIXED.replace(old, new))
    with pytest.raises(InputError) as raised:
        class_maps.load(str(path))
    assert str(raised.value) == f"{path}: sources.doremi.{message}"


def test_groups_share_a_class_if_the_class_map_says_so(tmp_path: Path) -> None:
    text = MIXED.replace("{map: {beam: beam}}", "{map: {beam: beam}, relations: {beam: group}}")
    mapping = class_maps.load(str(written(tmp_path, text))).source("doremi")
    assert mapping.relations == {"beam": "group"}


def test_groups_have_a_class_of_their_own(tmp_path: Path) -> None:
    text = "name: demo\nclasses: [beams]\nsources: {doremi: {map: {beam: beams}}}\n"
    assert class_maps.load(str(written(tmp_path, text))).source("doremi").relations == {
        "beam": "exact"
    }


def test_the_prerelease_spelling_is_an_alias() -> None:
    table = catalogue("deepscoresv2")
    assert table.canonical("legerLine", "deepscores") == "ledgerLine"
    assert table.canonical("legerLine", "muscima++") == "legerLine"


def test_the_table_agrees_with_the_sample() -> None:
    import json

    data = json.loads((sample() / "deepscores_sample" / "deepscores_train.json").read_text())
    table = catalogue("deepscoresv2")
    for category in table.categories:
        row = data["categories"][str(category.id)]
        name = table.canonical(row["name"], row["annotation_set"])
        assert (name, row["annotation_set"]) == (category.name, category.annotation_set)


def test_nearest() -> None:
    assert with_nearest([], ["a"]) == ""
    assert with_nearest(["zzz", "stemm"], ["stem", "beam"]) == "stemm (did you mean stem?), zzz"


@pytest.mark.parametrize(
    ("words", "shown"),
    [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")],
)
def test_long_lists_are_shortened(words: list[str], shown: str) -> None:
    assert class_maps.short_list(words, 2) == shown


def test_messages_about_options() -> None:
    assert str(ConfigError("give --tile too")) == "give --tile too"
    assert str(ConfigError("needs --tile", option="--overlap")) == "--overlap: needs --tile"
    error = ConfigError("must be below 1", option="--val", value=1.5)
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == "--val 1.5: must be below 1"
