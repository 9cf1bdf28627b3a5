"""Short trainings on a chosen device."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from settings.training import Precision
from training.config import TrainConfig
from training.engine.omr_trainer import OmrTrainer

HEADS = """groups:
- name: heads
  classes: [notehead]
- name: lines
  classes: [beam, stem]
box: separate
"""

slow = pytest.mark.slow
MODELS = (
    "omr-tiny",
    pytest.param("yolo11n", marks=slow),
    pytest.param("yolo12n", marks=slow),
    pytest.param("yolo26n", marks=slow),
)


def option_of(device: torch.device) -> str:
    """Format a device as a value of ``omr train --device``."""
    return "cpu" if device.type == "cpu" else str(device.index)


def config_of(data: Path, out: Path, device: torch.device, **options: Any) -> TrainConfig:  # noqa: ANN401
    """Configure a training with two steps per epoch, of images with 64 px."""
    settings: dict[str, Any] = {
        "model": "omr-tiny",
        "epochs": 1,
        "imgsz": 64,
        "batch": 3,
        "workers": 0,
        "validate": False,
    }
    return TrainConfig(data=data, out=out, device=option_of(device), **settings | options)


def heads_file(folder: Path) -> str:
    """Write a head config with two groups and a box branch for each."""
    file = folder / "heads.yaml"
    file.write_text(HEADS)
    return str(file)


def available(precision: Precision, device: torch.device) -> Precision:
    """Replace fp16, which only CUDA has, with fp32 on a CPU."""
    return "fp32" if precision == "fp16" and device.type == "cpu" else precision


def losses_in(run: Path) -> list[dict[str, float]]:
    """Read the training losses of each epoch."""
    with (run / "results.csv").open() as file:
        rows = [*csv.DictReader(file, skipinitialspace=True)]
    return [
        {name: float(value) for name, value in row.items() if name.startswith("train/")}
        for row in rows
    ]


def assert_finite(losses: list[dict[str, float]], n_epochs: int) -> None:
    """Check that every epoch has finite losses."""
    assert len(losses) == n_epochs, losses
    assert all(len(row) == 3 for row in losses), losses
    assert all(math.isfinite(value) for row in losses for value in row.values()), losses


def batches(trainer: OmrTrainer) -> Iterator[dict[str, Any]]:
    """List the batches of an epoch in the format of the network."""
    for batch in trainer.train_loader:
        yield trainer.preprocess_batch(batch)


def take_step(trainer: OmrTrainer, batch: dict[str, Any]) -> None:
    """Run a step like Ultralytics' loop."""
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(trainer.state.precision)
    trainer.state.batches_done += 1
    with torch.autocast(trainer.device.type, dtype=half, enabled=half is not None):
        losses, trainer.loss_items = trainer.model(batch)
        trainer.loss = losses.sum()
        trainer.tloss = trainer.loss_items
    trainer.scaler.scale(trainer.loss).backward()
    trainer.optimizer_step()


def weights_of(trainer: OmrTrainer) -> dict[str, Tensor]:
    """Copy the weights and statistics of the model and of its average."""
    states = {"model": trainer.model.state_dict(), "average": trainer.ema.ema.state_dict()}
    return {
        f"{kind} {name}": value.detach().clone()
        for kind, state in states.items()
        for name, value in state.items()
    }
