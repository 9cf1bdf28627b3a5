"""A trainer as the callbacks and helpers of the training loop see it."""

from typing import Protocol

from training.engine.freezing import Freezing
from training.engine.run_options import RunOptions
from training.runs.run_state import RunState
from training.runtime.ultralytics_trainer import UltralyticsTrainer


class RunningTrainer(UltralyticsTrainer, Protocol):
    """Ultralytics' attributes, and what :class:`~training.engine.omr_trainer.OmrTrainer` adds."""

    options: RunOptions
    state: RunState
    freezing: Freezing

    def freeze_for_epoch(self, epoch: int) -> None:
        """Freeze and unfreeze layers for an epoch."""
