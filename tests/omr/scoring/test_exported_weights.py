"""Tests of ONNX files as weights: they score as the weights that they were exported from."""

import json
from pathlib import Path
from typing import Any

import pytest
from engraved import engraved_pages

import class_maps
from class_maps import ConfigError, InputError
from converters.conversion import ConversionOptions, convert
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions
from omr.exporting import export_model
from omr.scoring.result import ScoringResult
from omr.scoring.score import score_model
from reading.network import RECORD_KEY
from reading.onnx_network import CHECKSUM_KEY, OnnxNetwork
from settings.published import DEFAULT_WEIGHTS, weights_path
from training.models.checkpoints import open_weights
from training.models.training_record import from_json

SIDE = 320
MEANS = "macro", "frequent_macro", "instance_weighted"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the weights that come with omr."""
    pytest.importorskip("onnxruntime")
    file = tmp_path_factory.mktemp("weights") / "model.onnx"
    export_model(weights_path(DEFAULT_WEIGHTS), file, "onnx")
    return file


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small engraved pages in tiles of the input size."""
    folder = tmp_path_factory.mktemp("data")
    engraved_pages(folder / "engraved", pages=2)
    preparation = PreparationOptions(staff_space=12.0, tiles=TileOptions(size=SIDE, overlap=96))
    options = ConversionOptions(
        class_map=class_maps.load("harmony"), preparation=preparation, split_by="page", val=0.5
    )
    convert(folder / "engraved", folder / "data", options)
    return folder / "data"


def metrics(result: ScoringResult) -> dict[str, Any]:
    report = result.to_json()
    values = {f"{mean}.{key}": value for mean in MEANS for key, value in report[mean].items()}
    for row in report["classes"]:
        values |= {f"{row['name']}.{key}": row[key] for key in ("ap", "ap50", "ap75", "best_f1")}
    return values


@pytest.mark.parametrize("unit", ["page", "tile"])
def test_onnx_scores_as_torch_does(unit: Any, weights: Path, data: Path) -> None:  # noqa: ANN401
    expected = score_model(weights_path(DEFAULT_WEIGHTS), data, unit=unit, device="cpu")
    result = score_model(weights, data, unit=unit, device="cpu")
    assert (expected.report.macro.ap50 or 0) > 0.9
    assert 0.5 < (expected.report.macro.ap or 0) < 1
    assert metrics(result) == {
        name: pytest.approx(value, abs=1e-4) for name, value in metrics(expected).items()
    }
    assert result.protocol.hash == expected.protocol.hash
    assert result.protocol.settings == expected.protocol.settings
    assert (result.overlap, result.differences) == (expected.overlap, expected.differences)
    assert "onnxruntime" in result.protocol.versions
    assert "torch" not in result.protocol.versions


def test_the_input_size_is_fixed(weights: Path, data: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        score_model(weights, data, imgsz=640)
    assert str(raised.value) == (
        f"--imgsz 640: {weights} has an input of 320 px; drop the option, or export the weights "
        "again with omr export --imgsz 640"
    )


def record_of(content: Any) -> Any:  # noqa: ANN401
    return next(entry for entry in content.metadata_props if entry.key == RECORD_KEY)


def without_checksum(content: Any) -> Any:  # noqa: ANN401
    kept = [entry for entry in content.metadata_props if entry.key != CHECKSUM_KEY]
    del content.metadata_props[:]
    content.metadata_props.extend(kept)
    return content


@pytest.mark.parametrize("change", ["one byte", "record"])
def test_a_changed_file_is_found(change: str, weights: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    OnnxNetwork(weights, device="cpu")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 16  # among the weights
    if change == "record":
        model = onnx.load(weights)
        record_of(model).value = "{}"
        content = model.SerializeToString()
    file = tmp_path / "damaged.onnx"
    file.write_bytes(content)
    with pytest.raises(InputError) as raised:
        OnnxNetwork(file, device="cpu")
    assert str(raised.value) == f"{file}: damaged: wrong checksum; use another copy of the file"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("names", f"{'-' * 20_000}1", "names no classes; export it with omr export"),
        ("names", "[" * 100_000, "names no classes; export it with omr export"),
        (RECORD_KEY, "[" * 200_000, "damaged training record: maximum recursion depth exceeded"),
    ],
)
def test_metadata_that_exhaust_a_parser(
    key: str, value: str, message: str, weights: Path, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    content = without_checksum(onnx.load(weights))
    next(entry for entry in content.metadata_props if entry.key == key).value = value
    file = tmp_path / "deep.onnx"
    onnx.save(content, file)
    with pytest.raises(InputError, match=message):
        OnnxNetwork(file, device="cpu")


@pytest.mark.parametrize(
    "change", [{"image_hashes": "?"}, {"image_hashes": 1}, {"training": {}}, None]
)
def test_damaged_files(change: Any, weights: Path, data: Path, tmp_path: Path) -> None:  # noqa: ANN401
    onnx = pytest.importorskip("onnx")
    file = tmp_path / "damaged.onnx"
    content = onnx.load(weights)
    record = record_of(content)
    record.value = json.dumps(json.loads(record.value) | change) if change else "[]"
    onnx.save(without_checksum(content), file)
    with pytest.raises(InputError, match=r"damaged\.onnx: damaged training record: "):
        score_model(file, data)
    file.write_bytes(b"onnx")
    with pytest.raises(InputError, match="is not a valid ONNX file"):
        score_model(file, data)


def test_the_record_comes_back() -> None:
    record = open_weights(weights_path(DEFAULT_WEIGHTS)).training
    assert record is not None
    copy = from_json(record.to_json())
    assert copy is not None
    assert copy.to_json() == record.to_json()
    assert len(copy.images) > 0
    assert from_json("{}") is None
