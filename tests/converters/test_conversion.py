import hashlib
import json
import math
import re
import resource
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import coco_json
import cv2
import numpy as np
import polars as pl
import pytest
from deepscores import NOTE, annotation, content, sample, several_pages, write
from engraved import engraved_pages
from hypothesis import given
from hypothesis import strategies as st

import class_maps
from class_maps import ConfigError, InputError, OmrError
from converters import images, opened_sources
from converters.conversion import ConversionOptions, convert
from converters.files.hashes import sha256
from converters.formats.datasets import open_dataset
from converters.formats.sources import open_source
from converters.manifest import ConvertedPages, converted_pages, read_manifest
from converters.prepare.cleaning import CleaningOptions
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions

TILES = TileOptions(size=320, overlap=64)
STEM = ("42", [40, 10, 42, 60])
PAGE = "lg-7-aug-gonville--page-1.png"


def options(name: str = "harmony", **changes: Any) -> ConversionOptions:  # noqa: ANN401
    return ConversionOptions(class_map=class_maps.load(name), **changes)


def tiled(**changes: Any) -> ConversionOptions:  # noqa: ANN401
    return options(preparation=PreparationOptions(tiles=TILES), **changes)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engraved_pages(tmp_path_factory.mktemp("pages"), pages=4)


def test_a_page_without_symbols_among_others(tmp_path: Path) -> None:
    data = content(NOTE)
    data["images"].append(data["images"][0] | {"id": 2, "filename": "empty.png", "ann_ids": []})
    summary = convert(write(tmp_path / "in", data), tmp_path / "out", options())
    assert summary["pages"] == 2
    assert summary["splits"]["train"] == {"pages": 2, "images": 2, "empty_images": 1}
    assert (tmp_path / "out" / "labels" / "train" / "empty.txt").read_text() == ""


def test_a_set_without_symbols_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "in", content(("2", [1, 1, 9, 9])))
    with pytest.raises(InputError) as raised:
        convert(path, tmp_path / "out", options())
    assert str(raised.value) == (
        f"{path}: no symbols left with class map harmony: 1 read, dropped: not in class map (1); "
        "not in class map: ledgerLine (1); choose another class map, or add the categories to this one"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("symbols", "n_crowds", "reasons", "remedy"),
    [
        ([], 0, "0 read", ""),
        ([{"bbox": [1, 1, 2, 2]}] * 2, 2, "2 read, dropped: crowd region (2)", "if each box encloses one symbol only, set iscrowd to 0"),
        ([{"bbox": [1, 1, 0, 0]}] * 2 + [{}], 0, "3 read, dropped: no width and no height (2), no box (1)", "correct the width and height of the boxes"),
    ],
)  # fmt: skip
def test_reasons_and_a_remedy_if_all_symbols_are_dropped(
    symbols: list[dict[str, Any]], n_crowds: int, reasons: str, remedy: str, tmp_path: Path
) -> None:
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "iscrowd": int(i < n_crowds)} | symbol
            for i, symbol in enumerate(symbols)
        ],
        "categories": [{"id": 1, "name": "note"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(data))
    (tmp_path / "m.yaml").write_text(
        "name: m\nclasses: [note]\nsources: {coco: {map: same names}}\n"
    )
    chosen = options(str(tmp_path / "m.yaml"), labels_only=True)
    with pytest.raises(InputError) as raised:
        convert(tmp_path / "coco.json", tmp_path / "out", chosen)
    expected = f"no symbols left with class map m: {'; '.join(filter(None, [reasons, remedy]))}"
    assert str(raised.value) == f"{tmp_path}/coco.json: {expected}"


def with_unmapped(folder: Path, *names: str) -> tuple[Path, ConversionOptions]:
    """Write one annotation per category name, and a class map of the category ``stem``."""
    categories = dict(enumerate(names, 1))
    rows = [coco_json.annotation(id=i, category_id=i, bbox=[i, 1, 10, 10]) for i in categories]
    source = coco_json.write(folder / "a.json", annotations=rows, categories=categories)
    (folder / "m.yaml").write_text("name: m\nclasses: [stem]\nsources: {coco: {map: same names}}\n")
    return source, options(str(folder / "m.yaml"), labels_only=True)


SIMILAR = (
    "dropped categories that differ from mapped ones only in spaces or letter case: 'Stem' (1; "
    "mapped: 'stem'), 'stem ' (1; mapped: 'stem'); add them to the class map"
)


def test_categories_that_differ_from_mapped_ones_only_in_spaces_or_case(tmp_path: Path) -> None:
    source, chosen = with_unmapped(tmp_path, "stem", "stem ", "Stem", "tie")
    summary = convert(source, tmp_path / "out", chosen)
    assert SIMILAR in summary["warnings"]
    assert summary["dropped"] == {"not in class map": {"Stem": 1, "stem ": 1, "tie": 1}}


def test_the_error_about_no_symbols_names_the_categories(tmp_path: Path) -> None:
    source, chosen = with_unmapped(tmp_path, "stem ", "Stem")
    with pytest.raises(InputError) as raised:
        convert(source, tmp_path / "out", chosen)
    assert str(raised.value) == (
        f"{source}: no symbols left with class map m: 2 read, dropped: not in class map (2); not "
        f"in class map: Stem (1), 'stem ' (1); {SIMILAR}"
    )


def test_whole_pages(pages: Path, tmp_path: Path) -> None:
    summary = convert(pages, tmp_path / "out", options(formats=("yolo", "coco", "parquet")))
    raw = json.loads((pages / "deepscores_train.json").read_text())
    mapped = class_maps.load("harmony").source("engraved").class_of
    expected: dict[str, list[tuple[str, list[float]]]] = {}
    for row in raw["annotations"].values():
        if name := mapped.get(raw["categories"][row["cat_id"][0]]["name"]):
            expected.setdefault(row["img_id"], []).append((name, row["a_bbox"]))
    n_expected, n_read = sum(map(len, expected.values())), len(raw["annotations"])
    assert n_read > n_expected > 100
    assert (summary["symbols"]["read"], summary["symbols"]["written"]) == (n_read, n_expected)
    assert summary["dropped_by_reason"] == {"not in class map": n_read - n_expected}
    dataset = open_dataset(tmp_path / "out")
    page_of = {page.image.name: page for page in dataset.pages("train")}
    assert page_of.keys() == {image["filename"] for image in raw["images"]}
    for image in raw["images"]:
        page, symbols = page_of[image["filename"]], expected[str(image["id"])]
        assert [dataset.names[label] for label in page.labels] == [name for name, _ in symbols]
        np.testing.assert_allclose(page.boxes_xyxy, [box for _, box in symbols], atol=2e-3)
    for image in dataset.image_paths("train"):
        assert image.read_bytes() == (pages / "images" / image.name).read_bytes()


@pytest.mark.parametrize("workers", [2, 3])
def test_bytes_are_equal_for_any_number_of_workers(
    workers: int, pages: Path, tmp_path: Path
) -> None:
    chosen = tiled(formats=("yolo", "coco", "parquet"), val=0.5)
    convert(pages, tmp_path / "one", chosen)
    convert(pages, tmp_path / "more", chosen, workers=workers)
    convert(pages, tmp_path / "one", chosen, force=True)
    assert digests(tmp_path / "one") == digests(tmp_path / "more")


def test_tiles_map_back_to_the_page(pages: Path, tmp_path: Path) -> None:
    summary = convert(pages, tmp_path / "out", tiled())
    assert summary["dropped_by_reason"].keys() == {"not in class map"}
    assert summary["symbols"]["labels"] > summary["symbols"]["written"]
    dataset = open_dataset(tmp_path / "out")
    for name, page in read_manifest(dataset.root).tiles["train"].items():
        whole = cv2.imread(str(pages / "images" / name), cv2.IMREAD_GRAYSCALE)
        assert whole is not None
        for tile, (x, y) in page.tiles.items():
            path = dataset.splits["train"] / tile
            part = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            np.testing.assert_array_equal(part, whole[y : y + 320, x : x + 320])


@pytest.mark.parametrize("labels_only", [False, True])
def test_the_manifest_contains_the_hash_of_each_tiled_page(
    labels_only: bool, pages: Path, tmp_path: Path
) -> None:
    convert(pages, tmp_path / "out", tiled(labels_only=labels_only))
    by_page = read_manifest(tmp_path / "out").tiles["train"]
    assert {name: page.sha256 for name, page in by_page.items()} == {
        name: "" if labels_only else sha256(pages / "images" / name) for name in by_page
    }
    assert len(by_page) == 4


@pytest.mark.parametrize("tiles", [None, TILES])
def test_the_manifest_contains_the_counts_of_each_page(
    tiles: TileOptions | None, pages: Path, tmp_path: Path
) -> None:
    raw = json.loads((pages / "deepscores_train.json").read_text())
    of_images = Counter(row["img_id"] for row in raw["annotations"].values())
    chosen = options(val=0.5, split_by="page", preparation=PreparationOptions(tiles=tiles))
    summary = convert(pages, tmp_path / "out", chosen)
    dataset = open_dataset(tmp_path / "out")
    annotations: list[int] = []
    symbols = 0
    for split in ("train", "val"):
        converted = converted_pages(dataset, split)
        assert converted is not None
        assert converted.annotations is not None
        assert converted.n_pages == len(converted.annotations) == 2
        assert converted.mean_annotations == len(raw["annotations"]) / 4
        assert (converted.symbols is None) == (tiles is None)
        annotations += converted.annotations
        symbols += sum(converted.symbols or ())
    assert sorted(annotations) == sorted(of_images.values())
    assert sum(annotations) == summary["symbols"]["read"]
    assert symbols == (summary["symbols"]["written"] if tiles else 0)


def test_the_manifest_of_an_old_version_contains_the_mean(pages: Path, tmp_path: Path) -> None:
    summary = convert(pages, tmp_path / "out", options())
    file = tmp_path / "out" / "manifest.json"
    old = json.loads(file.read_text())
    del old["annotations"]
    file.write_text(json.dumps(old))
    assert converted_pages(open_dataset(tmp_path / "out"), "val") == ConvertedPages(
        n_pages=4,
        mean_annotations=summary["symbols"]["read"] / 4,
        annotations=None,
        symbols=None,
        are_cut=False,
    )
    file.unlink()
    assert converted_pages(open_dataset(tmp_path / "out"), "val") is None


@pytest.mark.parametrize(
    ("tiles", "staff_space", "are_cut"),
    [(TILES, None, True), (None, 8.0, False), (TileOptions(size=9000, overlap=9), None, False)],
)
def test_pages_are_cut_if_one_has_several_tiles(
    pages: Path, tmp_path: Path, tiles: TileOptions | None, staff_space: float | None, are_cut: bool
) -> None:
    preparation = PreparationOptions(tiles=tiles, staff_space=staff_space)
    convert(pages, tmp_path / "out", options(preparation=preparation))
    converted = converted_pages(open_dataset(tmp_path / "out"), "val")
    assert converted is not None
    assert converted.are_cut == are_cut
    assert converted.symbols is not None


def test_every_box_of_a_tile_contains_ink(pages: Path, tmp_path: Path) -> None:
    convert(pages, tmp_path / "out", tiled())
    dataset = open_dataset(tmp_path / "out")
    for page in dataset.pages("train"):
        pixels = cv2.imread(str(dataset.splits["train"] / page.image), cv2.IMREAD_GRAYSCALE)
        assert pixels is not None
        for x0, y0, x1, y1 in page.boxes_xyxy.tolist():
            rows = slice(math.floor(y0 + 0.1), math.ceil(y1 - 0.1))
            columns = slice(math.floor(x0 + 0.1), math.ceil(x1 - 0.1))
            assert pixels[rows, columns].min() < 128


def test_scaling_to_a_staff_space(tmp_path: Path) -> None:
    data = several_pages(["a.png", "b.png"], NOTE, ("135", [0, 20, 200, 20 + 4.1 * 17]))
    data["annotations"]["4"] = annotation("135", [0, 20, 200, 20 + 4.1 * 17.5], "2")
    half = options(preparation=PreparationOptions(staff_space=8.5), formats=("yolo", "parquet"))
    convert(write(tmp_path / "in", data), tmp_path / "out", half)
    images = pl.read_parquet(tmp_path / "out" / "parquet" / "images_train" / "*.parquet")
    sizes = [(100, 50), (97, 49)]  # staff spaces of 17 and 17.5 px, scaled by 0.5 and 0.4857
    assert images.select("width", "height").rows() == sizes
    assert images.select("scale_x", "scale_y").rows() == [(w / 200, h / 100) for w, h in sizes]
    for page, (width, height) in zip(
        open_dataset(tmp_path / "out").pages("train"), sizes, strict=True
    ):
        assert (page.width, page.height) == (width, height)
        note = np.array(NOTE[1]) * np.tile([width / 200, height / 100], 2)
        np.testing.assert_allclose(page.boxes_xyxy[0], note, atol=1e-3)


def test_engraved_staves_are_scaled_to_one_size(pages: Path, tmp_path: Path) -> None:
    convert(pages, tmp_path / "out", options(preparation=PreparationOptions(staff_space=8)))
    dataset = open_dataset(tmp_path / "out")
    for page in dataset.pages("train"):
        staves = page.boxes_xyxy[page.labels == dataset.names.index("staff")]
        assert len(staves) > 1
        lines = staves[:, 3] - staves[:, 1] - 4 * 8
        assert ((lines > 0.05 * 8 - 0.1) & (lines < 0.15 * 8 + 0.1)).all()


def test_symbols_that_no_tile_shows_enough_of_are_counted(tmp_path: Path) -> None:
    across = ("25", [54, 20, 74, 36])  # half in each of two tiles
    path = write(tmp_path / "in", content(across, NOTE, size=(128, 64)))
    strict = PreparationOptions(tiles=TileOptions(size=64, overlap=0, min_visible=0.9))
    summary = convert(path, tmp_path / "out", options(preparation=strict))
    assert summary["symbols"]["written"] == 1
    assert summary["dropped_by_reason"] == {"under min-visible in every tile": 1}


@pytest.mark.parametrize(("share", "low", "high"), [(1.0, 40, 40), (0.4, 8, 24), (0.0, 1, 1)])
def test_blank_tiles_of_the_training_split_can_be_left_out(
    share: float, low: int, high: int, tmp_path: Path
) -> None:
    path = write(tmp_path / "in", content(("25", [10, 10, 20, 20]), size=(500, 320)))
    tiles = TileOptions(size=64, overlap=0, blank_tiles=share)
    convert(path, tmp_path / "out", options(preparation=PreparationOptions(tiles=tiles)))
    dataset = open_dataset(tmp_path / "out")
    pages = list(dataset.pages("train"))
    assert low <= len(pages) <= high
    assert sum(len(page.labels) for page in pages) == 1


def test_a_test_split_keeps_every_blank_tile(tmp_path: Path) -> None:
    one_note = content(("25", [10, 10, 20, 20]), size=(128, 64))
    path = write(tmp_path / "in", one_note, "deepscores_test.json")
    tiles = TileOptions(size=64, overlap=0, blank_tiles=0)
    summary = convert(path, tmp_path / "out", options(preparation=PreparationOptions(tiles=tiles)))
    assert summary["splits"]["test"]["images"] == 2


def test_scaling_needs_a_staff(tmp_path: Path) -> None:
    flat = ("135", [0, 20, 200, 20])  # a staff without height has no staff space
    path = write(tmp_path / "in", content(NOTE, flat))
    with pytest.raises(InputError) as raised:
        convert(path, tmp_path / "out", options(preparation=PreparationOptions(staff_space=8)))
    assert str(raised.value) == (
        f"{path.parent}/images/{PAGE}: no staff of five lines is labelled or found on this page, so "
        "its staff space is unknown; convert such pages separately with --scale native"
    )


def test_a_staff_space_that_is_not_labelled_is_measured_in_the_image(tmp_path: Path) -> None:
    path = write(tmp_path / "in", content(NOTE, size=(800, 400)))
    pixels = np.full((400, 800), 255, np.uint8)
    for staff in (60, 260):
        for line in range(5):
            pixels[staff + 16 * line : staff + 16 * line + 2, 40:760] = 0
    cv2.imwrite(str(path.parent / "images" / PAGE), pixels)
    scaled = PreparationOptions(staff_space=12)
    summary = convert(path, tmp_path / "out", options(preparation=scaled, formats=("coco",)))
    note = "staff space of 1 of 1 pages measured in their images, because it is not labelled"
    assert note in summary["warnings"]
    data = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert (data["images"][0]["width"], data["images"][0]["height"]) == (600, 300)
    assert data["annotations"][0]["bbox"] == pytest.approx([7.5, 15, 15, 12])


NARROW = "only 10 staff spaces wide at the measured 16.0 px; if it shows longer staves, "


@pytest.mark.parametrize(
    ("n", "is_on_side", "remark"),
    [(1, True, "its staff lines are "), (1, False, NARROW), (4, False, NARROW)],
)
def test_doubts_about_the_staff_space_of_an_image_are_reported(
    n: int, is_on_side: bool, remark: str, tmp_path: Path
) -> None:
    names = [f"lg-{i}-aug-gonville--page-1.png" for i in range(n)]
    data = several_pages(names, NOTE)
    for image in data["images"]:
        image |= {"width": 160, "height": 400}
    path = write(tmp_path / "in", data)
    pixels = np.full((400, 160), 255, np.uint8)
    if is_on_side:
        pixels[:, 40:120:16] = 0
        pixels[80:150:12, :10] = 0  # also at equal distances
    else:
        for line in range(5):
            pixels[60 + 16 * line : 62 + 16 * line] = 0
    for name in names:
        cv2.imwrite(str(path.parent / "images" / name), pixels)
    scaled = PreparationOptions(staff_space=12)
    warnings = convert(path, tmp_path / "out", options(preparation=scaled))["warnings"]
    reported = [warning.partition(remark) for warning in warnings if remark in warning]
    assert [before for before, *_ in reported] == [f"{name}: " for name in names[:3]]
    assert ("doubtful staff spaces, of which the first are listed: 4" in warnings) == (n == 4)


def test_dense_folder_and_held_out_works(tmp_path: Path) -> None:
    names = [f"{w}-aug-gonville--page-{n}.png" for w in (1, 2, 3) for n in (1, 2)]
    write(tmp_path / "in", several_pages([f"lg-{name}" for name in names], NOTE))
    test = several_pages([f"lg-9{name}" for name in names], NOTE)
    write(tmp_path / "in", test, "deepscores_test.json")
    summary = convert(tmp_path / "in", tmp_path / "out", options(val=0.3))
    assert {s: row["pages"] for s, row in summary["splits"].items()} == {
        "test": 6,
        "train": 4,
        "val": 2,
    }
    works = {
        split: {
            path.name.split("-")[1] for path in open_dataset(tmp_path / "out").image_paths(split)
        }
        for split in ("train", "val", "test")
    }
    assert not works["train"] & works["val"]
    assert summary["warnings"] == []


def test_the_same_name_in_two_files_of_a_split(tmp_path: Path) -> None:
    for name in ("deepscores-complete-0_train.json", "deepscores-complete-1_train.json"):
        write(tmp_path / "in", content(NOTE), name)
    with pytest.raises(InputError) as raised:
        convert(tmp_path / "in", tmp_path / "out", options())
    assert str(raised.value) == (
        f"{tmp_path}/in/deepscores-complete-1_train.json: {PAGE} is also described in "
        f"{tmp_path}/in/deepscores-complete-0_train.json; remove one of the two files"
    )


def test_a_val_split_is_kept(tmp_path: Path) -> None:
    """Holding out more pages would mix two splits, of works or of fonts."""
    for name in ("train", "valid"):
        data = several_pages([f"{name}{i}.png" for i in range(3)], NOTE)
        write(tmp_path / "in", data, f"{name}.json")
    summary = convert(tmp_path / "in", tmp_path / "out", options(val=0.5, split_by="page"))
    assert {s: row["pages"] for s, row in summary["splits"].items()} == {"train": 3, "val": 3}
    assert summary["warnings"] == [
        "--val 0.5 was not applied: the source has a val split, which was kept"
    ]


def test_a_split_that_only_some_names_contain(tmp_path: Path) -> None:
    for name in ("valid.json", "rest.json"):
        write(tmp_path / "in", content(NOTE), name)
    with pytest.raises(InputError) as raised:
        convert(tmp_path / "in", tmp_path / "out", options())
    assert str(raised.value) == (
        f"{tmp_path}/in/rest.json: no split in its name, but there is one in that of valid.json; "
        "rename it with one of the words train, val and test"
    )


def test_a_source_inside_the_target_is_not_lost(pages: Path, tmp_path: Path) -> None:
    convert(pages, tmp_path / "out", options())
    inside = write(tmp_path / "out" / "more", content(NOTE)).parent
    with pytest.raises(ConfigError) as raised:
        convert(inside, tmp_path / "out", options(), force=True)
    assert str(raised.value) == (
        f"{inside}: is inside {tmp_path}/out, which would be replaced; choose another output folder"
    )
    assert (inside / "deepscores_train.json").is_file()


def test_a_class_map_inside_the_target_is_not_lost(pages: Path, tmp_path: Path) -> None:
    convert(pages, tmp_path / "out", options())
    own = tmp_path / "out" / "own.yaml"
    shutil.copy(class_maps.load("harmony").path, own)
    with pytest.raises(ConfigError) as raised:
        convert(pages, tmp_path / "out", options(str(own)), force=True)
    assert str(raised.value) == (
        f"{own}: is inside {tmp_path}/out, which would be replaced; choose another output folder"
    )
    assert own.is_file()


def test_images_inside_the_target_are_not_lost(tmp_path: Path) -> None:
    """The annotations may be elsewhere, and their images only links."""
    source = write(tmp_path / "in", content(NOTE))
    convert(source, tmp_path / "out", options())
    image, inside = tmp_path / "in" / "images" / PAGE, tmp_path / "out" / "images" / "train" / PAGE
    image.unlink()
    image.symlink_to(inside)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(image))}: is inside .*/out, which"):
        convert(source, tmp_path / "out", options(), force=True)
    assert inside.is_file()


@pytest.mark.parametrize("parent", [".", ".."])
def test_the_source_or_its_parent_is_no_target(parent: str, tmp_path: Path) -> None:
    source = write(tmp_path / "in", content(NOTE)).parent
    target = source / parent
    (target / "manifest.json").write_text('{"versions": {"omr-toolkit": "1"}}')
    with pytest.raises(ConfigError, match="which would be replaced; choose another output folder"):
        convert(source, target, options(), force=True)
    assert (source / "deepscores_train.json").is_file()


def test_annotations_that_change_during_the_conversion(tmp_path: Path) -> None:
    """The manifest would contain the hash of a file that was not read."""
    source = write(tmp_path / "in", content(NOTE))

    def edit(pages: Iterable[Any], total: int) -> Iterable[Any]:
        for page in pages:
            source.write_text(source.read_text() + "\n")
            yield page

    message = f"^{re.escape(str(source))}: changed while it was converted; convert it again$"
    with pytest.raises(InputError, match=message):
        convert(source, tmp_path / "out", options(), track=edit)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.json", "data.yaml"])
def test_annotations_that_change_while_they_are_opened(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coco_json.draw(tmp_path / "images" / "x.png")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [noteheadBlack]\n")
    source = tmp_path / name
    if name == "a.json":
        coco_json.write(source)

    def open_and_edit(*arguments: Any) -> Any:  # noqa: ANN401
        opened = open_source(*arguments)
        source.write_text(source.read_text() + "\n")
        return opened

    monkeypatch.setattr(opened_sources, "open_source", open_and_edit)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "x.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    mini = tmp_path / "mini.yaml"
    mini.write_text(
        "name: mini\nclasses: [noteheadBlack]\n"
        "sources: {coco: {map: same names}, yolo: {map: same names}}\n"
    )
    with pytest.raises(InputError, match=f"^{re.escape(str(source))}: changed while it was"):
        convert(source, tmp_path / "out", options(str(mini)))


@pytest.mark.parametrize("tiles", [None, TileOptions(size=64, overlap=12)])
def test_an_image_that_is_replaced_during_the_conversion(
    tiles: TileOptions | None, tmp_path: Path
) -> None:
    source = coco_json.write(tmp_path / "a.json")
    image = coco_json.draw(tmp_path / "images" / "x.png")

    def redraw(pages: Iterable[Any], total: int) -> Iterable[Any]:
        images.write(np.full((40, 50), 255, np.uint8), image)
        return pages

    message = f"{image}: is 50 x 40 px, but its labels are for 100 x 80 px; it may have changed during the conversion"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        convert(
            source,
            tmp_path / "out",
            options("coco", preparation=PreparationOptions(tiles=tiles)),
            track=redraw,
        )


def test_a_class_map_that_is_deleted_during_the_conversion(tmp_path: Path) -> None:
    source, own = write(tmp_path / "in", content(NOTE)), tmp_path / "own.yaml"
    shutil.copy(class_maps.load("harmony").path, own)
    digest = hashlib.sha256(own.read_bytes()).hexdigest()

    def delete(pages: Iterable[Any], total: int) -> Iterable[Any]:
        own.unlink()
        return pages

    loaded = options(str(own))
    own.write_text("edited after it was read")
    convert(source, tmp_path / "out", loaded, track=delete)
    assert read_manifest(tmp_path / "out").class_map.sha256 == digest


@pytest.mark.parametrize("name", ["images/b.png", "b.png"])
def test_file_names_may_include_the_image_folder(name: str, tmp_path: Path) -> None:
    data = content(NOTE)
    data["images"][0]["filename"] = "b.png"
    path = write(tmp_path / "in", data)
    path.write_text(path.read_text().replace('"b.png"', f'"{name}"'))
    convert(path, tmp_path / "out", options())
    [page] = open_dataset(tmp_path / "out").pages("train")
    assert (page.image.name, len(page.labels)) == ("b.png", 1)


@pytest.mark.parametrize("tiles", [None, TILES])
def test_names_with_folders(tiles: TileOptions | None, tmp_path: Path) -> None:
    data = content(NOTE)
    (tmp_path / "in" / "images" / "a" / "b").mkdir(parents=True)
    data["images"][0]["filename"] = "a/b/c d é.png"
    path = write(tmp_path / "in", data)
    convert(path, tmp_path / "out", options(preparation=PreparationOptions(tiles=tiles)))
    [page] = open_dataset(tmp_path / "out").pages("train")
    assert page.image.parent.as_posix() == "a/b"
    assert page.boxes_xyxy.round(3).tolist() == [[10, 20, 30, 36]]


@pytest.mark.parametrize("name", ["page", "page.ppm"])
def test_images_with_other_suffixes_become_png(name: str, tmp_path: Path) -> None:
    data = content(NOTE)
    path = write(tmp_path / "in", data)
    image = path.parent / "images" / PAGE
    image.rename(image.with_name(name))
    path.write_text(path.read_text().replace(PAGE, name))
    convert(path, tmp_path / "out", options())
    [page] = open_dataset(tmp_path / "out").pages("train")
    assert (page.image.name, len(page.labels)) == ("page.png", 1)


def test_tiles_map_back_to_the_original_image_name(tmp_path: Path) -> None:
    path = write(tmp_path / "in", content(NOTE))
    image = path.parent / "images" / PAGE
    image.rename(image.with_name("page.ppm"))
    path.write_text(path.read_text().replace(PAGE, "page.ppm"))
    convert(path, tmp_path / "out", tiled())
    assert list(read_manifest(tmp_path / "out").tiles["train"]) == ["page.ppm"]


def test_a_test_set_alone_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path / "in", content(NOTE), "deepscores_test.json")
    summary = convert(tmp_path / "in", tmp_path / "out", options())
    assert summary["warnings"] == [
        "no page is held out: data.yaml trains and validates on the test pages; convert training "
        "pages as well"
    ]


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (["lg-1-aug-a--page-1.png", "lg-2-aug-a--page-1.png"], "use --val 0.1 to hold out works"),
        (["lg-1-aug-a--page-1.png", "lg-1-aug-a--page-2.png"], "convert pages of other works as well"),
        (["a.png"], "convert pages of other works as well"),
        (["a.png", "b.png"], "use --val 0.1 --split-by page to hold out pages, if each is of another work"),
    ],
)  # fmt: skip
def test_the_advice_to_hold_out_pages_works(names: list[str], advice: str, tmp_path: Path) -> None:
    path = write(tmp_path / "in", several_pages(names, NOTE))
    [warning] = convert(path, tmp_path / "out", options())["warnings"]
    assert warning == (
        f"no page is held out: data.yaml trains and validates on the train pages; {advice}"
    )
    if advice.startswith("use "):
        by: Any = "page" if "page to" in advice else "work"
        summary = convert(path, tmp_path / "held", options(val=0.1, split_by=by))
        assert summary["splits"]["val"]["pages"] == 1


def test_coco_output_can_be_converted(pages: Path, tmp_path: Path) -> None:
    first = convert(pages, tmp_path / "one", options("deepscores", formats=("coco",)))
    (tmp_path / "map.yaml").write_text(
        "name: back\nclasses: [stem, beam]\nsources: {coco: {map: same names}}\n"
    )
    second = convert(
        tmp_path / "one" / "annotations" / "instances_train.json",
        tmp_path / "two",
        options(str(tmp_path / "map.yaml")),
    )
    counts = {row["name"]: row["written"] for row in first["classes"]}
    assert min(counts["stem"], counts["beam"]) > 0
    assert {row["name"]: row["written"] for row in second["classes"]} == {
        "stem": counts["stem"],
        "beam": counts["beam"],
    }


def test_labels_only_needs_no_images(pages: Path, tmp_path: Path) -> None:
    (tmp_path / "deepscores_train.json").write_bytes((pages / "deepscores_train.json").read_bytes())
    convert(tmp_path, tmp_path / "bare", options(labels_only=True))
    convert(pages, tmp_path / "full", options())
    assert digests(tmp_path / "bare" / "labels") == digests(tmp_path / "full" / "labels")
    assert not (tmp_path / "bare" / "images").exists()


def test_boxes_beyond_the_page_are_errors_or_clipped(tmp_path: Path) -> None:
    path = write(tmp_path / "in", content(("25", [190, 10, 210, 20]), NOTE))
    with pytest.raises(InputError) as raised:
        convert(path, tmp_path / "out", options())
    assert str(raised.value) == (
        f"{path}: annotations.a_bbox: extends beyond the page by up to 10 px: 1 annotation (1); "
        "use --clip to clip boxes to the page"
    )
    clip = PreparationOptions(cleaning=CleaningOptions(clip=True))
    summary = convert(path, tmp_path / "out", options(preparation=clip))
    assert summary["changed"] == {"clipped to the page": {"noteheadBlack": 1}}


def test_an_image_is_checked_before_anything_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "in", content(NOTE))
    image = tmp_path / "in" / "images" / "lg-7-aug-gonville--page-1.png"
    image.write_bytes(image.read_bytes()[:-20])
    with pytest.raises(InputError) as raised:
        convert(path, tmp_path / "out", options())
    assert str(raised.value) == f"{image}: is damaged or truncated: Truncated File Read"
    image.unlink()
    with pytest.raises(InputError) as raised:
        convert(path, tmp_path / "out", options())
    assert str(raised.value) == (
        f"{image}: no such image; name the folder of the images with --image-folder, or use "
        "--labels-only to convert without images"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_an_error_in_a_worker_is_a_one_line_error(tmp_path: Path) -> None:
    bad = engraved_pages(tmp_path / "in", pages=6)
    [image] = bad.glob("images/lg-6-*.png")
    image.write_bytes(image.read_bytes()[:-20])
    with pytest.raises(InputError, match=f"^{re.escape(str(image))}: is damaged or truncated"):
        convert(bad, tmp_path / "out", tiled(), workers=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """Limit the size of files, which fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("form", ["yolo", "coco", "parquet"])
def test_a_full_disk(form: str, pages: Path, tmp_path: Path) -> None:
    with files_of_at_most(2000), pytest.raises(OmrError, match="; nothing was written to "):
        convert(pages, tmp_path / "out", options(formats=(form,), labels_only=form != "yolo"))
    assert list(tmp_path.iterdir()) == []


@given(
    symbols=st.lists(
        st.tuples(
            st.sampled_from(["2", "25", "42", "135"]),
            st.tuples(
                st.integers(0, 190), st.integers(0, 90), st.integers(0, 9), st.integers(0, 9)
            ),
        ),
        max_size=30,
    )
)
def test_all_symbols_and_labels_are_counted(
    symbols: list[tuple[str, tuple[int, int, int, int]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("sum")
    boxes = [(c, [x, y, x + w, y + h]) for c, (x, y, w, h) in symbols]
    path = write(folder / "in", content(*boxes, STEM))
    small = PreparationOptions(tiles=TileOptions(size=64, overlap=0, min_visible=0.9))
    summary = convert(path, folder / "out", options(preparation=small, labels_only=True))
    counts = summary["symbols"]
    assert counts["read"] == counts["written"] + sum(summary["dropped_by_reason"].values())
    assert counts["read"] == len(boxes) + 1
    lines = [
        line
        for label in (folder / "out" / "labels").rglob("*.txt")
        for line in label.read_text().splitlines()
    ]
    assert counts["labels"] == len(lines)


def test_invalid_options() -> None:
    with pytest.raises(
        ConfigError, match=r"^--format: unknown format: yollo \(did you mean yolo\?\)"
    ):
        options(formats=("yollo",))
    with pytest.raises(
        ConfigError, match=r"^--val 1: expected a fraction of at least 0 and below 1$"
    ):
        options(val=1.0)


def test_the_sample(tmp_path: Path) -> None:
    folder = sample() / "deepscores_sample"
    summary = convert(folder, tmp_path / "out", options())
    assert summary["symbols"] == {
        "read": 547,
        "written": 468,
        "dropped": 79,
        "labels": 468,
        "cut": 0,
    }
    assert summary["dropped_by_reason"] == {"not in class map": 79}
    name = "lg-5230237-aug-emmentaler--page-2"
    lines = (tmp_path / "out" / "labels" / "train" / f"{name}.txt").read_text().splitlines()
    assert len(lines) == 468
    # annotation 41408, the first staff, computed by hand: (128.9027381 + 2578.09496095) / 2 / 2707, ...
    assert lines[0] == "40 0.500000 0.066724 0.904763 0.024449"
    pixels = cv2.imread(str(tmp_path / "out" / "images" / "train" / f"{name}.png"))
    assert pixels is not None
    assert pixels.shape == (3828, 2707, 3)
