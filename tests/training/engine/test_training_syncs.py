"""How often the host waits for the device: once per step, outside of the loss."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from host_syncs import HostSync, HostSyncs
from recording_display import RecordingDisplay
from ultralytics.engine.trainer import BaseTrainer

from training.config import TrainConfig
from training.engine.validator import labelled
from training.trainer import new_trainer

LOSS = "training/losses/", "training/assigners/", "training/heads/"
"""Folders of the loss, whose synchronisations are counted by its own tests."""


def steps_of(config: TrainConfig) -> list[list[HostSync]]:
    """Train, and record each step of Ultralytics' own loop, with the display of the progress."""
    blocks: list[HostSyncs] = []

    def begin(trainer: BaseTrainer) -> None:
        states = trainer.optimizer.state.values()
        blocks.append(HostSyncs(host=[state["step"] for state in states]))  # AdamW counts there
        blocks[-1].__enter__()

    def end(_trainer: BaseTrainer) -> None:
        blocks[-1].__exit__(None, None, None)

    def end_after_the_display(trainer: BaseTrainer) -> None:
        trainer.add_callback("on_train_batch_end", end)

    trainer, display = new_trainer(config), RecordingDisplay()
    trainer.options = replace(trainer.options, make_display=lambda: display)
    trainer.add_callback("on_train_batch_start", begin)
    trainer.add_callback("on_train_start", end_after_the_display)
    trainer.train()
    assert len(display.steps) == len(blocks)
    return [
        [record for record in block.records if not record.place.startswith(LOSS)]
        for block in blocks
    ]


@pytest.mark.parametrize("nominal_batch", [2, 4])  # 4: a step of two batches, and one of the last
def test_the_host_waits_once_per_batch(nominal_batch: int, dataset: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        data=dataset,
        out=tmp_path / "run",
        model="omr-tiny",
        epochs=1,
        imgsz=64,
        batch=2,
        nominal_batch=nominal_batch,
        device="cpu",
        validate=False,
    )
    steps = steps_of(config)
    assert [[record.name for record in step] for step in steps] == [["cpu"]] * 3
    assert {step[0].place.split(":")[0] for step in steps} == {"training/runtime/nan_guard.py"}


@pytest.mark.parametrize("labels", [[], [0, 2, 1, 0]])
def test_predictions_of_classes_without_labels_are_dropped(labels: list[int]) -> None:
    mask = torch.tensor([True, False, True])
    predictions = {
        "cls": torch.tensor(labels, dtype=torch.float32),
        "conf": torch.arange(len(labels)),
        "bboxes": torch.zeros(len(labels), 4),
    }
    with HostSyncs() as syncs:
        kept = labelled(predictions, mask)
    assert kept["cls"].tolist() == [label for label in labels if label != 1]
    assert kept["conf"].tolist() == [i for i, label in enumerate(labels) if label != 1]
    assert kept["bboxes"].shape == (len(kept["cls"]), 4)
    assert syncs.names() == ["nonzero"]
