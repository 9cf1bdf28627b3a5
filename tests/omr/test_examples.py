"""Tests that the examples in the help of all commands work, in the order of the README."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_commands import commands
from engraved import engraved_pages
from typer.testing import CliRunner

from omr.cli import app

ORDER = [
    "engrave",
    "convert",
    "show",
    "analyze-density",
    "heads",
    "train",
    "eval",
    "export",
    "demo",
    "classes",
]
SHORTER = {
    "--pages 200": "--pages 5 --size 700x600",
    "--epochs 100": "--epochs 1 --batch 2 --workers 0",
    "--out demo": "--out demo --steps 1",
}


def examples() -> list[str]:
    lines = [re.findall(r"Example: omr (.*)", text)[-1] for _, text in commands()]
    return sorted(lines, key=lambda line: ORDER.index(line.split()[0]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Working directory with the data sets that the examples use."""
    root = tmp_path_factory.mktemp("examples")
    engraved_pages(root / "ds2_dense", pages=3, width=640, height=640)
    engraved_pages(root / "ds2_sample", pages=1, width=640, height=400)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield root


@pytest.mark.parametrize("example", examples())
def test_example(example: str, folder: Path) -> None:
    command_line = example
    for long, short in SHORTER.items():
        command_line = command_line.replace(long, short)
    result = CliRunner().invoke(app, shlex.split(command_line))
    assert result.exit_code == 0, result.output
    if example.startswith("engrave"):
        data = json.loads((folder / "engraved" / "deepscores_val.json").read_text())
        assert ["petaluma" in image["filename"] for image in data["images"]] == [True]
    if example.startswith("demo"):
        report = (folder / "demo" / "REPORT.md").read_text()
        assert "Scored on the TRAINING pages" in report
        assert "| pages | 1, cut into" in report
