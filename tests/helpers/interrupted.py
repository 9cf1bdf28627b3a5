"""Trainings that end in the middle, as one does that a user stops."""

import pytest

from training.score_trainer import ScoreTrainer
from training.train_config import TrainConfig
from training.trainer import train


def interrupted(config: TrainConfig, epoch: int, *, after: str = "save_model") -> None:
    """Train until a method of the trainer has done its work in an epoch, counted from 0."""
    stock = getattr(ScoreTrainer, after)

    def die(trainer: ScoreTrainer) -> object:
        result = stock(trainer)
        if trainer.epoch == epoch:
            raise KeyboardInterrupt
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScoreTrainer, after, die)
        with pytest.raises(KeyboardInterrupt):
            train(config)
