from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from class_maps import ConfigError, InputError
from omr.cli import app


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["demo", *map(str, words)])


def test_data_that_cannot_be_read_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / ".omr-demo").touch()
    (tmp_path / "REPORT.md").write_text("the last one")
    error = run("--data", tmp_path / "gone", "--out", tmp_path, "--force").exception
    assert isinstance(error, InputError)
    assert (tmp_path / "REPORT.md").read_text() == "the last one"


@pytest.mark.parametrize(
    ("force", "message"),
    [
        ([], "{} exists; choose another folder, or --force to replace it"),
        (["--force"], "{} was not made by a demo and is not replaced; choose another"),
    ],
)
def test_a_folder_of_somebody_else_stays(force: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    error = run("--out", tmp_path, *force).exception
    assert isinstance(error, ConfigError)
    assert str(error) == message.format(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "dear"
