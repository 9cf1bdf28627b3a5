"""Tests that the examples in the help of all commands work, in the order of the README."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_commands import commands, examples
from engraved import engraved_pages
from PIL import Image
from small_demo import shrink_demo
from typer.testing import CliRunner

from omr.cli import app

ORDER = [
    "engrave",
    "convert",
    "show",
    "split",
    "lint",
    "sheet",
    "analyze-density",
    "heads",
    "train",
    "runs",
    "log",
    "eval",
    "compare",
    "export",
    "predict",
    "demo",
    "classes",
]
SHORTER = {
    "--pages 200": "--pages 5 --size 700x600",
    "yolo11n --epochs 100 --imgsz 640": "omr-tiny --epochs 1 --imgsz 96 --batch 2 --workers 0",
    "--out demo": "--out demo --steps 1",
    "score.pdf out": "score.pdf out2",
}


SLOW = [
    "omr engrave chorales --scores chorales --degrade scan",
    "omr train data --heads harmony --batch auto --out run",
    "omr train data --out run --resume",
    "omr eval results.json data",
    "omr compare metrics metrics-large",
    "omr compare baseline-seeds large-seeds --metric ap50 --out comparison",
    "omr compare metrics-n metrics-s metrics-m --json",
    "omr log cut run --out cut --from 81 --to 100 --shift -80",
    "omr log cut run --out losses --tags '^train/'",
    "omr log merge run --out merged",
    "omr log merge run run-resumed --out merged --json",
    "omr demo",
]
"""Examples whose options alone are checked."""


def all_examples() -> list[str]:
    lines = [line for _, text in commands() for line in examples(text)]
    return sorted(lines, key=lambda line: ORDER.index(line.split()[1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Working directory with the data sets that the examples use."""
    root = tmp_path_factory.mktemp("examples")
    engraved_pages(root / "ds2_dense", pages=3, width=640, height=640)
    engraved_pages(root / "ds2_sample", pages=1, width=640, height=400)
    page = Image.new("L", (300, 400), 255)
    page.save(root / "score.pdf")
    (root / "scans").mkdir()
    page.save(root / "scans" / "1.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield root


@pytest.mark.parametrize("example", SLOW)
def test_the_options_of_an_example_exist(example: str) -> None:
    assert example in all_examples()
    result = CliRunner().invoke(app, [*shlex.split(example)[1:], "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("example", [line for line in all_examples() if line not in SLOW])
def test_example(example: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_demo(monkeypatch)
    command_line = example.removeprefix("omr ")
    for long, short in SHORTER.items():
        command_line = command_line.replace(long, short)
    result = CliRunner().invoke(app, shlex.split(command_line))
    assert result.exit_code == 0, result.output
    if example.startswith("omr engrave"):
        data = json.loads((folder / "engraved" / "deepscores_val.json").read_text())
        assert ["petaluma" in image["filename"] for image in data["images"]] == [True]
    if example.startswith("omr demo"):
        report = (folder / "demo" / "REPORT.md").read_text()
        assert "Scored on the TRAINING pages" in report
        assert " | 1 converted page, cut into " in report
