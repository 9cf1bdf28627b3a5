"""Exports of labelling tools, in folders as these tools write them.

The layouts are those of datumaro 1.13 for CVAT, and of label-studio-sdk 2.1 for Label Studio.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import class_maps
from class_maps import ConfigError, InputError
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.formats.sources import format_of

FORMATS = ("coco", "yolo", "voc")
MAP = "name: m\nclasses: [note, stem]\nsources:\n" + "".join(
    f"  {name}: {{map: same names}}\n" for name in FORMATS
)
LABELS = "0 0.250000 0.250000 0.250000 0.166667\n1 0.087500 0.668750 0.037500 0.337500\n"
BOXES: list[list[float]] = [[0, 10, 10, 30, 20], [1, 5.5, 30, 8.5, 50.25]]
OBJ_DATA = "classes = 2\n{splits}names = data/obj.names\nbackup = backup/\n"
UPLOADED = "1a2b3c4d-page_one.png"


def build(folder: Path, files: dict[str, str | None]) -> Path:
    """Write text files, and draw the files without text."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            images.write(np.full((60, 80), 255, np.uint8), folder / name)
        else:
            (folder / name).write_text(text)
    return folder


def converted(source: Path, folder: Path, image_folder: Path | None = None) -> dict[str, Any]:
    """Convert an export, and return the symbols of each page by its split and name."""
    (folder / "m.yaml").write_text(MAP)
    options = ConversionOptions(class_map=class_maps.load(str(folder / "m.yaml")))
    convert(source, folder / "out", options, images=image_folder)
    dataset = open_dataset(folder / "out")
    return {
        f"{split}/{page.image.name}": [
            [label, *[round(side, 2) for side in box]]
            for label, box in zip(page.labels.tolist(), page.boxes_xyxy.tolist(), strict=True)
        ]
        for split in dataset.own_splits()
        for page in dataset.pages(split)
    }


CVAT_YOLO = {
    "obj.names": "note\nstem\n",
    "obj.data": OBJ_DATA.format(splits="valid = data/valid.txt\ntrain = data/train.txt\n"),
    "train.txt": "data/obj_train_data/page one.png\ndata/obj_train_data/sub/b.png\n",
    "valid.txt": "data/obj_valid_data/c.png\n",
    "obj_train_data/page one.png": None,
    "obj_train_data/page one.txt": LABELS,
    "obj_train_data/sub/b.png": None,
    "obj_train_data/sub/b.txt": "",
    "obj_valid_data/c.png": None,
    "obj_valid_data/c.txt": LABELS,
}
CVAT_SUBSETS = {
    "obj.names": "note\nstem\n",
    "obj.data": OBJ_DATA.format(
        splits="Train = data/Train.txt\nValidation = data/Validation.txt\n"
    ),
    "Train.txt": "data/obj_Train_data/page one.png\ndata/obj_Train_data/b.png\n",
    "Validation.txt": "data/obj_Validation_data/c.png\n",
    "obj_Train_data/page one.png": None,
    "obj_Train_data/page one.txt": LABELS,
    "obj_Train_data/b.png": None,
    "obj_Validation_data/c.png": None,
    "obj_Validation_data/c.txt": LABELS,
}
CVAT_ULTRALYTICS = {
    "data.yaml": "path: .\ntrain: train.txt\nval: val.txt\nnames:\n  0: note\n  1: stem\n",
    "train.txt": "data/images/train/page one.png\ndata/images/train/b.png\n",
    "val.txt": "./images/val/c.png\n",
    "images/train/page one.png": None,
    "images/train/b.png": None,
    "images/val/c.png": None,
    "labels/train/page one.txt": LABELS,
    "labels/train/b.txt": "",
    "labels/val/c.txt": LABELS,
}
LABEL_STUDIO_YOLO = {
    "classes.txt": "note\nstem\n",
    "notes.json": '{"categories": [{"id": 0, "name": "note"}], "info": {"version": "1.0"}}',
    "images/1a2b3c4d-page_one.png": None,
    "images/9f8e7d6c-b.png": None,
    "labels/1a2b3c4d-page_one.txt": LABELS,
    "labels/9f8e7d6c-b.txt": "",
}


@pytest.mark.parametrize("files", [CVAT_YOLO, CVAT_SUBSETS, CVAT_ULTRALYTICS])
def test_yolo_of_cvat(files: dict[str, str | None], tmp_path: Path) -> None:
    source = build(tmp_path / "in", files)
    assert format_of(source).name == "yolo"
    assert converted(source, tmp_path) == {
        "train/page one.png": BOXES,
        "train/b.png": [],
        "val/c.png": BOXES,
    }


def test_the_file_of_an_export_is_not_a_source(tmp_path: Path) -> None:
    source = build(tmp_path / "in", CVAT_YOLO) / "obj.data"
    with pytest.raises(InputError, match=r"or a YOLO folder with a data\.yaml"):
        converted(source, tmp_path)


def test_yolo_of_label_studio(tmp_path: Path) -> None:
    source = build(tmp_path / "in", LABEL_STUDIO_YOLO)
    assert format_of(source).name == "yolo"
    assert converted(source, tmp_path) == {"train/1a2b3c4d-page_one.png": BOXES, "train/9f8e7d6c-b.png": []}  # fmt: skip


@pytest.mark.parametrize(
    ("files", "changes", "message"),
    [
        (CVAT_YOLO, {"obj_train_data/page one.png": ""}, "train.txt: line 1: no such image: 'data/obj_train_data/page one.png'; export the data set together with its images"),
        (CVAT_YOLO, {"obj.names": ""}, "obj.names: missing class name"),
        (CVAT_YOLO, {"obj.names": "note\n\nstem"}, "obj.names: line 2: missing class name"),
        (CVAT_YOLO, {"obj.data": "classes 2"}, "obj.data: line 1: expected key = value, got: 'classes 2'"),
        (CVAT_YOLO, {"obj.data": "train = a.txt"}, "obj.data: train: no such file: 'a.txt'"),
        (CVAT_YOLO, {"obj.data": "classes = 2"}, "obj.data: names no images; expected train = data/train.txt"),
        (CVAT_YOLO, {"obj_train_data/page one.txt": "2 0.5 0.5 0.1 0.1"}, "obj_train_data/page one.txt: line 1: label 2 has no name; there are 2 names"),
        (CVAT_YOLO, {"obj.names": "x" * 1_048_577}, "obj.names: is too large for a list of classes: 1,048,577 bytes"),
        (LABEL_STUDIO_YOLO, {"images": ""}, "classes.txt: no folder images next to it; export the data set together with its images"),
    ],
)  # fmt: skip
def test_incomplete_exports(
    files: dict[str, str | None], changes: dict[str, str], message: str, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    kept = {k: v for k, v in files.items() if not any(k.startswith(c) and not t for c, t in changes.items())}  # fmt: skip
    build(source, kept | {k: t for k, t in changes.items() if t or k.endswith(".names")})
    with pytest.raises(InputError) as raised:
        converted(source, tmp_path)
    assert str(raised.value) == f"{source}/{message}"


def test_a_folder_of_images_is_not_for_yolo(tmp_path: Path) -> None:
    source = build(tmp_path / "in", LABEL_STUDIO_YOLO)
    with pytest.raises(ConfigError, match=r"or export the data set together with its images$"):
        converted(source, tmp_path, tmp_path)


def label_studio_coco() -> str:
    """Return a file in which images without annotations have no size."""
    pages = [
        {"id": 0, "width": 80, "height": 60, "file_name": f"/data/upload/1/{UPLOADED}"},
        {"id": 1, "width": None, "height": None, "file_name": "/data/upload/1/9f8e7d6c-b.png"},
    ]
    boxes = [[10.0, 9.999999999999998, 20.0, 10.0], [5.5, 30.0, 3.0, 20.25]]
    rows = [
        {"id": i, "image_id": 0, "category_id": i, "segmentation": [], "bbox": box, "ignore": 0, "iscrowd": 0, "area": 9}
        for i, box in enumerate(boxes)
    ]  # fmt: skip
    categories = [{"id": 0, "name": "note"}, {"id": 1, "name": "stem"}]
    return json.dumps({"images": pages, "categories": categories, "annotations": rows, "info": {}})


@pytest.mark.parametrize("prefix", ["", "1a2b3c4d-"])
def test_coco_of_label_studio(prefix: str, tmp_path: Path) -> None:
    """The original images have no prefix; those in Label Studio's folder have one."""
    other = "9f8e7d6c-" if prefix else ""
    build(tmp_path, {f"pages/{prefix}page_one.png": None, f"pages/{other}b.png": None})
    source = build(tmp_path / "in", {"result.json": label_studio_coco()})
    assert converted(source, tmp_path, tmp_path / "pages") == {
        f"train/{prefix}page_one.png": BOXES,
        f"train/{other}b.png": [],
    }


def test_two_uploads_of_the_same_image_are_not_confused(tmp_path: Path) -> None:
    """A prefix is only removed if it leaves a name of its own."""
    text = label_studio_coco().replace("9f8e7d6c-b", "9f8e7d6c-page_one")
    source = build(tmp_path, {"in/result.json": text, "pages/page_one.png": None}) / "in"
    with pytest.raises(InputError, match=r"9f8e7d6c-page_one\.png"):
        converted(source, tmp_path, tmp_path / "pages")


def voc(filename: str, database: str) -> str:
    sides = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        f"<object><name>{('note', 'stem')[int(label)]}</name><bndbox>"
        + "".join(f"<{side}>{value}</{side}>" for side, value in zip(sides, box, strict=True))
        + "</bndbox></object>"
        for label, *box in BOXES
    )
    return (
        f"<annotation><folder>out/images</folder><filename>{filename}</filename><source>"
        f"<database>{database}</database><annotation>COCO2017</annotation></source><size>"
        f"<width>80</width><height>60</height><depth>3</depth></size>{objects}</annotation>"
    )


@pytest.mark.parametrize("name", [UPLOADED, "page_one.png"])
def test_voc_of_label_studio(name: str, tmp_path: Path) -> None:
    text = voc(UPLOADED, "MyDatabase")
    source = build(tmp_path / "in", {"Annotations/1a2b3c4d-page_one.xml": text, f"images/{name}": None})  # fmt: skip
    assert converted(source, tmp_path) == {f"train/{name}": BOXES}


def test_voc_of_cvat(tmp_path: Path) -> None:
    files = {
        "labelmap.txt": "# label:color_rgb:parts:actions\nnote:::\nstem:::\n",
        "ImageSets/Main/train.txt": "page one\n",
        "ImageSets/Main/val.txt": "sub/c\n",
        "Annotations/page one.xml": voc("page one.png", "Unknown"),
        "Annotations/sub/c.xml": voc("sub/c.png", "Unknown"),
        "JPEGImages/page one.png": None,
        "JPEGImages/sub/c.png": None,
    }
    expected = {"train/page one.png": BOXES, "val/c.png": BOXES}
    assert converted(build(tmp_path / "in", files), tmp_path) == expected
