import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from class_maps import ConfigError
from converters.files.hashes import sha256
from omr.cli import app
from recipes.run import is_done, main, read_recipe, steps
from training.models.checkpoints import open_weights

ROOT = Path(__file__).parents[2]
SMALL = """
name: small
classes: harmony
tiles: --tile 96 --scale staff-space:6
train:
  clean: --pages 1 --size 500x400 --seed 1
val:
  clean: --pages 1 --size 500x400 --seed 2
training: --model omr-tiny --imgsz 96 --batch 4 --epochs 1 --no-validate
"""


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_recipes_name_sets_of_their_own(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    seeds = [
        words.split("--seed ")[1].split()[0]
        for words in (*recipe.train.values(), *recipe.val.values())
    ]
    assert len({*seeds}) == len(seeds)


@pytest.mark.parametrize("text", ["", "name: x", SMALL + "more: 1\n", "[", "- 1"])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.yaml: is not a recipe: "):
        read_recipe(tmp_path / "a.yaml")


def test_an_unfinished_training_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SMALL)
    recipe = read_recipe(tmp_path / "a.yaml")
    weights = tmp_path / "run" / "weights"
    weights.mkdir(parents=True)
    (weights / "last.pt").touch()
    last = steps(recipe, tmp_path, ())[-1]
    assert is_done(last)
    (weights / "state.pt").touch()
    last = steps(recipe, tmp_path, ("--device", "cpu"))[-1]
    assert not is_done(last)
    data = str(tmp_path / "train/data/clean")
    assert last.arguments == (
        "train",
        data,
        "--out",
        str(tmp_path / "run"),
        "--resume",
        "--device",
        "cpu",
    )


def run_in_process(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
    """Run a command of omr in the process of the test, which has imported its modules already."""
    assert command[:3] == [sys.executable, "-m", "omr"]
    result = CliRunner().invoke(app, command[3:])
    return subprocess.CompletedProcess(command, result.exit_code, result.output)


@pytest.mark.slow
def test_a_recipe_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_text(SMALL)
    words = ["recipes.run", str(tmp_path / "a.yaml"), str(tmp_path / "out"), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(subprocess, "run", run_in_process)

    def run() -> list[str]:
        main()
        lines = capsys.readouterr().out.splitlines()
        return [line.split()[0] for line in lines if " omr " in f" {line}" or "safetensors" in line]

    run()
    manifest = json.loads((tmp_path / "out/train/data/clean/manifest.json").read_text())
    assert manifest["options"]["tiles"]["size"] == 96
    weights = open_weights(tmp_path / "out/small.safetensors")
    assert weights.training is not None
    assert weights.training.recipe == f"small {sha256(tmp_path / 'a.yaml')}"
    assert len(weights.training.class_confs) == len(weights.names)
    assert set(run()) == {"done:"}
