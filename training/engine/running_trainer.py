"""A trainer as the callbacks and helpers of the training loop see it."""

from typing import Protocol

from training.engine.freezing import Freezing
from training.engine.inputs import TrainingInputs
from training.engine.run_options import RunOptions
from training.runs.run_state import RunState
from training.runtime.ultralytics_trainer import UltralyticsTrainer


class RunningTrainer(UltralyticsTrainer, Protocol):
    """Ultralytics' attributes and those of :class:`~training.engine.omr_trainer.OmrTrainer`."""

    inputs: TrainingInputs
    options: RunOptions
    state: RunState
    freezing: Freezing

    def validate(self) -> tuple[dict[str, float] | None, float | None]:
        """Validate the moving average of the model; returns metrics and fitness."""

    def freeze_for_epoch(self, epoch: int) -> None:
        """Freeze and unfreeze layers for an epoch."""
