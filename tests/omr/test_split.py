"""Tests of omr split: output, exit status of the check, and options that do not fit."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from yolo_folders import write_yolo

from class_maps import ConfigError
from omr.cli import app

PAGES = {f"train/lg-{i}-aug-a--page-1.png": [0, 0] if i else [0, 1] for i in range(10)}


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["split", *map(str, words)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_yolo(tmp_path / "data", PAGES)


def test_the_summary(data: Path, tmp_path: Path) -> None:
    (data / "notes.txt").write_text("")
    result = run(data, tmp_path / "out", "--val", 0.2, "--test", 0.1)
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    assert "split works images share symbols share" in shown
    for row in ("train 7 7 70% 14 70%", "val 2 2 20% 4 20%", "test 1 1 10% 2 10%"):
        assert row in shown
    assert "classes missing in val: rest classes missing in test: rest" in shown
    note = f"note: not in {tmp_path}/out: notes.txt; omr convert writes other formats and contact sheets"
    assert " ".join(result.stderr.split()) == note


def test_works_that_a_split_by_font_divides(tmp_path: Path) -> None:
    pages = {f"train/lg-1-aug-{font}--page-1.png": [0] for font in "abcd"}
    data = write_yolo(tmp_path / "data", pages)
    result = run(data, tmp_path / "out", "--by", "font", "--val", 0.25)
    expected = "note: 1 work in several splits, which --by font does not keep together"
    assert result.stderr.strip() == expected


def test_works_that_are_too_large_for_a_fraction(tmp_path: Path) -> None:
    pages = [f"train/lg-1-aug-a--page-{i}.png" for i in range(8)]
    labels = dict.fromkeys([*pages, "train/lg-2-aug-a--page-1.png"], (0,))
    data = write_yolo(tmp_path / "data", labels | {"test/lg-3-aug-a--page-1.png": (0,)})
    result = run(data, tmp_path / "out", "--val", 0.4)
    expected = "note: val has 11.1% of the images instead of 40%, because no work is divided"
    assert result.stderr.strip() == expected


def test_json(data: Path, tmp_path: Path) -> None:
    result = json.loads(run(data, tmp_path / "out", "--val", 0.2, "--json").stdout)
    assert result["images"] == {"train": 8, "val": 2}
    assert result["groups"] == {"train": 8, "val": 2}
    assert result["symbols"]["train"] == {"note": 15, "rest": 1}
    assert (result["leaks"], result["left_out"]) == ([], [])


def test_links(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out", "--val", 0.2, "--images", "link")
    for image in (tmp_path / "out" / "images").rglob("*.png"):
        assert image.samefile(data / "images" / "train" / image.name)


def test_a_check_without_leaks(data: Path) -> None:
    alone = run(data, "--check")
    expected = "no leak, because there is a single split: 10 images of train\n"
    assert (alone.exit_code, alone.stdout) == (0, expected)
    run(data, data.parent / "out", "--val", 0.2)
    divided = run(data.parent / "out", "--check")
    assert (divided.exit_code, divided.stdout) == (0, "no leak in 10 images of train, val\n")


def test_a_check_with_leaks(tmp_path: Path) -> None:
    labels = {"train/lg-1-aug-a--page-1.png": [0], "val/lg-1-aug-b--page-1.png": [0]}
    data = write_yolo(tmp_path / "data", labels)
    result = run(data, "--check")
    assert result.exit_code == 1
    shown = " ".join(result.stdout.split())
    assert "In several splits: 1 work work train val" in shown
    assert "1 leak in 2 images of train, val" in shown
    as_json = run(data, "--check", "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout) == {
        "images": 2,
        "leaks": [
            {
                "kind": "work",
                "key": "1",
                "images": {
                    "train": "lg-1-aug-a--page-1.png",
                    "val": "lg-1-aug-b--page-1.png",
                },
            }
        ],
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--check", "--val", 0.1], "--check: writes nothing; omit --val"),
        (["OUT", "--check", "--test", 0.1], "--check: writes nothing; omit --test and OUT OUT"),
        ([], "--val or --test: expected a fraction, such as --val 0.1"),
    ],
)
def test_options_that_do_not_fit(words: list[object], message: str, data: Path) -> None:
    result = run(data, *words)
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == message
