"""Annotation files of a folder, and the folders of their images."""

from pathlib import Path, PurePosixPath

import coco_json
import pytest

from converters.formats.json_files import annotation_files, find_images


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


@pytest.mark.parametrize(
    ("file", "general", "specific"),
    [
        ("val.json", "images", "val"),
        ("instances_train.json", "images", "images/train"),
        ("annotations/instances_val2017.json", "images", "images/val2017"),
        ("test_annotations.json", "images", "test"),
        ("valid/_annotations.coco.json", "images", "valid"),
    ],
)
def test_images_of_one_name_are_those_of_the_split(
    file: str, general: str, specific: str, tmp_path: Path
) -> None:
    images = {1: (PurePosixPath("x.png"), coco_json.WIDTH, coco_json.HEIGHT)}
    coco_json.draw(tmp_path / general / "x.png")
    located = find_images(tmp_path / file, images)
    assert (located.folder, located.warnings) == (tmp_path / general, [])
    coco_json.draw(tmp_path / specific / "x.png")
    located = find_images(tmp_path / file, images)
    assert located.folder == tmp_path / specific
    assert located.warnings == [
        f"{Path(file).name}: {tmp_path / specific} and {tmp_path / general} contain images of the "
        "same names; read the first folder, use --image-folder for the other one"
    ]


def test_a_linked_folder_of_images_is_not_another_one(tmp_path: Path) -> None:
    images = {1: (PurePosixPath("x.png"), coco_json.WIDTH, coco_json.HEIGHT)}
    coco_json.draw(tmp_path / "images" / "x.png")
    (tmp_path / "train").symlink_to(tmp_path / "images")
    assert find_images(tmp_path / "train.json", images).warnings == []
