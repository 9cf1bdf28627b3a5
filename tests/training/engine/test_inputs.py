"""Every input of a training is read once before its first step."""

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import interrupted

from training.config import TrainConfig
from training.engine.omr_trainer import OmrTrainer
from training.models import checkpoints
from training.trainer import TrainResult, train

HEADS = """groups:
- {name: heads, classes: [notehead]}
- {name: lines, classes: [beam, stem]}
"""


def reads_of(config: TrainConfig) -> Counter[Path]:
    """Train, and count how often weights, states and label files are read before the first step."""
    counts: Counter[Path] = Counter()
    has_begun = False
    stock_open, stock_load = io.open, torch.load
    stock_read, stock_step = checkpoints._read_pickle, OmrTrainer.optimizer_step

    def count(file: object, *, is_input: bool = True) -> None:
        if is_input and not has_begun:
            counts[Path(str(file))] += 1

    def count_labels(file: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        count(file, is_input=str(file).endswith(".txt"))
        return stock_open(file, *args, **options)

    def count_weights(file: Path, *, trust: bool) -> object:
        count(file)
        return stock_read(file, trust=trust)

    def count_states(file: Any, **options: Any) -> Any:  # noqa: ANN401
        count(file, is_input=str(file).endswith("state.pt") and not options["mmap"])
        return stock_load(file, **options)

    def step(trainer: OmrTrainer) -> None:
        nonlocal has_begun
        has_begun = True
        stock_step(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", count_labels)
        patch.setattr(torch, "load", count_states)
        patch.setattr(checkpoints, "_read_pickle", count_weights)
        patch.setattr(OmrTrainer, "optimizer_step", step)
        train(config)
    assert has_begun
    return counts


def config_of(data: Path, out: Path, **options: Any) -> TrainConfig:  # noqa: ANN401
    settings: dict[str, Any] = {"epochs": 1, "imgsz": 64, "batch": 2, "validate": False}
    return TrainConfig(data=data, out=out, device="cpu", **settings | options)


@pytest.mark.parametrize("option", ["model", "weights"])
def test_weights_and_labels_are_read_once(
    option: str, trained: TrainResult, draw: Callable[..., Path], tmp_path: Path
) -> None:
    data = draw(tmp_path / "data", n_images=2)
    heads = tmp_path / "heads.yaml"
    heads.write_text(HEADS)
    options = {option: str(trained.last), "freeze": "backbone", "heads": str(heads)}
    counts = reads_of(config_of(data, tmp_path / "run", **options))
    assert counts == Counter([*(data / "labels").rglob("*.txt"), trained.last])
    assert not list(data.rglob("*.cache")), "Ultralytics reads no labels"


def test_a_resumed_run_reads_its_inputs_once(draw: Callable[..., Path], tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=2)
    config = config_of(data, tmp_path / "run", model="omr-tiny", epochs=2)
    interrupted(config, epoch=0)
    counts = reads_of(TrainConfig(data=data, out=config.out, device="cpu", resume=True))
    weights = config.out / "weights"
    labels = (data / "labels").rglob("*.txt")
    assert counts == Counter([*labels, weights / "last.pt", weights / "state.pt"])
