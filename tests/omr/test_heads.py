import inspect
import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from second_run import during
from typer.testing import CliRunner, Result

from class_maps import ConfigError, InputError
from converters import images
from omr import head_suggestion
from omr.cli import app
from omr.commands.heads_suggest import suggest as suggest_command
from settings import head_config
from training.grouping.suggestion import GroupingOptions, Strategy


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A stem on a notehead, a beam below, in one image of 64 x 64 px; no clef."""
    for kind in ("images", "labels"):
        (tmp_path / kind / "train").mkdir(parents=True)
    images.write(np.full((64, 64), 255, np.uint8), tmp_path / "images/train/a.png")
    labels = "0 .2 .2 .1 .1\n1 .2 .2 .03 .4\n2 .5 .8 .5 .05\n"
    (tmp_path / "labels/train/a.txt").write_text(labels)
    names = "names: [notehead, stem, beam, clef]\n"
    (tmp_path / "data.yaml").write_text(f"train: images/train\nval: images/train\n{names}")
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["heads", *map(str, arguments)])


def suggest(data: Path, *arguments: object) -> Result:
    return run("suggest", data, "--imgsz", 64, "--heads", 3, *arguments)


def test_list() -> None:
    result = run("list")
    assert result.exit_code == 0, result.output
    assert "coco-geometry 4 80 shared" in " ".join(result.stdout.split())
    configs = json.loads(run("list", "--json").stdout)
    assert list(configs) == list(head_config.shipped())
    assert configs["coco-anticonfusion"]["groups"][0]["classes"] == ["person"]


def test_show(tmp_path: Path) -> None:
    result = run("show", "coco-standard")
    assert result.exit_code == 0, result.output
    output = " ".join(result.stdout.split())
    assert "head_1 20 1.2" in output
    assert "head_0: person, backpack, umbrella," in output
    assert "box branch: shared (signed); class branches: width 1, depth 2, gate none" in output
    config_file = tmp_path / "own.yaml"
    config_file.write_text("groups: [{name: a, classes: [stem], similarity: dilated, beta: 3}]\n")
    assert "a 1 1 dilated 3" in " ".join(run("show", config_file).stdout.split())
    config = json.loads(run("show", "coco-standard", "--json").stdout)
    assert (config["name"], config["groups"][2]["weight"]) == ("coco-standard", 1.5)
    error = run("show", "coco-standrd").exception
    assert isinstance(error, ConfigError)
    assert "coco-standrd (did you mean coco-standard?)" in str(error)


def test_suggest(data: Path) -> None:
    out = data / "heads.yaml"
    result = suggest(data, "--strategy", "geometry", "--out", out)
    assert result.exit_code == 0, result.output
    output = " ".join(result.stdout.split())
    assert "head_0 2 1 0 0" in output
    assert "all 4 3 0 0" in output
    assert "head_0: stem, clef head_1: notehead head_2: beam" in output
    messages = " ".join(result.stderr.split())
    assert "no symbols, added to the smallest heads: clef" in messages
    assert "their own anchor point: 100.00% with one head, 100.00% with these heads" in messages
    assert f"3 heads -> {out}" in messages
    config = head_config.from_yaml(out)
    assert [group.classes for group in config.groups] == [
        ("stem", "clef"),
        ("notehead",),
        ("beam",),
    ]


def test_suggest_json(data: Path) -> None:
    reports = [
        suggest(data, "--strategy", strategy, "--json").stdout
        for strategy in ("geometry", "hybrid", "collision", "collision")
    ]
    assert [json.loads(text)["strategy"] for text in reports[:3]] == [
        "geometry",
        "hybrid",
        "collision",
    ]
    assert reports[2] == reports[3]
    report = json.loads(reports[2])
    assert [sorted(head) for head in report["heads"]] == 3 * [
        ["classes", "collisions", "conflicts", "name", "symbols", "within_classes"]
    ]
    assert report["absent"] == ["clef"]
    assert report["single_head_collisions"] > 0
    assert report["strides"] == [8, 16, 32]


def test_anti_confusion(data: Path) -> None:
    pairs = data / "pairs.txt"
    pairs.write_text("stem, beam\n")
    arguments: tuple[object, ...] = ("--strategy", "anti-confusion", "--heads", 2, "--pairs", pairs)
    result = suggest(data, *arguments)
    assert result.exit_code == 0, result.output
    assert "conflicts" in result.stdout
    assert "box: separate would use the extra anchor points" in result.stderr
    heads_of = json.loads(suggest(data, *arguments, "--json").stdout)["heads"]
    assert not any({"stem", "beam"} <= set(head["classes"]) for head in heads_of)
    matrix = data / "confusion.csv"
    matrix.write_text(",stem,beam\nstem,5,1\nbeam,2,5\n")
    for threshold, expected in ((2.5, 1), (3, 0)):
        arguments = "--strategy", "anti-confusion", "--heads", 1, "--confusion", matrix
        report = json.loads(suggest(data, *arguments, "--threshold", threshold, "--json").stdout)
        assert [head["conflicts"] for head in report["heads"]] == [expected]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["geometry", "--heads", 0], "--heads 0: must be at least 1"),
        (["geometry", "--heads", 5], "--heads 5: the data set has only 4 classes; use fewer heads"),
        (["geometry", "--imgsz", 100], "--imgsz 100: must be a multiple of every stride: 8, 16, 32"),
        (["geometry", "--strides", "8;16"], "--strides 8;16: expected comma-separated integers such as 8,16,32"),
        (["geometry", "--balance", 1], "--balance 1: only for --strategy hybrid, not for geometry; omit it"),
        (["geometry", "--threshold", 1], "--threshold 1: applies only to a confusion matrix; add --confusion"),
        (["geometry", "--pairs", "p", "--confusion", "p"], "--pairs and --confusion: both list confused classes; give only one"),
        (["anti-confusion"], "--strategy anti-confusion: needs confused classes; add --pairs or --confusion"),
        (["geometry", "--out", "heads.txt"], "--out heads.txt: expected a file name ending in .yaml or .yml"),
    ],
)  # fmt: skip
def test_wrong_options(data: Path, arguments: list[object], message: str) -> None:
    error = suggest(data, "--strategy", *arguments).exception
    assert isinstance(error, ConfigError)
    assert str(error) == message


def test_hidden_images_are_reported(data: Path) -> None:
    (data / "images/train/._a.png").touch()
    result = suggest(data, "--strategy", "geometry")
    remark = f"note: skipped in {data}/images/train: 1 hidden image (._a.png)"
    assert remark in " ".join(result.stderr.split())


def test_no_labels(data: Path) -> None:
    (data / "labels/train/a.txt").unlink()
    error = suggest(data, "--strategy", "geometry").exception
    assert isinstance(error, InputError)
    assert str(error) == f"{data}: no symbols in the training images to group classes by"


def test_a_head_config_is_not_overwritten(data: Path) -> None:
    out = data / "heads.yaml"
    out.write_text("mine")
    error = suggest(data, "--strategy", "geometry", "--out", out).exception
    message = f"{out}: already exists; choose another file, or use --force to replace it"
    assert str(error) == message
    assert out.read_text() == "mine"
    assert suggest(data, "--strategy", "geometry", "--out", out, "--force").exit_code == 0
    assert len(head_config.from_yaml(out).groups) == 3


def test_a_second_run_is_refused_before_it_reads_labels(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, begin = data / "heads.yaml", ("--strategy", "geometry", "--out")
    seconds = during(
        monkeypatch, head_suggestion, "open_dataset", lambda: suggest(data, *begin, out, "--force")
    )
    assert suggest(data, *begin, out).exit_code == 0
    assert str(seconds[0].exception).startswith(f"{out}: another omr process")
    assert out.is_file()


def test_defaults_are_those_of_the_options() -> None:
    actual = {n: p.default for n, p in inspect.signature(suggest_command).parameters.items()}
    expected = {f.name: f.default for f in fields(GroupingOptions) if f.default is not MISSING}
    assert actual["heads"] == expected["n_heads"]
    assert actual["strides"] == ",".join(map(str, GroupingOptions(strategy="hybrid").strides))
    assert (actual["balance"], actual["seed"]) == (expected["balance"], expected["seed"])
    assert get_args(get_type_hints(suggest_command)["strategy"]) == get_args(Strategy)
