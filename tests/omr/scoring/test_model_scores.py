"""Tests of pages that a network reads in tiles."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_scoring import Predictor, fake_predictor, record
from ink_network import InkNetwork
from tiled_data import write_data
from typer.testing import CliRunner

from class_maps import ConfigError
from converters.formats.datasets import open_dataset
from converters.manifest import Preparation
from omr.cli import app
from omr.scoring.result import ScoringResult
from omr.scoring.score import score_model

TILED = Preparation(tile=64, staff_space=None, class_map="harmony", class_map_sha256="")


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Predictor:
    """Network that finds the black patches as noteheads, and the grey ones as stems."""
    fake = fake_predictor(monkeypatch)
    (tmp_path / "best.pt").write_text("weights")
    names = ("noteheadBlack", "stem")
    fake.names, fake.imgsz = names, 64
    fake.network = InkNetwork(imgsz=64, names=names)
    return fake


def score(data: Path, **options: Any) -> ScoringResult:  # noqa: ANN401
    return score_model(data.parent / "best.pt", data, device="cpu", **options)


@pytest.mark.parametrize("is_recorded", [True, False])
def test_pages_in_tiles_are_read_as_pages(
    is_recorded: bool, predictor: Predictor, tmp_path: Path
) -> None:
    """The tiles of the data have another size than those of the network."""
    data = write_data(tmp_path)
    predictor.training = record(preparations=(TILED,)) if is_recorded else None
    result = score(data)
    report = result.report
    assert (result.unit, report.n_images, report.n_truths, report.n_predictions) == (
        "page",
        2,
        6,
        6,
    )
    assert (report.macro.ap, result.imgsz) == (1, 64)
    assert result.protocol.settings.tiles is not None
    assert result.protocol.settings.tiles.size == 64
    assert predictor.calls == []
    if is_recorded:
        assert result.differences == ("class map harmony in another version",)


def test_whole_pages_are_read_in_tiles_if_the_network_was_trained_on_tiles(
    predictor: Predictor, tmp_path: Path
) -> None:
    data = write_data(tmp_path, tiles=None)
    predictor.training = record(preparations=(TILED,))
    result = score(data)
    assert (result.unit, result.report.macro.ap) == ("page", 1)
    assert result.protocol.merging is not None
    assert isinstance(predictor.network, InkNetwork)
    assert sum(predictor.network.n_tiles) > 8
    predictor.training = None
    predictor.names = open_dataset(data).names
    assert score(data).protocol.settings.tiles is None
    assert len(predictor.calls) == 1


def test_tiles_are_predicted_one_by_one(predictor: Predictor, tmp_path: Path) -> None:
    data = write_data(tmp_path)
    predictor.training = record(preparations=(TILED,))
    predictor.names = open_dataset(data).names
    result = score(data, unit="tile")
    assert (result.unit, result.n_pages, result.report.n_images) == ("tile", 2, 12)
    assert result.protocol.settings.tiles is None
    assert len(predictor.calls) == 1


def test_the_command_prints_unit_pages_and_protocol(predictor: Predictor, tmp_path: Path) -> None:
    data = write_data(tmp_path)
    words = ["eval", str(tmp_path / "best.pt"), str(data), "--json", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert json.loads((tmp_path / "out/report.json").read_text()) == report
    assert (report["unit"], report["split"], report["pages"], report["images"]) == (
        *("page", "val"),
        *(2, 2),
    )
    for mean in ("macro", "frequent_macro", "instance_weighted"):
        assert {"ap", "ap50", "ap75"} <= report[mean].keys()
    assert (
        report["classes"][0] | {"name": "noteheadBlack", "truths": 4, "ap50": 1}
        == (report["classes"][0])
    )
    assert {"weights", "data", "class_map", "settings", "hash"} <= report["protocol"].keys()
    assert (report["trained_on"]["share"], report["trained_on"]["known"]) == (None, False)
    assert "val: 2 pages" in result.stderr
    plain = CliRunner().invoke(app, ["eval", str(tmp_path / "best.pt"), str(data)])
    assert "unknown whether the model was trained on these pages" in plain.stderr


def test_options_of_weights_are_refused_for_predictions(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("[]")
    words = ["eval", str(tmp_path / "r.json"), str(tmp_path), "--imgsz", "64"]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, ConfigError)
    message = "--imgsz: only for weights, not for predictions; drop it"
    assert str(result.exception) == message


def test_an_input_size_that_the_network_does_not_support(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    from omr.scoring.model_predictions import ModelOptions, tile_network

    options = ModelOptions(imgsz=100, batch=1, device="cpu", conf=0.001)
    weights = predictor.open_weights(tmp_path / "best.pt", trust=False)
    with pytest.raises(ConfigError, match="--imgsz 100: expected a multiple of 32"):
        tile_network(weights, options)


def test_weights_of_a_run_are_named_with_its_folder(predictor: Predictor, tmp_path: Path) -> None:
    data = write_data(tmp_path)
    assert score(data).protocol.weights.name == "best.pt"
    file = tmp_path / "run/weights/best.pt"
    file.parent.mkdir(parents=True)
    file.write_text("weights")
    result = score_model(file, data, device="cpu")
    assert result.protocol.weights.name == "run/weights/best.pt"
