import base64
import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from second_run import during
from typer.testing import CliRunner, Result
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import NUM_THREADS
from yolo_folders import write_yolo

from class_maps import ConfigError, InputError, MissingExtraError
from omr import exporting
from omr.calibration import calibration_images
from omr.commands.export import export
from training.export.onnx import export_onnx
from training.models.activations import set_activations
from training.models.checkpoints import load_weights, open_weights, save_weights
from training.models.training_record import TrainingRecord
from training.models.zoo import model_file


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = DetectionModel(model_file("omr-tiny"), nc=2, verbose=False)
    model.names = {0: "note", 1: "stem"}
    file = tmp_path_factory.mktemp("weights") / "best.pt"
    training = TrainingRecord(
        images=np.array([1, 2**64 - 1], np.uint64),
        is_complete=True,
        preparations=(None,),
        conf=0.375,
    )
    save_weights(model, file, train_args={"task": "detect", "imgsz": 64}, training=training)
    return file


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(export)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_of(result: Result, kind: type[Exception]) -> str:
    assert isinstance(result.exception, kind), result.output
    return str(result.exception)


def test_ultralytics_predicts_with_an_exported_checkpoint(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "yolo.pt"
    result = run(weights, "--format", "ultralytics", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "out": str(out),
        "format": "ultralytics",
        "classes": ["note", "stem"],
        "activations": {"backbone": {"silu": 19}, "neck": {"silu": 8}, "head": {"silu": 12}},
    }
    exported = open_weights(out)
    assert exported.imgsz == 64
    assert exported.training is not None
    assert exported.training.images.tolist() == [1, 2**64 - 1]
    yolo = YOLO(out)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(yolo.model(image)[0], load_weights(weights)(image)[0])
    (result_of_image,) = yolo.predict(np.zeros((64, 64, 3), np.uint8), verbose=False, device="cpu")
    assert result_of_image.names == {0: "note", 1: "stem"}


def test_onnx_input_has_the_size_of_the_training(weights: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    for options, side in (([], 64), (["--imgsz", 96], 96)):
        out = tmp_path / f"{side}.onnx"
        result = run(weights, "--format", "onnx", "--out", out, *options)
        assert result.exit_code == 0, result.output
        content = onnx.load(out)
        graph = content.graph
        shape = [axis.dim_value for axis in graph.input[0].type.tensor_type.shape.dim]
        assert shape == [1, 3, side, side]
        metadata = {entry.key: entry.value for entry in content.metadata_props}
        assert json.loads(metadata["omr"]) == {
            "training": {
                "is_complete": True,
                "preparations": [None],
                "knows_pages": False,
                "conf": 0.375,
                "class_confs": [],
                "recipe": "",
            },
            "image_hashes": base64.b64encode(bytes(7) + b"\x01" + b"\xff" * 8).decode(),
            "page_hashes": "",
        }
        line = "note: imgsz 96 px (64 px in training)"
        assert (line in result.stderr) == (side == 96)
        assert sorted(tmp_path.iterdir())[-1].suffix == ".onnx", "no other file is left"


def test_the_number_of_threads_stays(weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    before = torch.get_num_threads()
    torch.set_num_threads(NUM_THREADS + 1)  # Ultralytics sets NUM_THREADS
    try:
        exporting.export_model(weights, tmp_path / "model.onnx", "onnx")
        assert torch.get_num_threads() == NUM_THREADS + 1
    finally:
        torch.set_num_threads(before)


def test_without_onnx(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name)
    )
    result = run(weights, "--format", "onnx", "--out", tmp_path / "model.onnx")
    assert error_of(result, MissingExtraError).startswith("ONNX files need onnx")
    assert not list(tmp_path.iterdir())


def test_wrong_options(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.pt"
    wrong = run(weights, "--format", "onnx", "--out", out)
    assert error_of(wrong, ConfigError) == (
        f"--out {out}: expected a file name ending in .onnx for --format onnx"
    )
    odd = run(weights, "--format", "onnx", "--out", tmp_path / "m.onnx", "--imgsz", 100)
    assert error_of(odd, ConfigError) == "--imgsz 100: must be a multiple of 32; use 128"
    out.write_text("mine")
    taken = run(weights, "--format", "ultralytics", "--out", out)
    message = f"{out}: already exists; choose another file, or use --force to replace it"
    assert error_of(taken, ConfigError) == message
    assert out.read_text() == "mine"
    assert run(weights, "--format", "ultralytics", "--out", out, "--force").exit_code == 0
    itself = run(weights, "--format", "ultralytics", "--out", weights, "--force")
    assert (
        error_of(itself, ConfigError)
        == f"{weights}: is an input and will not be replaced; choose another file"
    )
    full = run(weights, "--format", "ultralytics", "--out", "/dev/null/model.pt")
    assert error_of(full, ConfigError) == "/dev/null/model.pt: cannot be written: File exists"


def test_a_second_run_is_refused_before_it_reads_weights(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model.pt"
    arguments = weights, "--format", "ultralytics", "--out", out
    seconds = during(monkeypatch, exporting, "open_weights", lambda: run(*arguments, "--force"))
    assert run(*arguments).exit_code == 0
    assert error_of(seconds[0], ConfigError).startswith(f"{out}: another omr process")
    assert out.is_file()


def test_a_foreign_pickle_needs_trust(weights: Path, tmp_path: Path) -> None:
    fused = load_weights(weights).fuse(verbose=False)  # differs from its description
    torch.save({"model": fused, "train_args": {}}, tmp_path / "own.pt")
    arguments = [tmp_path / "own.pt", "--format", "ultralytics", "--out", tmp_path / "yolo.pt"]
    assert "give --trust if you trust its source" in error_of(run(*arguments), InputError)
    assert run(*arguments, "--trust").exit_code == 0


def test_half_precision_halves_the_size_and_keeps_the_predictions(
    weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small.safetensors"
    assert run(weights, "--format", "safetensors", "--out", out).exit_code == 0
    assert out.stat().st_size < 0.55 * weights.stat().st_size
    before, after = open_weights(weights), open_weights(out)
    assert (after.names, after.imgsz) == (before.names, before.imgsz)
    assert before.training is not None
    assert after.training is not None
    assert after.training.to_json() == before.training.to_json()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        outputs = [some.model(image)[0] for some in (before, after)]
    assert torch.allclose(outputs[0][:, :4], outputs[1][:, :4], atol=0.1)
    assert torch.allclose(outputs[0][:, 4:], outputs[1][:, 4:], atol=0.01)


def test_values_beyond_half_precision_are_refused(weights: Path, tmp_path: Path) -> None:
    model = open_weights(weights).model
    next(model.parameters()).data[0, 0, 0, 0] = 1e6
    save_weights(model, tmp_path / "large.pt", train_args={"imgsz": 64})
    out = tmp_path / "small.safetensors"
    error = error_of(
        run(tmp_path / "large.pt", "--format", "safetensors", "--out", out), InputError
    )
    name = "model.0.conv.weight"
    assert error == f"{tmp_path}/large.pt: values beyond the range of half precision in {name}"
    assert not out.exists()


def test_a_graph_with_other_activations_is_not_kept(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    out = tmp_path / "model.onnx"

    def export_wrong(model: DetectionModel, *arguments: Path, **options: Any) -> None:  # noqa: ANN401
        model = copy.deepcopy(model)
        set_activations(model, {"neck": "relu"})
        export_onnx(model, *arguments, **options)

    monkeypatch.setattr(exporting, "export_onnx", export_wrong)
    error = error_of(run(weights, "--format", "onnx", "--out", out), ConfigError)
    assert f"{out}: 8 of 40 activations differ: model.11.cv1.act is relu, expected silu" in error
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("onnx --int8", "--int8: for --format tflite only; drop it"),
        ("safetensors --data .", "--data: for --format tflite only; drop it"),
        ("ultralytics --decode inside", "--decode inside: for --format tflite only; drop it"),
        (
            "tflite --int8",
            "--int8: the ranges of activations are needed; give a data set like that of the "
            "training with --data",
        ),
        ("tflite --data .", "--data .: quantises nothing without --int8; add it"),
    ],
)
def test_options_that_do_not_fit_together(
    options: str, message: str, weights: Path, tmp_path: Path
) -> None:
    result = run(weights, "--out", tmp_path / "m", "--format", *options.split())
    assert error_of(result, ConfigError) == message


def test_tflite_without_the_tools(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMR_NPU_TOOLS", str(tmp_path / "none"))
    out = tmp_path / "new" / "m.tflite"
    result = run(weights, "--format", "tflite", "--out", out)
    assert error_of(result, MissingExtraError).startswith(
        f"the tools for NPUs are not installed in {tmp_path}/none; run make npu"
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    (tmp_path / "m.tflite.json").write_text("mine")
    taken = run(weights, "--format", "tflite", "--out", tmp_path / "m.tflite")
    assert error_of(taken, ConfigError) == (
        f"{tmp_path}: already contains m.tflite.json; choose another folder, or use --force to "
        "replace it"
    )


def test_calibration_images(weights: Path, tmp_path: Path) -> None:
    labels = {"train/a.png": [0], "train/b.png": [1], "train/c.png": [], "val/d.png": [0]}
    write_yolo(tmp_path / "data", labels, ["note", "stem"])
    trained = open_weights(weights)
    images = calibration_images(trained, tmp_path / "data", 2, 64)
    assert images.samples.shape == (2, 64, 64, 3)
    assert calibration_images(trained, tmp_path / "data", 9, 64).samples.shape == (3, 64, 64, 3)
    again = calibration_images(trained, tmp_path / "data", 2, 64)
    assert np.array_equal(images.samples, again.samples)
    assert not np.array_equal(images.samples[0], images.samples[1])
    assert images.differences == ()


def test_calibration_data_of_another_class_map(weights: Path, tmp_path: Path) -> None:
    write_yolo(tmp_path / "data", {"train/a.png": [0]}, ["note", "stems", "beam"])
    with pytest.raises(ConfigError) as raised:
        calibration_images(open_weights(weights), tmp_path / "data", 2, 64)
    assert str(raised.value) == (
        f"--data {tmp_path}/data: classes that the weights do not find: beam, stems (did you mean "
        "stem?); use data converted with the class map of the training"
    )
