"""Batch normalisation measured again on training images, and training from there."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recording_display import RecordingDisplay
from torch import nn

from class_maps import ConfigError
from settings.published import DEFAULT_WEIGHTS, weights_path
from training.config import TrainConfig
from training.engine.recalibration import measure_statistics
from training.models.activations import activation_uses, set_activations
from training.models.checkpoints import load_weights
from training.trainer import ready_trainer, train


@pytest.fixture
def config(dataset: Path, tmp_path: Path) -> TrainConfig:
    """Training from SiLU weights with ReLU in the backbone."""
    return TrainConfig(
        data=dataset,
        out=tmp_path / "run",
        model=DEFAULT_WEIGHTS,
        activation="backbone=relu",
        recalibrate=4,
        epochs=2,
        imgsz=64,
        batch=2,
        warmup_epochs=1,
        device="cpu",
    )


def test_statistics_are_means_over_batches() -> None:
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(3, momentum=0.03)
    net = nn.Sequential(nn.Conv2d(3, 3, 1), layer, nn.ReLU(), nn.Dropout()).eval()
    batches = [torch.rand(2, 3, 4, 4), torch.rand(1, 3, 8, 4)]
    measure_statistics(net, iter(batches))
    with torch.no_grad():
        inputs = [net[0](images).transpose(0, 1).flatten(1) for images in batches]  # (3, N)
    means = torch.stack([values.mean(1) for values in inputs]).mean(0)
    variances = torch.stack([values.var(1) for values in inputs]).mean(0)
    assert torch.allclose(layer.running_mean, means, atol=1e-6)  # type: ignore[arg-type]
    assert torch.allclose(layer.running_var, variances, atol=1e-6)  # type: ignore[arg-type]
    assert (layer.momentum, [part.training for part in net.modules()]) == (0.03, [False] * 5)


def test_no_batch_is_large_enough() -> None:
    with pytest.raises(ConfigError, match=r"^--recalibrate: the images are too small; use more"):
        measure_statistics(nn.BatchNorm2d(3), [])


def test_a_run_from_weights_with_another_activation(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is interrupted after an epoch, and keeps its activations when it is resumed."""

    def interrupt(*_: object) -> None:
        raise ValueError("interrupted")

    first, second = RecordingDisplay(), RecordingDisplay()
    monkeypatch.setattr(RecordingDisplay, "show_epoch", interrupt)
    with pytest.raises(ValueError, match="interrupted"):
        train(config, make_display=lambda: first)
    monkeypatch.undo()
    result = train(replace(config, resume=True), make_display=lambda: second)
    head = {"silu": 12}
    assert result.activations == {"backbone": {"relu": 19}, "neck": {"silu": 8}, "head": head}
    assert result.recalibration is not None
    assert result.recalibration["images"] == 4
    (start,), (resumed,) = first.starts, second.starts
    assert start.activations == "backbone 19 relu, neck 8 silu, head 12 silu"
    assert resumed.activations == start.activations
    scores = (f"{result.recalibration[when]:.3f}" for when in ("before", "after"))
    text = f"batch normalisation measured on 4 images: mAP50-95 {' -> '.join(scores)}"
    assert start.recalibration == text
    report = json.loads((config.out / "transfer.json").read_text())
    assert report["activations"] == {"backbone": "silu -> relu"}
    uses = activation_uses(load_weights(result.last))
    assert [*uses.values()].count("relu") == 19


def test_model_and_average_are_recalibrated(config: TrainConfig) -> None:
    trainer = ready_trainer(replace(config, validate=False))
    name = "model.0.bn.running_mean"
    stored = load_weights(weights_path(DEFAULT_WEIGHTS)).state_dict()[name]
    own, average = (model.state_dict()[name] for model in (trainer.model, trainer.ema.ema))
    assert torch.equal(own, average)
    assert not torch.allclose(own, stored)
    assert trainer.state.recalibration == {"images": 4, "before": None, "after": None}


def test_other_activations_are_not_written(config: TrainConfig) -> None:
    trainer = ready_trainer(replace(config, recalibrate=0))
    assert not trainer.wdir.joinpath("last.pt").exists()
    model: Any = trainer.ema.ema
    set_activations(model, {"head": "relu"})
    trainer.epoch = 0
    with pytest.raises(ConfigError) as error:
        trainer.save_model()
    assert "not written: 12 of 39 activations differ: model.15.cv2.0.0.act is relu" in str(
        error.value
    )
    assert not trainer.wdir.joinpath("last.pt").exists()


def test_a_model_from_scratch_has_nothing_to_recalibrate(config: TrainConfig) -> None:
    with pytest.raises(ConfigError) as error:
        replace(config, model="yolo11n")
    assert str(error.value) == (
        "--recalibrate 4: --model yolo11n starts from scratch, and has no statistics to measure "
        "again; add --weights, or drop the option"
    )
