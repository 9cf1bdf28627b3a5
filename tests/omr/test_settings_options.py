import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from class_maps import ConfigError, InputError
from omr.settings_options import add_options, chosen_settings, require
from settings.setting import settings_of
from settings.training import TrainingSettings

CHOSEN: list[dict[str, Any]] = []


@add_options(settings_of(TrainingSettings))
def command(context: typer.Context) -> None:
    CHOSEN.append(chosen_settings(context))
    require(context, CHOSEN[-1], "data", "out")


def run(*words: object) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text("data: [/a, /b]\nout: /run\nepochs: 7\ntrust: true\nlr: auto\n")
    return file


def test_defaults_are_not_chosen(tmp_path: Path) -> None:
    assert run(tmp_path, "--out", "run").exit_code == 0
    assert CHOSEN[-1] == {"data": tmp_path, "joint": (), "out": Path("run")}


def test_options_override_the_file(config: Path, tmp_path: Path) -> None:
    assert run("--config", config).exit_code == 0
    assert CHOSEN[-1] == {
        "data": Path("/a"),
        "joint": (Path("/b"),),
        "out": Path("/run"),
        "epochs": 7,
        "trust": True,
        "lr": "auto",
    }
    words = ["--epochs", 100, "--no-trust", "--lr", "1e-3", "--out", "other", "--batch", "auto"]
    words += ["--sampling-weights", "2:1", "--merge-classes", "a, b", "--no-validate"]
    assert run(tmp_path, "--config", config, *words).exit_code == 0
    assert CHOSEN[-1] == {
        "data": tmp_path,
        "joint": (),
        "out": Path("other"),
        "epochs": 100,
        "trust": False,
        "lr": 0.001,
        "batch": "auto",
        "sampling_weights": (2.0, 1.0),
        "validate": False,
        "merge_classes": ("a", "b"),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Missing argument 'DATA...': give it here or in a --config file."),
        (["."], "Missing option '--out': give it here or in a --config file."),
        (["--epochs", "0"], "Invalid value for '--epochs'"),
        (["--assigner", "ota"], "'ota' is not one of 'tal', 'simota', 'static'"),
    ],
)
def test_usage_errors(words: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = run(*words)
    assert result.exit_code == 2
    assert message in re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sampling-weights", "2:x"], "--sampling-weights 2:x: expected numbers such as 2:1"),
        (["--batch", "1.5"], "--batch 1.5: expected an integer of at least 1 or auto"),
    ],
)
def test_invalid_text(words: list[str], message: str) -> None:
    error = run(*words).exception
    assert isinstance(error, ConfigError)
    assert str(error) == message


def test_an_invalid_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("epoch: 3\n")
    error = run("--config", file).exception
    assert isinstance(error, InputError)
    assert str(error) == f"{file}: unknown settings: epoch (did you mean epochs?)"
