"""A YOLO folder as a source of conversions."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deepscores import NOTE, content, write

import class_maps
from class_maps import InputError
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.formats.sources import identity_map, open_source
from converters.prepare.cleaning import CleaningOptions
from converters.prepare.preparation import PreparationOptions
from converters.tally import Tally

STEM = ("42", [190, 10, 200, 60])
MAP = """
name: renamed
classes: [head, stem]
sources:
  yolo:
    map: {noteheadBlack: head, stem: stem}
"""


def options(tmp_path: Path, *, clip: bool = False) -> ConversionOptions:
    (tmp_path / "map.yaml").write_text(MAP)
    preparation = PreparationOptions(cleaning=CleaningOptions(clip=clip))
    class_map = class_maps.load(str(tmp_path / "map.yaml"))
    return ConversionOptions(class_map=class_map, preparation=preparation)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A YOLO folder with two training pages, one of them empty, and a test page."""
    data = content(NOTE, STEM, ("135", [0, 20, 200, 88]))
    data["images"].append(data["images"][0] | {"id": 2, "filename": "empty.png", "ann_ids": []})
    write(tmp_path / "in", data)
    write(tmp_path / "in", content(NOTE), "deepscores_test.json")
    harmony = ConversionOptions(class_map=class_maps.load("harmony"))
    convert(tmp_path / "in", tmp_path / "yolo", harmony)
    return tmp_path / "yolo"


def test_label_files_that_change_after_they_were_read(source: Path, tmp_path: Path) -> None:
    """The manifest contains the hash of the labels that were read."""
    before = open_dataset(source).fingerprint("train")

    def edit(pages: Iterable[Any], total: int) -> Iterable[Any]:
        for page in pages:
            (source / "labels/train/empty.txt").write_text("0 0.5 0.5 0.1 0.1\n")
            yield page

    convert(source, tmp_path / "out", options(tmp_path), track=edit)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["files"][0]["sha256"] == before != open_dataset(source).fingerprint("train")


def test_splits_images_and_categories(source: Path) -> None:
    format_name, files = open_source(source)
    assert format_name == "yolo"
    assert [(file.split, len(file.images)) for file in files] == [("train", 2), ("test", 1)]
    assert set(files[0].images.values()) == {(200, 100)}
    assert files[0].image_folder == source / "images" / "train"
    class_map = identity_map(format_name, files)
    assert class_map.names == open_dataset(source).names
    pages = files[0].pages(class_map.source("yolo"), class_map.labels, Tally())
    assert [len(page.labels) for page in pages] == [0, 3]


def test_conversion(source: Path, tmp_path: Path) -> None:
    summary = convert(source / "data.yaml", tmp_path / "out", options(tmp_path))
    assert {split: row["pages"] for split, row in summary["splits"].items()} == {
        "test": 1,
        "train": 2,
    }
    assert (summary["symbols"]["read"], summary["symbols"]["written"]) == (4, 3)
    assert summary["dropped_by_reason"] == {"not in class map": 1}
    labels = tmp_path / "out" / "labels" / "train" / "lg-7-aug-gonville--page-1.txt"
    original = source / "labels" / "train" / labels.name
    rows = [line.split() for line in original.read_text().splitlines()]
    assert [line.split()[0] for line in labels.read_text().splitlines()] == ["0", "1"]
    assert [line.split()[1:] for line in labels.read_text().splitlines()] == [
        row[1:] for row in rows[:2]
    ]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [file["sha256"] for file in manifest["files"]] == [
        open_dataset(source).fingerprint(split) for split in ("train", "test")
    ]
    assert manifest["annotations"]["train"] == {
        "empty.png": 0,
        "lg-7-aug-gonville--page-1.png": 3,
    }


@pytest.mark.parametrize("is_same", [True, False])
def test_images_of_one_name_in_two_splits_are_shared_if_their_contents_are_equal(
    is_same: bool, tmp_path: Path
) -> None:
    for split, grey in (("train", 0), ("val", 0 if is_same else 1)):
        for kind in ("images", "labels"):
            (tmp_path / "in" / kind / split).mkdir(parents=True)
        image = np.full((20, 20), grey, np.uint8)
        images.write(image, tmp_path / "in" / "images" / split / "a.png")
        (tmp_path / "in" / "labels" / split / "a.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "in" / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [stem]\n"
    )
    warning = "in more than one split: 1 work (a.png); scores will be too optimistic"
    warnings = convert(tmp_path / "in", tmp_path / "out", options(tmp_path))["warnings"]
    assert warnings == ([warning] if is_same else [])


def test_splits_that_share_a_folder_are_read_once(tmp_path: Path) -> None:
    write(tmp_path / "in", content(NOTE))
    harmony = ConversionOptions(class_map=class_maps.load("harmony"))
    convert(tmp_path / "in", tmp_path / "yolo", harmony)
    _, files = open_source(tmp_path / "yolo")
    assert [file.split for file in files] == ["train"]


def test_boxes_beyond_the_image(source: Path, tmp_path: Path) -> None:
    path = source / "labels" / "test" / "lg-7-aug-gonville--page-1.txt"
    label = open_dataset(source).names.index("noteheadBlack")
    path.write_text(f"{label} 0.98 0.5 0.1 0.1\n")
    with pytest.raises(InputError) as raised:
        convert(source, tmp_path / "out", options(tmp_path))
    assert str(raised.value) == (
        f"{path}: extends beyond the image: 1 label ([186.0, 45.0, 206.0, 55.0]); use --clip to "
        "clip boxes to the image"
    )
    summary = convert(source, tmp_path / "out", options(tmp_path, clip=True))
    assert summary["changed"] == {"clipped to the page": {"head": 1}}
    path.write_text(f"{label} 0.950001 0.5 0.100000 0.1\n")  # beyond by rounding
    summary = convert(source, tmp_path / "out", options(tmp_path), force=True)
    assert summary["changed"] == {}


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "data.yaml").write_text("train: images\nnames: [a]")
    with pytest.raises(InputError, match="images: contains no images; convert without"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("files", "train"),
    [
        (["images/a.png"], "images"),
        (["images/train/a.png", "notes.json"], "images/train"),
    ],
)
def test_a_yolo_folder_without_data_yaml(files: list[str], train: str, tmp_path: Path) -> None:
    for file in (*files, "labels/a.txt"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}")
    with pytest.raises(InputError) as raised:
        open_source(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path}: no data.yaml, which names the classes of a YOLO folder; write one with the "
        f"lines `train: {train}`, `val: {train}` and `names: [A, B, ...]`, with the class names "
        "in the order of the labels"
    )


def test_a_yaml_file_of_another_name_is_named(tmp_path: Path) -> None:
    for file in ("images/a.png", "labels/a.txt", "dataset.yaml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}")
    with pytest.raises(InputError) as raised:
        open_source(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path}: no data.yaml; if dataset.yaml names the classes, convert that file instead"
    )


def test_a_label_file_that_would_take_gigabytes_of_memory(source: Path, tmp_path: Path) -> None:
    file = source / "labels/train/empty.txt"
    with file.open("wb") as out:
        out.truncate((32 << 20) + 1)
    with pytest.raises(InputError) as raised:
        convert(source, tmp_path / "out", options(tmp_path))
    assert str(raised.value) == f"{file}: is larger than 32 MB; expected the labels of an image"
