import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from class_maps import InputError
from converters import images
from omr.commands.analyze_density import analyze_density


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images of 100 x 100 px: an empty one, one with a notehead and two stems; empty for val."""
    symbols = "0 .2 .2 .1 .1\n1 .5 .5 .01 .4\n1 .7 .5 .01 .4\n"
    for name, labels in (("train/a", ""), ("train/b", symbols), ("val/c", "")):
        for kind in ("images", "labels"):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
        images.write(np.full((100, 100), 255, np.uint8), tmp_path / f"images/{name}.png")
        (tmp_path / f"labels/{name}.txt").write_text(labels)
    names = "names:\n  0: notehead\n  1: stem\n  2: clef\n"
    (tmp_path / "data.yaml").write_text(f"train: images/train\nval: images/val\n{names}")
    return tmp_path


def run(data: Path, *options: str) -> Result:
    app = typer.Typer()
    app.command()(analyze_density)
    return CliRunner().invoke(app, [str(data), *options])


def test_no_symbols(data: Path) -> None:
    result = run(data, "--split", "val", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["symbols"] == {"mean": 0, "p50": 0, "p95": 0, "p99": 0, "max": 0}
    assert report["suggest"] == {"max_det": 300}
    assert (report["n_images"], report["split"]) == (1, "val")


def test_json(data: Path) -> None:
    result = run(data, "--imgsz", "150", "--batch", "2", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["symbols"] == {"mean": 1.5, "p50": 0, "p95": 3, "p99": 3, "max": 3}
    assert report["symbols_page"] is None
    assert report["batch_max"] == {"expected": 2.25, "p999": 3}
    assert report["split"] == "train"
    stem = report["classes"][0]
    assert (stem["name"], stem["count"], stem["under_2px"]) == ("stem", 2, 1)
    assert stem["median_height_px"] == pytest.approx(60)


def test_tiles(data: Path) -> None:
    tiles = {"a.png": [0, 0], "b.png": [50, 0]}
    page = {"symbols": 3, "scale_x": 1.0, "scale_y": 1.0, "tiles": tiles}
    (data / "manifest.json").write_text(json.dumps({"tiles": {"train": {"page.png": page}}}))
    report = json.loads(run(data, "--json").stdout)
    assert report["symbols_page"] == {"mean": 3, "p50": 3, "p95": 3, "p99": 3, "max": 3}


def test_a_damaged_manifest(data: Path) -> None:
    (data / "manifest.json").write_text('{"tiles": 3}')
    error = run(data).exception
    assert isinstance(error, InputError)
    assert str(error) == (
        f"{data}/manifest.json: damaged: Expected `object`, got `int` - at `$.tiles`"
    )
