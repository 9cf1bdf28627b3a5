from pathlib import Path
from typing import Any

import pytest
import yaml

from class_maps import ConfigError, InputError
from settings.setting import settings_of
from settings.training import TrainingSettings
from settings.yaml_file import read_settings, settings_text

SEVERAL = TrainingSettings(
    data=Path("/a"),
    joint=(Path("/b"), Path("/c")),
    out=Path("/run"),
    sampling_weights=(2.0, 1.0, 0.5),
    merge_classes=("tie", "stem"),
    unfreeze_at=(3, 6),
    lr=1e-05,
    device="0",
    validate=False,
)


def write(folder: Path, text: str) -> Path:
    file = folder / "omr.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("settings", [TrainingSettings(data=Path("/a"), out=Path("/b")), SEVERAL])
def test_settings_are_read_as_they_were_written(settings: TrainingSettings, tmp_path: Path) -> None:
    values = read_settings(write(tmp_path, settings_text(settings)))
    assert TrainingSettings(**values) == settings
    assert values.keys() == settings_of(TrainingSettings).keys() - {"resume"}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{}", {}),
        ("data: a", {"data": Path("a"), "joint": ()}),
        ("data: [a, b]", {"data": Path("a"), "joint": (Path("b"),)}),
        ("data: ~/a", {"data": Path.home() / "a", "joint": ()}),
        ("out: ~/a", {"out": Path.home() / "a"}),
        ("batch: auto", {"batch": "auto"}),
        ("lr: auto:sqrt", {"lr": "auto:sqrt"}),
        ("lr: 1e-3", {"lr": 0.001}),  # text in YAML 1.1
        ("lr: 1", {"lr": 1.0}),
        ("device: 0", {"device": "0"}),
        ("freeze: 10", {"freeze": "10"}),
        ("unfreeze_at: [3, 6]", {"unfreeze_at": (3, 6)}),
        ("tensorboard: true", {"tensorboard": True}),
    ],
)
def test_values_of_a_file(text: str, values: dict[str, Any], tmp_path: Path) -> None:
    assert read_settings(write(tmp_path, text)) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "epoch: 5\nbeat: 3",
            "unknown settings: beat (did you mean beta?), epoch (did you mean epochs?)",
        ),
        ("resume: true", "unknown settings: resume"),
        ("epochs: many", "epochs: expected an integer of at least 1, got 'many'"),
        ("epochs: 1.5", "epochs: expected an integer of at least 1, got 1.5"),
        ("epochs: true", "epochs: expected an integer of at least 1, got True"),
        ("epochs: 0", "epochs: expected an integer of at least 1, got 0"),
        (
            "lr: .nan",
            "lr: expected a number above 0 and at most 1 or auto, auto:sqrt, auto:linear, got nan",
        ),
        ("mosaic: 2", "mosaic: expected a number from 0 to 1, got 2"),
        ("batch: all", "batch: expected an integer of at least 1 or auto, got 'all'"),
        ("validate: 1", "validate: expected true or false, got 1"),
        ("model:", "model: expected text, got None"),
        ("assigner: sgd", "assigner: expected one of tal, simota, static, got 'sgd'"),
        (
            "optimizer: auto",
            "optimizer: expected one of AdamW, Adam, Adamax, NAdam, RAdam, RMSprop, SGD, MuSGD, got 'auto'",
        ),
        ("sampling_weights: 2:1", "sampling_weights: expected a list of numbers, got 121"),
        ("unfreeze_at: [a]", "unfreeze_at: expected a list of integers, got ['a']"),
        ("data: []", "data: expected a path or a list of paths, got []"),
        ("data: [1]", "data: expected a path or a list of paths, got [1]"),
        (
            "seed: a\nepochs: b",
            "seed: expected an integer, got 'a'; epochs: expected an integer of at least 1, got 'b'",
        ),
    ],
)
def test_invalid_files(text: str, message: str, tmp_path: Path) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InputError) as raised:
        read_settings(file)
    assert str(raised.value) == f"{file}: {message}"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"omr\.yaml: no such configuration file"):
        read_settings(tmp_path / "omr.yaml")


def test_the_file_has_all_settings_in_yaml() -> None:
    content = yaml.safe_load(settings_text(SEVERAL))
    assert content["data"] == ["/a", "/b", "/c"]
    assert (content["out"], content["lr"], content["merge_classes"]) == (
        "/run",
        1e-5,
        ["tie", "stem"],
    )
    assert content.keys() == settings_of(TrainingSettings).keys() - {"joint", "resume"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "--epochs 0: expected an integer of at least 1"),
        ({"beta": float("inf")}, "--beta inf: expected a number above 0"),
        ({"warmup_epochs": float("nan")}, "--warmup-epochs nan: expected a number of at least 0"),
        (
            {"optimizer": "adamw"},
            "--optimizer adamw: expected one of AdamW, Adam, Adamax, NAdam, RAdam, RMSprop, SGD, MuSGD",
        ),
        ({"assigner": "ota"}, "--assigner ota: expected one of tal, simota, static"),
        (
            {"scale": -1, "degrees": 181},
            "--scale -1: expected a number from 0 to 1; --degrees 181: expected a number from 0 to 180",
        ),
    ],
)
def test_limits(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        TrainingSettings(data=Path("a"), out=Path("b"), **values)
    assert str(raised.value) == message
