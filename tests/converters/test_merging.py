"""Tests of conversions of several data sets to one."""

import json
from pathlib import Path
from typing import Any

import coco_json
import pytest
from engraved import engraved_pages

import class_maps
from class_maps import ConfigError, InputError, OmrError
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.manifest import read_manifest
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions

MAP = """name: own
classes: [noteheadBlack, stem]
sources:
  coco: {map: same names}
  yolo: {map: {noteheadBlack: noteheadBlack}, unlabelled: [stem]}
  engraved: {annotation_set: engraved, map: {noteheadBlackOnLine: noteheadBlack}}
"""


@pytest.fixture
def class_map(tmp_path: Path) -> class_maps.ClassMap:
    (tmp_path / "own.yaml").write_text(MAP)
    return class_maps.load(str(tmp_path / "own.yaml"))


def options(class_map: class_maps.ClassMap, **changes: Any) -> ConversionOptions:  # noqa: ANN401
    return ConversionOptions(class_map=class_map, **changes)


def coco(folder: Path, *names: str, grey: int = 255) -> Path:
    """Write a data set of one annotation file in which each image differs from all others."""
    for i, name in enumerate(names):
        coco_json.draw(folder / "images" / name, grey - i)
    coco_json.write(folder / "a.json", names=names)
    return folder


def yolo(folder: Path, *images: str, grey: int = 100) -> Path:
    """Write a YOLO folder with one notehead on each image, such as ``train/a.png``."""
    for i, image in enumerate(images):
        coco_json.draw(folder / "images" / image, grey + i)
        label = (folder / "labels" / image).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.15 0.1875 0.1 0.125\n")
    lines = [f"{split}: images/{split}" for split in dict.fromkeys(i.split("/")[0] for i in images)]
    (folder / "data.yaml").write_text("\n".join([*lines, "names: [noteheadBlack]"]))
    return folder


def files(out: Path) -> list[str]:
    paths = (path for path in (out / "images").rglob("*") if path.is_file())
    return sorted(path.relative_to(out / "images").as_posix() for path in paths)


def test_equal_names_are_kept_apart_and_each_page_records_its_source(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    one, two = coco(tmp_path / "one", "x.png"), coco(tmp_path / "two", "x.png", grey=200)
    three = yolo(tmp_path / "three", "train/x.png")
    summary = convert([one, two, three], tmp_path / "out", options(class_map))
    assert files(tmp_path / "out") == ["train/one/x.png", "train/three/x.png", "train/two/x.png"]
    assert summary["symbols"]["written"] == 3
    manifest = read_manifest(tmp_path / "out")
    sources = {page: p.source for page, p in manifest.properties["train"].items()}
    assert sources == {"one/x.png": "one", "two/x.png": "two", "three/x.png": "three"}
    assert manifest.source == "coco+yolo"
    assert [(d.name, d.format, d.unlabelled) for d in manifest.data_sets] == [
        ("one", "coco", ()),
        ("two", "coco", ()),
        ("three", "yolo", ("stem",)),
    ]
    assert [file.name for file in manifest.data_sets[0].files] == ["a.json"]
    assert manifest.class_map.unlabelled == ()
    for name, other in (("one", one), ("two", two)):
        copied = tmp_path / "out" / "images" / "train" / name / "x.png"
        assert copied.read_bytes() == (other / "images" / "x.png").read_bytes()
    assert [len(page.labels) for page in open_dataset(tmp_path / "out").pages("train")] == [1, 1, 1]


def test_data_sets_whose_folders_have_equal_names(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    one, two = (
        coco(tmp_path / "a" / "data", "x.png"),
        coco(tmp_path / "b" / "DATA", "x.png", grey=9),
    )
    convert([one, two], tmp_path / "out", options(class_map))
    assert files(tmp_path / "out") == ["train/a-data/x.png", "train/b-DATA/x.png"]


def test_files_that_differ_only_in_suffix(class_map: class_maps.ClassMap, tmp_path: Path) -> None:
    coco(tmp_path, "x.png")
    coco_json.draw(tmp_path / "images" / "y.png", 3)
    coco_json.write(tmp_path / "a.txt", names=["y.png"])
    convert([tmp_path / "a.json", tmp_path / "a.txt"], tmp_path / "out", options(class_map))
    assert files(tmp_path / "out") == ["train/a.json/x.png", "train/a.txt/y.png"]


def test_a_single_data_set_of_a_list_is_not_put_into_a_folder(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    convert([coco(tmp_path / "one", "x.png")], tmp_path / "out", options(class_map))
    assert files(tmp_path / "out") == ["train/x.png"]
    assert "data_sets" not in json.loads((tmp_path / "out" / "manifest.json").read_text())


def test_tiles_of_equal_pages_are_kept_apart(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    one, two = coco(tmp_path / "one", "x.png"), coco(tmp_path / "two", "x.png", grey=200)
    preparation = PreparationOptions(tiles=TileOptions(size=64, overlap=0))
    convert([one, two], tmp_path / "out", options(class_map, preparation=preparation))
    tiles = read_manifest(tmp_path / "out").tiles["train"]
    assert {page: {Path(t).parent.name for t in p.tiles} for page, p in tiles.items()} == {
        "one/x.png": {"one"},
        "two/x.png": {"two"},
    }


def test_a_work_in_two_data_sets_is_on_one_side(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    page = "lg-{}-aug-a--page-{}.png".format
    one = yolo(tmp_path / "one", f"train/{page(1, 1)}", f"val/{page(2, 1)}")
    two = coco(tmp_path / "two", page(2, 2), page(3, 1))
    summary = convert([one, two], tmp_path / "out", options(class_map))
    assert files(tmp_path / "out") == [
        f"train/one/{page(1, 1)}",
        f"train/two/{page(3, 1)}",
        f"val/one/{page(2, 1)}",
        f"val/two/{page(2, 2)}",
    ]
    assert (
        "moved to the split that other pages of the same work, piece, writer or image have: 1 image "
        f"(two/{page(2, 2)})" in summary["warnings"]
    )


@pytest.mark.parametrize("held_out", [("val",), ("test",), ("val", "test")])
def test_a_copy_of_an_image_follows_the_strictest_split(
    held_out: tuple[str, ...], class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    images = [f"{split}/{split}.png" for split in ("train", *held_out)]
    one = yolo(tmp_path / "one", *images, grey=100)
    two = coco(tmp_path / "two", "copy.png", "other.png", grey=50)
    for split in held_out:  # the same image in all held-out splits
        coco_json.draw(one / "images" / split / f"{split}.png", 50)
    summary = convert([one, two], tmp_path / "out", options(class_map))
    assert f"{held_out[-1]}/two/copy.png" in files(tmp_path / "out")
    assert "train/two/other.png" in files(tmp_path / "out")
    assert any(w.startswith("in more than one source: 1 image (") for w in summary["warnings"])


def test_works_are_held_out_of_all_data_sets_together(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    page = "lg-{}-aug-a--page-{}.png".format
    one = coco(tmp_path / "one", *(page(i, 1) for i in range(8)))
    two = coco(tmp_path / "two", *(page(i, 2) for i in range(8)), grey=200)
    convert([one, two], tmp_path / "out", options(class_map, val=0.25))
    works = {
        split: {Path(f).name.split("-")[1] for f in files(tmp_path / "out") if f.startswith(split)}
        for split in ("train", "val")
    }
    assert len(works["val"]) == 2
    assert len(works["train"]) == 6


@pytest.mark.parametrize("name", ["lg-{}-aug-a--page-1.png", "p{}.png"])
def test_held_out_pages_of_a_source_stay_when_another_is_added(
    name: str, class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    one = coco(tmp_path / "one", *(name.format(i) for i in range(12)))
    two = coco(tmp_path / "two", *(name.format(i) for i in range(20, 32)), grey=200)
    by = "work" if name.startswith("lg") else "page"
    chosen = options(class_map, val=0.5, split_by=by)
    convert(one, tmp_path / "alone", chosen)
    convert([one, two], tmp_path / "merged", chosen)
    alone = {Path(f).name for f in files(tmp_path / "alone") if f.startswith("val/")}
    merged = {Path(f).name for f in files(tmp_path / "merged") if f.startswith("val/one/")}
    assert len(alone) == 6
    assert alone <= merged or merged <= alone
    assert len(alone & merged) >= 4


def test_a_validation_split_is_kept_and_others_are_held_out(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    one = yolo(tmp_path / "one", "train/a.png", "train/b.png", "val/c.png")
    two = coco(tmp_path / "two", "x.png", "y.png")
    chosen = options(class_map, val=0.5, split_by="page")
    summary = convert([one, two], tmp_path / "out", chosen)
    val = [file for file in files(tmp_path / "out") if file.startswith("val")]
    assert val[0] == "val/one/c.png"
    assert len(val) == 2
    assert val[1].startswith("val/two")
    assert (
        "--val 0.5 was not applied: source one has a val split, which was kept"
        in summary["warnings"]
    )


def test_classes_that_a_converted_source_does_not_label_stay_unlabelled(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    convert(yolo(tmp_path / "raw", "train/x.png"), tmp_path / "one", options(class_map))
    (tmp_path / "all.yaml").write_text(
        "name: all\nclasses: [noteheadBlack, stem]\nsources: {yolo: {map: same names}, coco: {map: same names}}\n"
    )
    both = class_maps.load(str(tmp_path / "all.yaml"))
    two = coco(tmp_path / "two", "y.png")
    convert([tmp_path / "one", two], tmp_path / "out", options(both))
    manifest = read_manifest(tmp_path / "out")
    assert [data_set.unlabelled for data_set in manifest.data_sets] == [("stem",), ()]


def test_classes_that_no_source_labels(class_map: class_maps.ClassMap, tmp_path: Path) -> None:
    sources = [yolo(tmp_path / name, "train/x.png", grey=i) for i, name in enumerate("ab")]
    convert(sources, tmp_path / "out", options(class_map))
    assert read_manifest(tmp_path / "out").class_map.unlabelled == ("stem",)


@pytest.mark.parametrize(
    ("n_pages", "is_noted"), [(3, True), (2, False)], ids=["frequent", "absent by chance"]
)
def test_classes_that_only_the_other_source_has(
    n_pages: int, is_noted: bool, tmp_path: Path
) -> None:
    (tmp_path / "all.yaml").write_text(
        "name: all\nclasses: [noteheadBlack, stem]\nsources: {coco: {map: same names}}\n"
    )
    both = class_maps.load(str(tmp_path / "all.yaml"))
    one = coco(tmp_path / "one", *(f"{i}.png" for i in range(n_pages)))
    two = coco(tmp_path / "two", "y.png", grey=50)
    symbols = [
        coco_json.annotation(),
        coco_json.annotation(id=2, category_id=2, bbox=[40, 10, 2, 10]),
    ]
    coco_json.write(two / "a.json", names=("y.png",), annotations=symbols)
    summary = convert([one, two], tmp_path / "out", options(both))
    warning = (
        "one: no symbols of stem, which are frequent in the other sources, so its pages are "
        "negative examples of them; if they were not annotated, convert this source alone with a "
        "class map that lists them as unlabelled, and merge the result"
    )
    assert (warning in summary["warnings"]) == is_noted


def test_data_sets_that_were_converted_with_different_class_maps(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    convert(yolo(tmp_path / "raw", "train/x.png"), tmp_path / "one", options(class_map))
    (tmp_path / "other.yaml").write_text(MAP.replace("name: own", "name: other"))
    other = class_maps.load(str(tmp_path / "other.yaml"))
    convert(coco(tmp_path / "raw2", "y.png"), tmp_path / "two", options(other))
    summary = convert([tmp_path / "one", tmp_path / "two"], tmp_path / "out", options(class_map))
    assert (
        f"{tmp_path}/one and {tmp_path}/two: converted with different class maps (own, other), but "
        "share classes: noteheadBlack; check that these mean the same in both, otherwise convert "
        "their sources again with one class map" in summary["warnings"]
    )


def problem(
    error: type[OmrError], sources: list[Path], out: Path, chosen: ConversionOptions
) -> str:
    with pytest.raises(error) as raised:
        convert(sources, out, chosen)
    return str(raised.value)


def test_an_empty_folder_among_the_sources(class_map: class_maps.ClassMap, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sources = [coco(tmp_path / "one", "x.png"), tmp_path / "empty"]
    message = problem(InputError, sources, tmp_path / "out", options(class_map))
    assert message.startswith(f"{tmp_path}/empty: no annotations; expected ")
    assert not (tmp_path / "out").exists()


def test_no_source(class_map: class_maps.ClassMap, tmp_path: Path) -> None:
    message = problem(ConfigError, [], tmp_path / "out", options(class_map))
    assert message == "SOURCE: expected at least one data set"


def test_a_source_twice(class_map: class_maps.ClassMap, tmp_path: Path) -> None:
    one = coco(tmp_path / "one", "x.png")
    (tmp_path / "link").symlink_to(one)
    message = problem(ConfigError, [one, tmp_path / "link"], tmp_path / "out", options(class_map))
    assert message == f"SOURCE: duplicate: {tmp_path}/link; give each data set once"


def test_an_unknown_work(class_map: class_maps.ClassMap, tmp_path: Path) -> None:
    sources = [coco(tmp_path / "one", "lg-1-aug-a--page-1.png"), coco(tmp_path / "two", "y.png")]
    message = problem(ConfigError, sources, tmp_path / "out", options(class_map, val=0.5))
    assert message.startswith("two/y.png: the work is not in the name (expected lg-<work>-aug-")


def test_a_source_inside_another(class_map: class_maps.ClassMap, tmp_path: Path) -> None:
    one = coco(tmp_path / "one", "x.png")
    message = problem(InputError, [one, one / "a.json"], tmp_path / "out", options(class_map))
    assert message == f"{one}/a.json: belongs to both {one} and {one}/a.json; give only one of them"


def test_a_source_inside_the_output(class_map: class_maps.ClassMap, tmp_path: Path) -> None:
    one, out = coco(tmp_path / "one", "x.png"), tmp_path / "out"
    convert([one], out, options(class_map))
    inside = coco(out / "inside", "y.png")
    with pytest.raises(ConfigError) as raised:
        convert([one, inside], out, options(class_map), force=True)
    expected = f"{inside}: is inside {out}, which would be replaced; choose another output folder"
    assert str(raised.value) == expected


def test_an_existing_output(class_map: class_maps.ClassMap, tmp_path: Path) -> None:
    one, two = coco(tmp_path / "one", "x.png"), coco(tmp_path / "two", "y.png", grey=9)
    (tmp_path / "out" / "mine").mkdir(parents=True)
    message = problem(ConfigError, [one, two], tmp_path / "out", options(class_map))
    assert (
        message
        == f"{tmp_path}/out: already exists; choose another folder, or use --force to replace it"
    )


def test_a_source_whose_symbols_are_all_dropped(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    one, two = coco(tmp_path / "one", "x.png"), tmp_path / "two"
    coco_json.draw(two / "images" / "y.png", 9)
    coco_json.write(two / "a.json", names=["y.png"], categories={1: "tie"})
    message = problem(InputError, [one, two], tmp_path / "out", options(class_map))
    assert message == (
        f"{two}: no symbols left with class map own; `omr classes check own {two}` counts its "
        "categories"
    )


def test_one_image_folder_for_several_sources(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    one, two = coco(tmp_path / "one", "x.png"), coco(tmp_path / "two", "y.png", grey=9)
    with pytest.raises(ConfigError) as raised:
        convert([one, two], tmp_path / "out", options(class_map), images=tmp_path)
    assert "for a single SOURCE, but there are 2; " in str(raised.value)


def test_an_annotation_set_applies_to_formats_that_have_sets(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    pages = engraved_pages(tmp_path / "pages", pages=1)
    one = coco(tmp_path / "one", "x.png")
    convert([pages, one], tmp_path / "out", options(class_map, annotation_set="engraved"))
    manifest = read_manifest(tmp_path / "out")
    assert [d.annotation_set for d in manifest.data_sets] == ["engraved", None]


def test_the_number_of_workers_does_not_change_the_output(
    class_map: class_maps.ClassMap, tmp_path: Path
) -> None:
    one, two = coco(tmp_path / "one", "x.png", "y.png"), coco(tmp_path / "two", "x.png", grey=9)
    for workers in (1, 2):
        convert([one, two], tmp_path / str(workers), options(class_map), workers=workers)
    manifests = [(tmp_path / str(n) / "manifest.json").read_bytes() for n in (1, 2)]
    assert manifests[0] == manifests[1]
    assert files(tmp_path / "1") == files(tmp_path / "2")
