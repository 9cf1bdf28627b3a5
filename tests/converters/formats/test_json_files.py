"""Annotation files of a folder: those that are read, and those that are reported as skipped."""

from pathlib import Path

import coco_json
import pytest

from converters.formats.json_files import annotation_files


@pytest.mark.parametrize(
    ("read", "skipped"),
    [
        ("train/_annotations.coco.json", "validation_2/_annotations.coco.json"),
        ("train/_annotations.coco.json", "holdout/_annotations.coco.json"),
        ("train/instances_train.json", "valid/_annotations.coco.json"),
        ("annotations/instances_train.json", "valid/_annotations.coco.json"),
        ("deepscores_train.json", "val.json"),
    ],
)
def test_annotations_beside_those_that_are_read_are_reported(
    read: str, skipped: str, tmp_path: Path
) -> None:
    coco_json.write(tmp_path / read)
    coco_json.write(tmp_path / skipped)
    [file] = annotation_files(tmp_path)
    assert file.path == tmp_path / read
    assert f"{tmp_path}: skipped 1 file ({skipped})" in file.warnings


def test_yolo_labels_beside_json_are_reported(tmp_path: Path) -> None:
    coco_json.write(tmp_path / "train.json")
    (tmp_path / "data.yaml").write_text("train: images/train\n")
    [file] = annotation_files(tmp_path)
    assert file.warnings == (f"{tmp_path}: skipped 1 file (data.yaml)",)


def test_hidden_folders_and_other_files_are_not_reported(tmp_path: Path) -> None:
    coco_json.write(tmp_path / "train.json")
    coco_json.write(tmp_path / ".cache" / "val.json")
    coco_json.write(tmp_path / "manifest.json")
    [file] = annotation_files(tmp_path)
    assert file.warnings == ()
