"""Engraved pages, which have the format of DeepScoresV2 and additional categories."""

import json
from pathlib import Path

import pytest
from deepscores import NOTE, content, engraved, write

import class_maps
from class_maps import ConfigError, InputError
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.formats.deepscoresv2 import DeepScoresFile
from converters.formats.sources import identity_map, open_source

BARLINE, LYRICS = ("1001", [60, 10, 62, 60]), ("1012", [60, 70, 70, 80])


def file_of(folder: Path, split: str, works: list[int]) -> Path:
    """Write a file with one page per work, each with a notehead, a barline and a syllable."""
    data = engraved(NOTE, BARLINE, LYRICS)
    [image] = data["images"]
    rows = list(data["annotations"].values())
    data["images"], data["annotations"] = [], {}
    for i, work in enumerate(works):
        ids = [str(3 * i + k + 1) for k in range(3)]
        changes = {"id": i + 1, "filename": f"lg-{work}-aug-bravura--page-1.png", "ann_ids": ids}
        data["images"].append(image | changes)
        page_rows = [row | {"img_id": str(i + 1)} for row in rows]
        data["annotations"] |= dict(zip(ids, page_rows, strict=True))
    return write(folder, data, f"deepscores_{split}.json")


def options(**changes: float) -> ConversionOptions:
    return ConversionOptions(class_map=class_maps.load("harmony"), **changes)  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file_of(tmp_path / "in", "train", [1, 2, 3, 4])
    file_of(tmp_path / "in", "val", [5])
    return tmp_path / "in"


def works_in(folder: Path) -> dict[str, list[str]]:
    return {
        split.name: sorted(p.name.split("-")[1] for p in split.iterdir())
        for split in sorted((folder / "images").iterdir())
    }


def test_the_files_become_train_and_val(source: Path, tmp_path: Path) -> None:
    summary = convert(source, tmp_path / "out", options())
    assert works_in(tmp_path / "out") == {"train": ["1", "2", "3", "4"], "val": ["5"]}
    assert summary["warnings"] == []
    assert summary["dropped_by_reason"] == {"not in class map": 5}
    dataset = open_dataset(tmp_path / "out")
    [page] = dataset.pages("val")
    assert [dataset.names[label] for label in page.labels] == ["noteheadBlack", "barlineSingle"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["source"], manifest["annotation_set"]) == ("engraved", "engraved")
    assert manifest["class_map"]["unlabelled"] == []


def test_the_pages_that_the_engraver_held_out_stay_alone(source: Path, tmp_path: Path) -> None:
    summary = convert(source, tmp_path / "out", options(val=0.25))
    assert works_in(tmp_path / "out") == {"train": ["1", "2", "3", "4"], "val": ["5"]}
    assert summary["warnings"] == [
        "--val 0.25 was not applied: the source has a val split, which was kept"
    ]


def test_a_single_file_and_the_format_by_name(source: Path) -> None:
    for chosen in (None, "engraved"):
        format_name, [file] = open_source(source / "deepscores_val.json", chosen)
        assert (format_name, file.split, len(file.images)) == ("engraved", "val", 1)
        assert file.image_folder == source / "images"


def test_a_class_map_without_an_entry_for_them(source: Path, tmp_path: Path) -> None:
    coco = ConversionOptions(class_map=class_maps.load("coco"))
    with pytest.raises(ConfigError, match="class map coco has no entry for engraved data"):
        convert(source, tmp_path / "out", coco)


def test_other_pages_are_not_read_as_engraved_ones(tmp_path: Path) -> None:
    path = write(tmp_path, content(NOTE))
    with pytest.raises(InputError) as raised:
        convert(path, tmp_path / "out", options(), source_format="engraved")
    assert str(raised.value) == (
        f"{path}: annotation_sets: no annotation set 'engraved' in ['deepscores', 'muscima++']; "
        "choose one with --annotation-set"
    )


def test_the_identity_map_has_all_categories_of_the_files(source: Path) -> None:
    format_name, files = open_source(source)
    identity = identity_map(format_name, files)
    assert identity.names == class_maps.catalogue("engraved").names("engraved")
    assert identity.source("engraved").class_of == {name: name for name in identity.names}


def test_the_identity_map_has_no_category_that_is_only_in_the_catalogue(tmp_path: Path) -> None:
    data = content(NOTE)
    data["categories"]["9"] = {"name": "newWord", "annotation_set": "deepscores", "color": 200}
    format_name, files = open_source(write(tmp_path, data))
    assert identity_map(format_name, files).names == (
        "brace", "ledgerLine", "newWord", "noteheadBlackOnLine", "noteheadBlackInSpace", "stem", "staff",
    )  # fmt: skip
    assert identity_map(format_name, files, "muscima++").names == ("legerLine", "noteheadFullSmall")
    assert identity_map(format_name, files, "none").names == ()


def test_the_identity_map_of_coco_is_in_the_order_of_the_ids(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    image = {"id": 1, "file_name": "a.png", "width": 9, "height": 9}
    names = {7: "stem", 2: "note", 9: "stem"}
    categories = [{"id": i, "name": name} for i, name in names.items()]
    path.write_text(json.dumps({"images": [image], "annotations": [], "categories": categories}))
    format_name, files = open_source(path)
    identity = identity_map(format_name, files)
    assert identity.names == ("note", "stem")
    assert identity.source("coco").annotation_set is None


def test_categories_of_an_unknown_annotation_set(tmp_path: Path) -> None:
    file = DeepScoresFile(write(tmp_path, content()))
    source = class_maps.CategoryMapping(name="deepscoresv2", annotation_set="x", class_of={})
    assert file.categories(source) == ()
