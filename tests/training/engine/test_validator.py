from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from ultralytics.utils.ops import xywh2xyxy

from training.config import TrainConfig
from training.engine.validator import OmrValidator
from training.models.checkpoints import open_weights
from training.trainer import train


def guesser(share: float, confidence: float) -> Any:  # noqa: ANN401
    """Postprocessing that finds a share of the symbols of an image, and one false symbol."""

    def guess(validator: OmrValidator, _preds: object) -> list[dict[str, Tensor]]:
        batch = validator.current
        scale = torch.tensor(batch["img"].shape[2:])[[1, 0, 1, 0]]
        predictions = []
        for i in range(len(batch["img"])):
            own = batch["batch_idx"] == i
            boxes = xywh2xyxy(batch["bboxes"][own] * scale)
            labels = batch["cls"][own, 0]
            n_found = int(len(boxes) * share)
            false = torch.tensor([[0.0, 0, 3, 3]])
            predictions.append(
                {
                    "bboxes": torch.cat([boxes[:n_found], false]),
                    "conf": torch.tensor([confidence] * n_found + [confidence / 2]),
                    "cls": torch.cat([labels[:n_found], torch.zeros(1)]),
                    "extra": torch.empty(n_found + 1, 0),
                }
            )
        return predictions

    return guess


def config_of(data: Path, tmp_path: Path, *, validate: bool = True) -> TrainConfig:
    heads = tmp_path / "heads.yaml"
    groups = "{name: heads, classes: [notehead]}, {name: lines, classes: [beam, stem]}"
    heads.write_text(f"groups: [{groups}]\nbox: separate\n")
    return TrainConfig(
        data=data,
        out=tmp_path / "run",
        model="omr-tiny",
        heads=str(heads),
        epochs=2,
        imgsz=64,
        batch=3,
        device="cpu",
        validate=validate,
    )


@pytest.mark.parametrize(("share", "conf"), [(0.5, 0.45), (0.0, None)])
def test_weights_keep_the_threshold_of_their_epoch(
    share: float,
    conf: float | None,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare, start_stock = OmrValidator.preprocess, OmrValidator.init_metrics
    guessers = [guesser(1.0, 0.8), guesser(share, 0.6)]  # of the two epochs

    def remember(validator: OmrValidator, batch: dict[str, Any]) -> dict[str, Any]:
        batch = validator.current = prepare(validator, batch)
        return batch

    def start(validator: OmrValidator, model: object) -> None:
        start_stock(validator, model)
        monkeypatch.setattr(OmrValidator, "postprocess", guessers.pop(0))

    monkeypatch.setattr(OmrValidator, "init_metrics", start)
    monkeypatch.setattr(OmrValidator, "preprocess", remember)
    result = train(config_of(dataset, tmp_path))
    assert not guessers
    for file, expected in ((result.best, 0.6), (result.last, conf)):
        for suffix in (".pt", ".safetensors"):
            training = open_weights(file.with_suffix(suffix)).training
            assert training is not None
            assert training.conf == expected


def test_without_validation_there_is_no_threshold(dataset: Path, tmp_path: Path) -> None:
    result = train(config_of(dataset, tmp_path, validate=False))
    training = open_weights(result.best).training
    assert training is not None
    assert training.conf is None
