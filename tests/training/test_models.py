from pathlib import Path

import pytest
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError, InputError
from training.models import OWN, known_models, model_file
from training.trainer import TrainResult


def test_every_size_of_every_family_is_known() -> None:
    names = known_models()
    families = ("yolov8", "yolo11", "yolo12", "yolo26")
    assert {f"{family}{size}" for family in families for size in "nsmlx"} <= set(names)
    assert {"omr-tiny", "yolov8n-p2"} <= set(names)
    assert not [name for name in names if "seg" in name or "cls" in name]


def test_a_name_becomes_a_description_not_weights(trained: TrainResult, tmp_path: Path) -> None:
    assert model_file("yolo12s") == "yolo12s.yaml"
    assert model_file(str(trained.best)) == str(trained.best)
    weights = tmp_path / "best.pt"
    weights.touch()
    with pytest.raises(InputError, match=r"best\.pt: holds no Ultralytics detection model; give a"):
        model_file(str(weights))


def test_every_model_of_our_own_can_be_built() -> None:
    names = sorted(file.stem for file in OWN.glob("*.yaml"))
    assert names == ["omr-tiny", "omr-tiny-p2"]
    model = DetectionModel(model_file("omr-tiny"), nc=42, verbose=False)
    assert model.stride.tolist() == [8, 16, 32]
    assert sum(weights.numel() for weights in model.parameters()) == pytest.approx(1.0e6, rel=0.03)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("", "model: unknown: ; take yolov8, yolo11"),
        ("yolo11", "model: unknown: yolo11 (did you mean yolo11"),
        ("yolov11n", "model: unknown: yolov11n (did you mean yolo11n?); take yolov8"),
        ("resnet50", "model: unknown: resnet50; take yolov8"),
    ],
)
def test_unknown_models(model: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        model_file(model)
    assert str(error.value).startswith(message)
