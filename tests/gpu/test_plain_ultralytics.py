"""Plain Ultralytics trainings on the device with our assigners."""

from pathlib import Path
from typing import Any

import pytest
import torch
from device_trainings import assert_finite, losses_in, option_of, slow
from ultralytics import YOLO
from ultralytics.engine.trainer import BaseTrainer

import omr
from training.assigners.ultralytics_drop_in import (
    SparseDropIn,
    SparseSimOTADropIn,
    unpatch_ultralytics,
)
from training.runtime import offline

KINDS = {"tal": SparseDropIn, "simota": SparseSimOTADropIn}


@pytest.mark.gpu(covers=["training.runtime.offline:amp_works"])
@pytest.mark.parametrize("assigner", ["tal", pytest.param("simota", marks=slow)])
@pytest.mark.parametrize("model", ["yolo11n", pytest.param("yolo26n", marks=slow)])
def test_a_plain_training(
    model: str,
    assigner: Any,  # noqa: ANN401
    device: torch.device,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offline.block_network()
    # For a checkpoint, Ultralytics reads its results with polars, which a GPU machine may lack.
    monkeypatch.setattr(BaseTrainer, "read_results_csv", lambda _trainer: {})
    kinds: list[type] = []
    yolo = YOLO(f"{model}.yaml")
    yolo.add_callback("on_train_batch_end", lambda trainer: kinds.extend(assigners_of(trainer)))
    omr.patch_ultralytics(assigner)
    try:
        yolo.train(
            data=str(dataset / "data.yaml"),
            project=str(tmp_path),
            name="run",
            epochs=1,
            imgsz=64,
            batch=3,
            nbs=3,
            workers=0,
            device=option_of(device),
            amp=True,
            **dict.fromkeys(("plots", "val", "pretrained"), False),
        )
    finally:
        unpatch_ultralytics()
    n_branches = 2 if model == "yolo26n" else 1
    assert kinds == [KINDS[assigner]] * n_branches * 2, "of two steps"
    assert_finite(losses_in(tmp_path / "run"), 1)


def assigners_of(trainer: Any) -> list[type]:  # noqa: ANN401
    """List the assigner types of a trainer's loss, one per branch of the head."""
    criterion = trainer.model.criterion
    branches = [getattr(criterion, name, None) for name in ("one2many", "one2one")]
    losses = [branch for branch in branches if branch is not None] or [criterion]
    return [type(loss.assigner) for loss in losses]
