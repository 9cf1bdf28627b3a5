from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from ultralytics.utils.ops import xywh2xyxy

from training.config import TrainConfig
from training.engine.confidence import best_confidence
from training.engine.validator import OmrValidator
from training.models.checkpoints import open_weights
from training.trainer import train


@pytest.mark.parametrize(
    ("predictions", "n_truths", "expected"),
    [
        ([], 0, None),
        ([], 5, None),
        ([(0.9, False)], 5, None),
        ([(0.9, True)], 1, 0.45),
        ([(0.3, False), (0.9, True)], 1, 0.6),
        ([(0.9, True), (0.8, False), (0.7, True), (0.2, False)], 2, 0.45),
        # The second match costs five false predictions.
        ([(0.9, True), *[(0.8, False)] * 5, (0.7, True)], 2, 0.85),
        # Equal scores are all above the threshold, or none.
        ([(0.9, True), (0.5, True), *[(0.5, False)] * 5], 2, 0.7),
        ([(0.12344, True), (0.1, False)], 1, 0.1117),
    ],
)
def test_the_threshold_has_the_highest_f1(
    predictions: list[tuple[float, bool]], n_truths: int, expected: float | None
) -> None:
    scores = np.array([score for score, _ in predictions], np.float32)
    matched = np.array([is_match for _, is_match in predictions], np.bool_)
    assert best_confidence(matched, scores, n_truths) == expected


@given(
    predictions=st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=30),
    n_missed=st.integers(0, 10),
)
def test_no_other_threshold_is_better(predictions: list[tuple[int, bool]], n_missed: int) -> None:
    scores = np.array([score / 20 for score, _ in predictions], np.float32)
    matched = np.array([is_match for _, is_match in predictions], np.bool_)
    n_truths = int(matched.sum()) + n_missed

    def f1(threshold: float) -> float:
        kept = scores > threshold
        total = int(kept.sum()) + n_truths
        return 2 * int((kept & matched).sum()) / total if total else 0.0

    best = best_confidence(matched, scores, n_truths)
    highest = max(f1(threshold / 40) for threshold in range(40))
    assert (best is None) == (highest == 0)
    assert best is None or f1(best) == highest


def guess_after(epoch: int) -> Any:  # noqa: ANN401
    """Postprocessing that finds all symbols in the first epoch, with more confidence."""

    def guess(validator: OmrValidator, _preds: object) -> list[dict[str, Tensor]]:
        batch = validator.current
        scale = torch.tensor(batch["img"].shape[2:])[[1, 0, 1, 0]]
        predictions = []
        for i in range(len(batch["img"])):
            own = batch["batch_idx"] == i
            boxes = xywh2xyxy(batch["bboxes"][own] * scale)
            labels = batch["cls"][own, 0]
            n_found = len(boxes) if epoch == 0 else len(boxes) // 2
            false = torch.tensor([[0.0, 0, 3, 3]])
            scores = [0.8 if epoch == 0 else 0.5] * n_found
            predictions.append(
                {
                    "bboxes": torch.cat([boxes[:n_found], false]),
                    "conf": torch.tensor([*scores, 0.4 if epoch == 0 else 0.1]),
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


def test_weights_keep_the_threshold_of_their_epoch(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = OmrValidator.preprocess
    epochs: list[int] = []

    def remember(validator: OmrValidator, batch: dict[str, Any]) -> dict[str, Any]:
        batch = validator.current = prepare(validator, batch)
        return batch

    def start(validator: OmrValidator, model: object) -> None:
        epochs.append(len(epochs))
        start_stock(validator, model)
        monkeypatch.setattr(OmrValidator, "postprocess", guess_after(epochs[-1]))

    start_stock = OmrValidator.init_metrics
    monkeypatch.setattr(OmrValidator, "init_metrics", start)
    monkeypatch.setattr(OmrValidator, "preprocess", remember)
    result = train(config_of(dataset, tmp_path))
    assert epochs == [0, 1]
    for file, expected in ((result.best, 0.6), (result.last, 0.3)):
        for suffix in (".pt", ".safetensors"):
            training = open_weights(file.with_suffix(suffix)).training
            assert training is not None
            assert training.conf == pytest.approx(expected)


def test_without_validation_there_is_no_threshold(dataset: Path, tmp_path: Path) -> None:
    result = train(config_of(dataset, tmp_path, validate=False))
    training = open_weights(result.best).training
    assert training is not None
    assert training.conf is None
