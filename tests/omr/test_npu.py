"""Tests of the export for NPUs with the real tools, which ``make npu`` installs.

The model that comes with omr is converted once, because random weights show nothing about int8.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engraved import engraved_pages
from tflite_files import write_network
from torch import nn
from typer.testing import CliRunner
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel

import class_maps
from benchmarks.npu import compared, tiles_of_split
from class_maps import InputError
from converters.conversion import ConversionOptions, convert
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions
from omr.cli import app
from omr.npu_figures import model_figures
from omr.scoring.score import score_model
from reading.decoding import decoding_file, read_decoding
from reading.exported_network import open_exported
from settings.published import DEFAULT_WEIGHTS, weights_path
from training.export.tflite import TfliteOptions, export_tflite
from training.export.vela import DEFAULT_TARGETS, TARGETS, npu_figures, parse_targets
from training.models.zoo import model_file
from training.predict.tile_network import TorchNetwork

pytestmark = pytest.mark.npu

SIDE, N_TILES = 320, 50


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Engraved tiles for calibration, and as many held-out ones."""
    folder = tmp_path_factory.mktemp("data")
    engraved_pages(folder / "engraved", pages=4, width=900, height=1100, seed=31)
    preparation = PreparationOptions(staff_space=12.0, tiles=TileOptions(size=SIDE, overlap=96))
    options = ConversionOptions(
        class_map=class_maps.load("harmony"), preparation=preparation, split_by="page", val=0.5
    )
    convert(folder / "engraved", folder / "data", options)
    return folder / "data"


@pytest.fixture(scope="module")
def exported(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the weights that come with omr in int8."""
    file = tmp_path_factory.mktemp("exported") / "model.tflite"
    options = f"--format tflite --int8 --data {data} --calibrate 40 --out {file}"
    result = CliRunner().invoke(app, ["export", DEFAULT_WEIGHTS, *options.split()])
    assert result.exit_code == 0, result.output
    assert sorted(file.parent.iterdir()) == [file, decoding_file(file)]
    return file


def test_int8_finds_what_torch_finds(exported: Path, data: Path) -> None:
    tiles = tiles_of_split(data, "val", N_TILES, SIDE)
    assert len(tiles) == N_TILES
    network = open_exported(exported)
    torch_network = TorchNetwork(weights_path(DEFAULT_WEIGHTS), device="cpu")
    assert network.names == torch_network.names
    assert network.preparations == torch_network.preparations
    assert network.conf == torch_network.conf
    assert network.class_confs == torch_network.class_confs
    conf = torch_network.conf or 0
    result = compared(
        torch_network.find(tiles, score_thresh=conf), network.find(tiles, score_thresh=conf)
    )
    n_expected = result.same + result.lost
    assert n_expected > 500
    assert result.lost <= 0.01 * n_expected
    assert result.new <= 0.01 * n_expected  # duplicates


def test_int8_scores_as_torch_does(exported: Path, data: Path) -> None:
    expected, result = (
        score_model(weights, data, unit="tile", device="cpu")
        for weights in (weights_path(DEFAULT_WEIGHTS), exported)
    )
    assert (expected.report.macro.ap or 0) > 0.5
    for mean in ("macro", "frequent_macro", "instance_weighted"):
        before, after = (getattr(r.report, mean) for r in (expected, result))
        assert after.ap == pytest.approx(before.ap, abs=0.01)  # 0.02 with box logits in int8
        if mean != "macro":  # one detection of a rare class is a point of its mean
            assert after.ap50 == pytest.approx(before.ap50, abs=0.01)
    assert result.protocol.hash == expected.protocol.hash
    assert (result.overlap, result.differences) == (expected.overlap, expected.differences)
    assert "ai-edge-litert" in result.protocol.versions
    assert "torch" not in result.protocol.versions


def test_pages_are_read(exported: Path, data: Path, tmp_path: Path) -> None:
    page = next((data.parent / "engraved" / "images").glob("*.png"))
    arguments = ["predict", str(page), str(tmp_path / "out"), "--weights", str(exported), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pages"][0]["symbols"] > 50


def test_the_report_for_three_npus(exported: Path) -> None:
    result = CliRunner().invoke(app, ["npu-report", str(exported), "--json"])
    assert result.exit_code == 0, result.output
    targets: list[dict[str, Any]] = json.loads(result.stdout)["targets"]
    assert [target["name"] for target in targets] == list(DEFAULT_TARGETS)
    n_convolutions = 48  # 45 of the torch model, of which 3 are split
    for target in targets:
        assert target["cpu_operators"] == {}
        assert target["npu_operators"]["Conv2D"] == n_convolutions
        assert 600e6 < target["macs"] < 700e6
        assert target["sram_kib"] > 300
        assert exported.stat().st_size / 1024 * 0.7 < target["flash_kib"]
    times = [target["ms"] for target in targets]
    assert times == sorted(times, reverse=True)
    assert targets[0]["macs"] / times[0] / 1e-3 < 256 * 500e6, "faster than all MACs at once"
    assert "48 Conv2D" in result.stderr


def test_a_file_in_float_is_refused(tmp_path: Path) -> None:
    file = write_network(tmp_path / "float.tflite", is_int8=False)
    with pytest.raises(InputError) as raised:
        model_figures([file], parse_targets(["u55-256"]))
    assert str(raised.value) == (
        f"{file}: no operator runs on the NPU; use a file in int8, written by omr export --format "
        "tflite --int8"
    )
    (figures,) = model_figures([write_network(tmp_path / "int8.tflite")], parse_targets(["u55-32"]))
    assert set(figures.targets[0].npu_operators) == {"Conv2D"}  # divided into several


def test_leaky_relus_run_on_the_npu(tmp_path: Path) -> None:
    model = DetectionModel(model_file("omr-tiny"), nc=2, verbose=False)
    activation = nn.LeakyReLU(0.1)
    convolutions = [module for module in model.modules() if isinstance(module, Conv)]
    for convolution in convolutions:
        convolution.act = activation
    file = tmp_path / "leaky.tflite"
    samples = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    options = TfliteOptions(samples=samples)
    export_tflite(model, file, decoding_file(file), imgsz=64, options=options)
    figures = npu_figures(file, TARGETS["ethos-u55-256"])
    assert figures.cpu_operators == {}
    assert figures.npu_operators["LeakyRelu"] >= len(convolutions)  # several each in int16


@pytest.mark.parametrize("size", [8, 1000, 500_000])
def test_a_truncated_file_is_refused(size: int, exported: Path, tmp_path: Path) -> None:
    file = tmp_path / "truncated.tflite"
    file.write_bytes(exported.read_bytes()[:size])
    with pytest.raises(InputError, match=r"truncated\.tflite: cannot be compiled for an NPU: "):
        model_figures([file], parse_targets(["u55-256"]))


def test_box_logits_are_in_int16(exported: Path) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    network = interpreter.Interpreter(model_path=str(exported))
    details = network.get_signature_runner().get_output_details()
    levels = read_decoding(exported).levels
    assert {details[level.boxes]["dtype"] for level in levels} == {np.int16}
    assert {details[level.scores]["dtype"] for level in levels} == {np.int8}


def test_the_description_names_every_class(exported: Path) -> None:
    decoding = read_decoding(exported)
    assert decoding.bins == tuple(range(-2, 16))
    assert [level.stride for level in decoding.levels] == [8, 16, 32]
    assert decoding.shapes()["output_5"] == (1, 10, 10, 42)
