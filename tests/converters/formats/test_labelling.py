"""Predictions, corrected in a labelling tool and exported, are converted with all symbols."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

import class_maps
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.formats.coco import CocoFileWriter
from converters.formats.datasets import open_dataset
from converters.formats.labelme import LabelmeWriter
from converters.page import Page

NAMES = ("note", "stem")
MAP = "name: m\nclasses: [note, stem]\nsources:\n  coco: {map: same names}\n  labelme: {map: same names}\n"
PAGE_NAMES = ("a b.png", "sub/é.png", "sub/empty.png")


def predicted() -> list[Page]:
    boxes = np.array([[1.5, 2, 5, 6], [7, 1, 8, 9], [2, 3, 10, 8]])
    return [
        Page(
            image=PurePosixPath(name),
            width=20,
            height=10,
            boxes_xyxy=boxes[:n],
            labels=np.array([0, 1, 1])[:n],
            scores=np.array([0.9, 0.8, 0.7])[:n],
        )
        for name, n in zip(PAGE_NAMES, (3, 2, 0), strict=True)
    ]


def draw(folder: Path, names: Sequence[str] = PAGE_NAMES) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        images.write(np.full((10, 20), 255, np.uint8), folder / name)
    return folder


def predictions(folder: Path) -> Path:
    folder.mkdir()
    writer = CocoFileWriter(folder / "predictions.json", NAMES)
    for page in predicted():
        writer.add(page)
    writer.close()
    return folder / "predictions.json"


def converted(source: Path, folder: Path, images: Path | None = None) -> dict[str, Any]:
    """Convert a data set to ``out``, with the names as classes."""
    (folder / "m.yaml").write_text(MAP)
    options = ConversionOptions(class_map=class_maps.load(str(folder / "m.yaml")))
    return convert(source, folder / "out", options, images=images)


def boxes(folder: Path, name: str) -> list[list[float]]:
    """Return label and box of each symbol of a converted page, in pixels."""
    pages = {str(page.image): page for page in open_dataset(folder / "out").pages("train")}
    page = pages[name]
    rows = np.column_stack((page.labels, page.boxes_xyxy)).round(4)
    return sorted(rows.tolist())


EXPECTED = [[0, 1.5, 2, 5, 6], [1, 2, 3, 10, 8], [1, 7, 1, 8, 9]]


def test_predictions_as_they_are(tmp_path: Path) -> None:
    path = predictions(tmp_path / "predicted")
    summary = converted(path, tmp_path, images=draw(tmp_path / "pages"))
    assert summary["symbols"] == {"read": 5, "written": 5, "dropped": 0, "labels": 5, "cut": 0}
    assert boxes(tmp_path, "a b.png") == EXPECTED
    assert boxes(tmp_path, "sub/empty.png") == []


@pytest.mark.parametrize("subset", ["", "default"])
def test_an_export_of_cvat(subset: str, tmp_path: Path) -> None:
    """A rectangle was turned, one was redrawn as a polygon, and the scores are gone."""
    data = json.loads(predictions(tmp_path / "predicted").read_text())
    for row in data["annotations"]:
        del row["score"]
        row["attributes"] = {"occluded": False, "rotation": 0.0}
    turned, polygon = data["annotations"][0], data["annotations"][1]
    turned["attributes"]["rotation"] = 90.0
    polygon["segmentation"] = [[7.0, 1.0, 8.0, 1.0, 8.0, 9.5]]
    polygon["bbox"] = [7.0, 1.0, 1.0, 8.5]
    draw(tmp_path / "export" / "images" / subset)
    (tmp_path / "export" / "annotations").mkdir()
    (tmp_path / "export" / "annotations" / "instances_default.json").write_text(json.dumps(data))
    summary = converted(tmp_path / "export", tmp_path)
    assert summary["symbols"]["written"] == 5
    rows = [[0, 1.25, 2.25, 5.25, 5.75], [1, 2, 3, 10, 8], [1, 7, 1, 8, 9.5]]
    assert boxes(tmp_path, "a b.png") == rows


@pytest.mark.parametrize("is_uploaded", [True, False])
def test_an_export_of_label_studio(is_uploaded: bool, tmp_path: Path) -> None:
    """Ids start at 0. Uploaded images get a prefix and lose their subfolder; others, a path."""
    data = json.loads(predictions(tmp_path / "predicted").read_text())
    uploaded = ["images/1a2b3c4d-a_b.png", "images/5e6f7a8b-é.png", "images/9c0d1e2f-empty.png"]
    names = uploaded if is_uploaded else [f"../../home/me/pages/{name}" for name in PAGE_NAMES]
    export: dict[str, Any] = {
        "images": [
            {"width": 20, "height": 10, "id": i, "file_name": name} for i, name in enumerate(names)
        ],
        "categories": [{"id": 0, "name": "note"}, {"id": 1, "name": "stem"}],
        "annotations": [
            {
                "id": i,
                "image_id": row["image_id"] - 1,
                "category_id": row["category_id"] - 1,
                "segmentation": [],
                "bbox": row["bbox"],
                "ignore": 0,
                "iscrowd": 0,
                "area": row["area"],
            }
            for i, row in enumerate(data["annotations"])
        ],
        "info": {"year": 2026, "version": "1.0", "contributor": "Label Studio"},
    }
    del export["annotations"][2]["bbox"]  # a polygon
    export["annotations"][2]["segmentation"] = [[2, 3, 10, 3, 10, 8, 2, 8]]
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(export))
    pages = draw(folder, uploaded) if is_uploaded else draw(tmp_path / "pages")
    summary = converted(folder, tmp_path, None if is_uploaded else pages)
    assert summary["symbols"]["written"] == 5
    assert boxes(tmp_path, "1a2b3c4d-a_b.png" if is_uploaded else "a b.png") == EXPECTED


def test_files_of_labelme(tmp_path: Path) -> None:
    """labelme adds fields, and changes points to lists of any two opposite corners."""
    folder = draw(tmp_path / "pages")
    paths = {PurePosixPath(name): folder / name for name in PAGE_NAMES}
    writer = LabelmeWriter(tmp_path / "predicted", NAMES, paths)
    for page in predicted():
        writer.add("", page)
    path = tmp_path / "predicted" / "labelme" / "a b.json"
    data = json.loads(path.read_text())
    data |= {"version": "6.3.1", "imageData": "aGVsbG8="}
    for shape in data["shapes"]:
        shape["mask"] = None
    data["shapes"][0]["points"].reverse()
    path.write_text(json.dumps(data, indent=2))
    summary = converted(tmp_path / "predicted" / "labelme", tmp_path)
    assert summary["symbols"]["written"] == 5
    assert boxes(tmp_path, "a b.png") == EXPECTED
