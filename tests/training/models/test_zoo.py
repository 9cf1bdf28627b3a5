from pathlib import Path

import pytest
from torch import nn
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from class_maps import ConfigError, InputError
from training.memory.meta_model import trained_model
from training.models.building import activation_kept
from training.models.checkpoints import load_weights
from training.models.zoo import ARCHITECTURES, known_models, model_file, read_model
from training.trainer import TrainResult


def test_every_size_of_every_family_is_known() -> None:
    names = known_models()
    families = ("yolov8", "yolo11", "yolo12", "yolo26")
    assert {f"{family}{size}" for family in families for size in "nsmlx"} <= set(names)
    assert {"omr-tiny", "yolov7-tiny", "yolov8n-p2"} <= set(names)
    assert not [name for name in names if "seg" in name or "cls" in name]


def test_a_name_becomes_a_description_not_weights(trained: TrainResult, tmp_path: Path) -> None:
    assert model_file("yolo12s") == "yolo12s.yaml"
    assert model_file(str(trained.best)) == str(trained.best)
    weights = tmp_path / "best.pt"
    weights.touch()
    with pytest.raises(
        InputError, match=r"best\.pt: contains no Ultralytics detection model; give the"
    ):
        load_weights(weights)


@pytest.mark.parametrize("name", known_models())
def test_a_model_file_is_read_like_ultralytics_reads_it(name: str) -> None:
    assert read_model(model_file(name)) == yaml_model_load(model_file(name))


@pytest.mark.parametrize("name", ["yolo11n.yaml", "yolo11.yaml"])
def test_a_file_in_the_current_folder_is_not_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained_model("yolo11n", 3, real=False).yaml
    (tmp_path / name).write_text("backbone: []")
    monkeypatch.chdir(tmp_path)
    assert trained_model("yolo11n", 3, real=False).yaml == expected


@pytest.mark.parametrize(("name", "millions"), [("omr-tiny", 1.0), ("yolov7-tiny", 5.2)])
def test_every_model_of_our_own_can_be_built(name: str, millions: float) -> None:
    names = sorted(file.stem for file in ARCHITECTURES.glob("*.yaml"))
    assert names == ["omr-tiny", "omr-tiny-p2", "yolov7-tiny"]
    model = built(name)
    assert model.stride.tolist() == [8, 16, 32]
    assert n_weights(model) == pytest.approx(millions * 1e6, rel=0.03)


def test_yolov7_tiny_has_the_published_layers_up_to_its_head() -> None:
    """Weights of a convolution, in x out x side x side, and of its norm, two a channel."""
    layers = [n_weights(layer) for layer in built("yolov7-tiny").model]
    assert layers[:2] == [928, 18_560]  # 3 x 32 x 9 + 2 x 32 and 32 x 64 x 9 + 2 x 64
    # 64 x 32 + 64 twice, 32 x 32 x 9 + 64 twice, and 128 x 64 + 128
    assert layers[2:8] == [2_112, 2_112, 9_280, 9_280, 0, 8_320]
    # Four times the first block's, less the norms'
    assert [sum(layers[i : i + 7]) for i in (8, 15, 22)] == [115_456, 460_288, 1_838_080]
    # 512 x 256 + 512 twice, 1024 x 256 + 512 over the poolings, 512 x 256 + 512 over both sides
    assert layers[29:38] == [131_584, 131_584, 0, 0, 0, 0, 262_656, 0, 131_584]
    # A lateral pair of 256 x 128 + 256, and a block: 2 x 16,512 + 2 x 36,992 + 33,024
    assert layers[38:48] == [33_024, 0, 33_024, 0, 16_512, 16_512, 36_992, 36_992, 0, 33_024]
    assert layers[48:58] == [8_320, 0, 8_320, 0, 4_160, 4_160, 9_280, 9_280, 0, 8_320]
    # 64 x 128 x 9 + 256 and 128 x 256 x 9 + 512 go down, each with a block
    assert layers[58:66] == [73_984, 0, 16_512, 16_512, 36_992, 36_992, 0, 33_024]
    assert layers[66:74] == [295_424, 0, 65_792, 65_792, 147_712, 147_712, 0, 131_584]
    # What the published model has besides: three 3x3 convolutions, and 3 x 85 outputs a level.
    theirs = sum(k * 2 * k * 9 + 4 * k + (2 * k + 1) * 255 for k in (64, 128, 256))
    assert sum(layers[:74]) + theirs == pytest.approx(6.2e6, abs=0.05e6)


def test_an_activation_stays_with_the_model_that_names_it() -> None:
    acts = [
        {type(layer.act) for layer in built(name).modules() if isinstance(layer, Conv)}
        for name in ("yolov7-tiny", "omr-tiny")
    ]
    assert acts == [{nn.LeakyReLU}, {nn.SiLU}]


def built(name: str) -> DetectionModel:
    with activation_kept():
        return DetectionModel(model_file(name), nc=42, verbose=False)


def n_weights(module: nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("", "--model: unknown: ; use yolov8, yolo11"),
        ("yolo11", "--model: unknown: yolo11 (did you mean yolo11"),
        ("yolov11n", "--model: unknown: yolov11n (did you mean yolo11n?); use yolov8"),
        ("resnet50", "--model: unknown: resnet50; use yolov8"),
    ],
)
def test_unknown_models(model: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        model_file(model)
    assert str(error.value).startswith(message)
