"""Tests of omr lint: exit status, output, configuration and unusable data."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from class_maps import InputError
from omr.cli import app

LINES = "0 0.5 0.5 0.1 0.1\n1 0.2 0.2 0.1 0.1\n"


def write_data(folder: Path, *labels: str) -> Path:
    """Write a YOLO folder with a white page of 100 x 100 px per label file."""
    for part in ("images", "labels"):
        (folder / part / "train").mkdir(parents=True)
    for i, text in enumerate(labels):
        Image.new("L", (100, 100), 255 - i).save(folder / f"images/train/{i}.png")
        (folder / f"labels/train/{i}.txt").write_text(text)
    (folder / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [a, b]\n")
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["lint", *map(str, words)])


def config(folder: Path, text: str) -> Path:
    file = folder / "lint.toml"
    file.write_text(text)
    return file


def test_warnings_do_not_fail(tmp_path: Path) -> None:
    result = run(write_data(tmp_path / "data", LINES))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "warning: rare-class"
    assert result.stdout.splitlines()[-1] == "0 errors, 1 warning in 1 image with 2 boxes"


def test_errors_fail(tmp_path: Path) -> None:
    result = run(write_data(tmp_path / "data", LINES + LINES))
    assert result.exit_code == 1
    assert result.stdout.startswith("error: exact-duplicate\n")
    assert "train/0.png [45 45 55 55]" in result.stdout


def test_json(tmp_path: Path) -> None:
    file = config(tmp_path, 'self-suppressed = "off"\nrare-class = "off"\n')
    result = run(write_data(tmp_path / "data", "", LINES + LINES[:18]), "--config", file, "--json")
    assert result.exit_code == 1
    report: dict[str, Any] = json.loads(result.stdout)
    assert (report["images"], report["boxes"]) == (2, 3)
    assert (report["errors"], report["warnings"]) == (1, 0)
    (finding,) = report["findings"]
    assert finding.pop("meaning")
    assert finding.pop("remedy")
    assert finding == {
        "rule": "exact-duplicate",
        "level": "error",
        "class": "a",
        "source": "",
        "count": 1,
        "share": 0.5,
        "examples": [{"split": "train", "page": "1.png", "box_xyxy": [45.0, 45.0, 55.0, 55.0]}],
        "detail": "",
    }


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            (),
            "images/train: contains no images; convert without --labels-only, or export the data "
            "set together with its images",
        ),
        (
            ("", ""),
            ": none of the 2 images has a label; expected label files in labels/ beside images/",
        ),
    ],
)
def test_data_without_labels(labels: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = run(write_data(tmp_path / "data", *labels))
    assert isinstance(result.exception, InputError)
    assert str(result.exception).removeprefix(str(tmp_path / "data")).lstrip("/") == message


def test_unreadable_labels(tmp_path: Path) -> None:
    result = run(write_data(tmp_path / "data", LINES, "0 0.5 0.5 x 0.1\n"))
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"{tmp_path / 'data'}/labels/train/1.txt: line 1: ")


def test_workers_do_not_change_the_result(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", LINES, LINES + LINES, "")
    results = [run(data, "--workers", n, "--json") for n in (1, 2)]
    assert results[0].stdout == results[1].stdout
    assert [result.exit_code for result in results] == [1, 1]
