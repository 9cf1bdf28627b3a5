"""Trainings that end in the middle, as one does that a user stops."""

import pytest

from training.config import TrainConfig
from training.engine.omr_trainer import OmrTrainer
from training.trainer import train


def interrupted(config: TrainConfig, epoch: int) -> str:
    """Train until an epoch, counted from 0, is over and saved; return what is said then."""
    stock = OmrTrainer.save_model

    def die(trainer: OmrTrainer) -> bool:
        saved = stock(trainer)
        if trainer.epoch == epoch:
            raise KeyboardInterrupt
        return saved

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmrTrainer, "save_model", die)
        with pytest.raises(KeyboardInterrupt) as raised:
            train(config)
    return str(raised.value)
