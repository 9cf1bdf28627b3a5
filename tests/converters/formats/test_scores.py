"""Scores of predictions in every format; outputs of pages without scores do not change."""

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl
import pytest

from converters import images
from converters.formats import WRITERS
from converters.formats.coco import CocoFile, CocoFileWriter
from converters.formats.yolo import label_lines
from converters.formats.yolo_labels import parse
from converters.page import Page

NAMES = ("note", "stem")
PAGE = Page(
    image=PurePosixPath("a b.png"),
    width=20,
    height=10,
    boxes_xyxy=np.array([[1.5, 2, 5, 6], [7, 1, 8, 9]]),
    labels=np.array([0, 1]),
)
SCORED = replace(PAGE, scores=np.array([0.87654321, 1.0]))
EMPTY = replace(PAGE.only(slice(0)), image=PurePosixPath("c.png"), scores=np.empty(0))


def predictions(folder: Path, *pages: Page) -> Path:
    writer = CocoFileWriter(folder / "predictions.json", NAMES)
    for page in pages:
        writer.add(page)
    writer.close()
    return folder / "predictions.json"


def test_coco(tmp_path: Path) -> None:
    path = predictions(tmp_path, EMPTY, SCORED)
    data = json.loads(path.read_text())
    assert (data["info"], data["licenses"]) == ({}, [])  # required by CVAT
    assert [image["file_name"] for image in data["images"]] == ["c.png", "a b.png"]
    assert data["annotations"] == [
        {"segmentation": [], "id": 1, "image_id": 2, "category_id": 1, "bbox": [1.5, 2.0, 3.5, 4.0], "area": 14.0, "iscrowd": 0, "score": 0.876543},
        {"segmentation": [], "id": 2, "image_id": 2, "category_id": 2, "bbox": [7.0, 1.0, 1.0, 8.0], "area": 8.0, "iscrowd": 0, "score": 1.0},
    ]  # fmt: skip
    assert list(CocoFile(path).images) == [EMPTY.image, SCORED.image]


def test_coco_without_symbols(tmp_path: Path) -> None:
    data = json.loads(predictions(tmp_path, EMPTY).read_text())
    assert (data["annotations"], len(data["images"]), len(data["categories"])) == ([], 1, 2)


def test_parquet(tmp_path: Path) -> None:
    for folder, pages in (("scored", [SCORED, EMPTY]), ("plain", [PAGE])):
        writer = WRITERS["parquet"](tmp_path / folder, NAMES)
        for page in pages:
            writer.add("train", page)
        writer.close()
    path = Path("parquet", "symbols_train", "part-00000.parquet")
    scored, plain = (pl.read_parquet(tmp_path / name / path) for name in ("scored", "plain"))
    assert scored["score"].to_list() == [0.87654321, 1.0]
    assert scored.columns == [*plain.columns, "score"]


def test_yolo_labels_have_no_scores() -> None:
    """A sixth number is an error in label files, so that predictions can be used as labels."""
    assert label_lines(SCORED) == label_lines(PAGE)
    rows = parse(label_lines(SCORED).encode(), Path("a.txt"), len(NAMES)).rows
    np.testing.assert_allclose(rows[0], [0, 0.1625, 0.4, 0.175, 0.4])


@pytest.mark.slow  # imports torch
@pytest.mark.parametrize(("column", "n_read"), [("", 2), (" 0.93", None)])
def test_ultralytics_rejects_a_sixth_number(
    column: str, n_read: int | None, tmp_path: Path
) -> None:
    pytest.importorskip("training")
    from ultralytics.data.utils import verify_image_label

    images.write(np.full((10, 20), 255, np.uint8), tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(label_lines(SCORED).replace("\n", f"{column}\n"))
    files = str(tmp_path / "a.png"), str(tmp_path / "a.txt")
    _, rows, *_ = verify_image_label((*files, "", False, len(NAMES), 0, 0, False))
    assert n_read == (None if rows is None else len(rows))
