"""The command ``omr profile``; what it measures is tested with :mod:`training.profiling`."""

import json
from pathlib import Path

import pytest
from drawn_data import make_dataset
from typer.testing import CliRunner, Result

from class_maps import ConfigError
from omr.cli import app


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "drawn")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["profile", *map(str, words)])


def test_a_profile_is_printed(data: Path, tmp_path: Path) -> None:
    words = ["--model", "omr-tiny", "--imgsz", 64, "--steps", 1, "--device", "cpu", "--json"]
    result = run(data, *words, "--batch", 9)
    assert result.exit_code == 0, result.output
    profile = json.loads(result.stdout)
    assert profile.keys() >= {"parts", "images_per_s", "gpu_busy", "densities", "advice"}
    assert profile["parts"][0].keys() == {"name", "ms", "share"}
    assert "note: batch 6, not 9: there are no more images\n" in result.stderr
    assert "Mean of 1 step: omr-tiny, 6 images of 64 px, fp32, cpu" in result.stderr
    assert f"{profile['images_per_s']:.1f} images/s, " in result.stderr
    pairs = profile["densities"][0]["ultralytics_pairs"]
    assert f"medium: Ultralytics compares {pairs:,} pairs" in result.stderr
    assert profile["advice"] in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trace", "t.txt"], "--trace t.txt: expected a file name ending in .json"),
        (["--trace", "gone/t.json"], "gone: no such folder; create it, or choose another --trace"),
        (["--trace", "t.json"], "t.json: already exists; choose another file, or use --force to replace it"),
        (["--device", "0,1"], "omr profile: runs on one device; give one --device, without torchrun"),
    ],
)  # fmt: skip
def test_refused_options(
    words: list[str], message: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.json").write_text("mine")
    error = run(data, *words).exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith(message)
    assert Path("t.json").read_text() == "mine"


def test_missing_data() -> None:
    assert "Missing argument 'DATA...'" in run().output
