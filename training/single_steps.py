"""Training steps outside of a run: of the learning-rate range test, and of a trial."""

import contextlib
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from ultralytics.utils.torch_utils import autocast, unset_deterministic

from training.config import TrainConfig
from training.data.worker_errors import without_worker_traceback
from training.engine.omr_trainer import OmrTrainer
from training.trainer import ready_trainer


@contextlib.contextmanager
def temporary_trainer(config: TrainConfig) -> Iterator[OmrTrainer]:
    """Set up a training run that leaves no files, stopping short of its first step.

    Args:
        config: Configuration of a new run; its ``out`` is not used.

    Raises:
        ConfigError: The run could not be started.
        InputError: A data set or the weights cannot be read, or do not match.
    """
    # The files that a trainer writes at its start would look like an interrupted run.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        trainer = ready_trainer(replace(config, out=Path(folder) / "run"))
        trainer.guard = None  # the caller needs to see a loss that is not finite
        try:
            with without_worker_traceback():
                yield trainer
        finally:
            unset_deterministic()
            for loader in (trainer.train_loader, trainer.test_loader):
                if hasattr(loader, "close"):  # not in the oldest Ultralytics
                    loader.close()


def steps_of(trainer: OmrTrainer) -> Callable[[float], float]:
    """Build a function that takes one step at a learning rate and returns the loss before it."""
    trainer._model_train()
    trainer.epoch = 0
    batches = _batches(trainer)
    base = trainer.args.lr0

    def step(rate: float) -> float:
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate * group["initial_lr"] / base
        loss, n_images = 0.0, 0
        for _ in range(trainer.state.batches_per_step):
            batch = next(batches)
            loss += _backward(trainer, batch)
            n_images += len(batch["img"])
            if not math.isfinite(loss):
                break
            trainer.optimizer_step()
        return loss / n_images

    return step


def _backward(trainer: OmrTrainer, batch: dict[str, Any]) -> float:
    """Accumulate the gradient of a batch, and return its loss."""
    half = torch.bfloat16 if trainer.args.amp == "bf16" else trainer.amp
    with autocast(half, device=trainer.device.type):
        losses, _ = trainer.model(trainer.preprocess_batch(batch))
        loss = losses.sum()
    trainer.scaler.scale(loss).backward()
    return float(loss.detach())


def _batches(trainer: OmrTrainer) -> Iterator[dict[str, Any]]:
    """Yield batches epoch by epoch, without end."""
    for epoch in count():
        trainer.train_loader.sampler.set_epoch(epoch)
        yield from trainer.train_loader
