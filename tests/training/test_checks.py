"""Checks and notes before the first step of a training, and what its weights record of them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from class_maps import ConfigError, InputError
from converters.files.hashes import sha256
from omr.scoring.score import score_model
from training.checks import notes_of
from training.config import TrainConfig
from training.engine.inputs import open_inputs
from training.trainer import TrainResult, new_trainer, run_options, train

Draw = Callable[..., Path]


def config_of(data: Path, out: Path, **options: Any) -> TrainConfig:  # noqa: ANN401
    settings: dict[str, Any] = {"model": "omr-tiny", "epochs": 1, "imgsz": 64, "batch": 2}
    return TrainConfig(data=data, out=out, device="cpu", **settings | options)


def notes(config: TrainConfig) -> list[str]:
    options = run_options(config)
    inputs = open_inputs(options)
    return notes_of(config, options, inputs, inputs.image_hashes())


@pytest.fixture
def data(draw: Draw, tmp_path: Path) -> Path:
    return draw(tmp_path / "data", n_images=2)


@pytest.mark.parametrize(
    ("model", "imgsz", "expected"),
    [
        ("yolov8n-p6", 160, "64, the largest stride of yolov8n-p6; use 128 or 192"),
        ("yolov8n-p6", 32, "64, the largest stride of yolov8n-p6; use 64"),
        ("yolov8n-p6", 128, None),
        ("yolov8n", 160, None),
    ],
)
def test_the_input_is_a_multiple_of_the_largest_stride(
    model: str, imgsz: int, expected: str | None, data: Path, tmp_path: Path
) -> None:
    config = config_of(data, tmp_path / "run", model=model, imgsz=imgsz, batch=1)
    if expected is None:
        new_trainer(config)
        return
    with pytest.raises(ConfigError) as error:
        train(config)
    assert str(error.value) == f"--imgsz {imgsz}: must be a multiple of {expected}"
    assert not config.out.exists()


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ("empty", "the label files are empty; add pages with symbols"),
        ("renamed", "no label file has an image's name; {image}.png needs {labels}/{image}.txt"),
        ("missing", "no label files; labels/ must be next to images/; convert the data set again"),
    ],
)
def test_validation_needs_a_symbol(state: str, problem: str, data: Path, tmp_path: Path) -> None:
    labels = data / "labels" / "val"
    files = sorted(labels.iterdir())
    for file in files:
        if state == "empty":
            file.write_text("")
        elif state == "renamed":
            file.rename(file.with_stem(f"{file.stem}-labels"))
        else:
            file.unlink()
    problem = problem.format(image=files[0].stem, labels=labels)
    config = config_of(data, tmp_path / "run")
    with pytest.raises(InputError) as error:
        train(config)
    assert str(error.value) == (
        f"{data}/images/val: no symbols in any of 2 images: {problem}, or give --no-validate"
    )
    new_trainer(config_of(data, tmp_path / "run", validate=False))


def test_statistics_of_single_images_are_noted(data: Path, tmp_path: Path) -> None:
    config = config_of(data, tmp_path / "run", batch=1)
    assert notes(config) == [
        "batch 1: BatchNorm takes its statistics from single images, as in Ultralytics, and metrics "
        "may drop; use a larger --batch"
    ]
    assert notes(replace(config, device="0,1", batch=2))[0].startswith("batch 2: BatchNorm")
    assert notes(replace(config, device="0,1", batch=4)) == []


def test_nothing_to_note(data: Path, tmp_path: Path) -> None:
    assert notes(config_of(data, tmp_path / "run")) == []


def test_hidden_images_are_noted(data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "images/train/0.png", data / "images/train/._0.png")
    assert notes(config_of(data, tmp_path / "run")) == [
        f"skipped in {data}/images/train: 1 hidden image (._0.png)"
    ]


def same_folder(data: Path) -> None:
    file = data / "data.yaml"
    file.write_text(file.read_text().replace("images/val", "images/train"))


def same_content(data: Path) -> None:
    for name in ("0", "1"):
        shutil.copy(data / f"images/train/{name}.png", data / f"images/val/x{name}.png")
        shutil.copy(data / f"labels/train/{name}.txt", data / f"labels/val/x{name}.txt")


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (same_folder, "2 of 2 images of val are also in train, the first is {data}/images/train/0"),
        (same_content, "2 of 4 images of val are also in train, the first is {data}/images/val/x0"),
    ],
)
def test_shared_images_are_noted(
    share: Callable[[Path], None], expected: str, data: Path, tmp_path: Path
) -> None:
    share(data)
    assert notes(config_of(data, tmp_path / "run")) == [
        f"{expected.format(data=data)}.png: validation overestimates how well the model generalises"
    ]
    assert notes(config_of(data, tmp_path / "run", validate=False)) == []


def test_equal_images_without_symbols_are_not_noted(data: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        Image.new("L", (96, 96), 255).save(data / f"images/{split}/blank.png")
        (data / f"labels/{split}/blank.txt").write_text("")
    assert notes(config_of(data, tmp_path / "run")) == []


def test_other_parts_of_shared_pages_are_noted(data: Path, tmp_path: Path) -> None:
    """One image of val is the page that an image of train was cut from."""
    page = {"symbols": 9, "scale_x": 1, "scale_y": 1, "tiles": {"0.png": [0, 0]}}
    page["sha256"] = sha256(data / "images/val/1.png")
    (data / "manifest.json").write_text(json.dumps({"tiles": {"train": {"page.png": page}}}))
    assert notes(config_of(data, tmp_path / "run")) == [
        "1 of 2 images of val shows a page that is also in train, the first is "
        f"{data}/images/val/1.png: validation overestimates how well the model generalises"
    ]


def keep(data: Path, split: str, labels: str) -> None:
    for file in (data / "labels" / split).iterdir():
        rows = file.read_text().splitlines(keepends=True)
        file.write_text("".join(row for row in rows if row[0] in labels))


@pytest.mark.parametrize(
    ("box", "groups", "is_noted"),
    [
        (None, (), True),
        ("shared", ("notehead", "stem", "beam"), True),
        ("separate", ("notehead, stem", "beam"), True),
        ("separate", ("notehead", "stem, beam"), False),
    ],
)
def test_two_classes_of_the_same_box_in_one_head_are_noted(
    box: str | None, groups: tuple[str, ...], is_noted: bool, data: Path, tmp_path: Path
) -> None:
    rows = "0 0.5 0.5 0.1 0.1\n1 0.5 0.5 0.1 0.098\n2 0.5 0.5 0.1 0.09\n0 0.2 0.2 0.1 0.1\n"
    for file in (data / "labels/train").iterdir():
        file.write_text(rows)
    heads = tmp_path / "heads.yaml"
    listed = [f"{{name: g{i}, classes: [{names}]}}" for i, names in enumerate(groups)]
    heads.write_text(f"groups: [{', '.join(listed)}]\nbox: {box}\n")
    config = config_of(data, tmp_path / "run", heads=str(heads) if box else "", validate=False)
    note = (
        "2 pairs of symbols have the same box but two classes, and a box branch learns only one of "
        "each: notehead + stem (2); put the classes into separate groups with box: separate "
        "(--heads), or make them one class in the class map"
    )
    assert notes(config) == [note] * is_noted


def test_classes_of_a_single_split_are_noted(data: Path, tmp_path: Path) -> None:
    keep(data, "train", "12")
    keep(data, "val", "0")
    assert notes(config_of(data, tmp_path / "run")) == [
        "1 class occurs in val but not in train, and cannot be learnt: notehead",
        "2 classes occur in train but not in val, and cannot be validated: stem, beam",
    ]


@pytest.mark.parametrize(
    ("n_images", "is_noted"), [(2, True), (1, False)], ids=["frequent", "absent by chance"]
)
def test_frequent_classes_that_another_data_set_lacks_are_noted(
    n_images: int, is_noted: bool, data: Path, draw: Draw, tmp_path: Path
) -> None:
    other = draw(tmp_path / "other", n_images=2)
    for file in (data / "labels/train").iterdir():
        file.write_text("0 0.5 0.5 0.1 0.1\n")
    for i, file in enumerate(sorted((other / "labels/train").iterdir())):
        symbols = "1 0.2 0.2 0.1 0.1\n1 0.4 0.4 0.1 0.1\n" if i < n_images else ""
        file.write_text("0 0.5 0.5 0.1 0.1\n" + symbols)
    config = config_of(
        data, tmp_path / "run", joint=(other,), merge_classes=("all",), validate=False
    )
    note = (
        f"{data}: no symbols of stem, which are frequent in the other data sets, so its images are "
        "negative examples of them; if they were not annotated, convert it again with a class map "
        "that lists them as unlabelled"
    )
    assert notes(config) == [note] * is_noted


def test_another_size_than_that_of_the_weights_is_noted(
    trained: TrainResult, data: Path, tmp_path: Path
) -> None:
    model = str(trained.last)
    assert notes(config_of(data, tmp_path / "run", model=model, imgsz=96)) == []
    assert notes(config_of(data, tmp_path / "run", model=model, imgsz=64)) == [
        "imgsz 64: the weights were trained at 96"
    ]


@pytest.mark.parametrize(("split", "n_trained_on"), [("train", 6), ("val", 0)])
def test_a_trained_model_is_scored_as_it_was_trained(
    split: str, n_trained_on: int, trained: TrainResult, dataset: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(dataset, tmp_path / "moved")
    for file in (trained.best, trained.best.with_suffix(".safetensors")):
        result = score_model(file, moved, split=split, device="cpu")
        overlap = result.overlap
        assert (len(overlap.trained_on), overlap.n_same_images) == (n_trained_on, n_trained_on)
        assert overlap.training_is_known
        assert (result.imgsz, result.differences) == (96, ())
