"""Tests of omr sheet: what it writes, and unusable data."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from class_maps import ConfigError, InputError
from omr.cli import app

LINES = "0 0.5 0.5 0.1 0.1\n1 0.2 0.2 0.1 0.1\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three white pages of 100 px, the last one without symbols."""
    folder = tmp_path / "data"
    for part in ("images", "labels"):
        (folder / part / "train").mkdir(parents=True)
    for i, text in enumerate([LINES + LINES, LINES, ""]):
        Image.new("L", (100, 100), 255 - i).save(folder / f"images/train/{i}.png")
        (folder / f"labels/train/{i}.txt").write_text(text)
    (folder / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [a, b]\n")
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["sheet", *map(str, words)])


def test_sheets_with_findings(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(data, out, "--json")
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    assert (counts["sheets"], counts["crops"], counts["symbols"]) == (2, 4, 6)
    assert counts["findings"] > 0
    text = (out / "index.html").read_text("utf-8")
    assert 'data-reason="exact-duplicate"' in text
    assert len([*(out / "sheets").iterdir()]) == 2


def test_without_lint_symbols_are_random_or_extreme(data: Path, tmp_path: Path) -> None:
    result = run(data, tmp_path / "out", "--no-lint", "--symbols", 1)
    assert result.exit_code == 0, result.output
    assert "2 sheets with 4 symbols -> " in result.stdout
    assert "exact-duplicate" not in (tmp_path / "out/index.html").read_text("utf-8")


def test_an_existing_folder_is_replaced_only_with_force(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(data, out).exit_code == 0
    again = run(data, out)
    assert isinstance(again.exception, ConfigError)
    assert run(data, out, "--force").exit_code == 0
    inside = run(data, data, "--force")
    assert isinstance(inside.exception, ConfigError)
    assert (data / "labels/train/0.txt").read_text() == LINES + LINES


def test_data_without_labels(data: Path, tmp_path: Path) -> None:
    for file in (data / "labels/train").iterdir():
        file.write_text("")
    result = run(data, tmp_path / "out")
    assert isinstance(result.exception, InputError)
    assert "none of the 3 images has a label" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_damaged_image_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    image = data / "images/train/1.png"
    image.write_bytes(image.read_bytes()[:-30])
    result = run(data, tmp_path / "out", "--no-lint")
    assert isinstance(result.exception, InputError)
    assert result.exception.path == image
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
