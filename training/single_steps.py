"""Training steps outside of a run: of the learning-rate range test, a trial and a profile."""

import contextlib
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from ultralytics.utils.torch_utils import autocast, unset_deterministic

from class_maps import ConfigError
from training.config import TrainConfig
from training.data.worker_errors import without_worker_traceback
from training.engine.omr_trainer import OmrTrainer
from training.runtime.distributed import n_started
from training.trainer import ready_trainer


def check_one_device(config: TrainConfig, name: str) -> None:
    """Check that a training run would use one device only.

    Args:
        config: Configuration of the training run.
        name: Option or command that takes the steps.

    Raises:
        ConfigError: There are several devices.
    """
    if "," in config.device or n_started():
        raise ConfigError(f"{name}: runs on one device; give one --device, without torchrun")


@contextlib.contextmanager
def temporary_trainer(config: TrainConfig) -> Iterator[OmrTrainer]:
    """Set up a training run in a temporary folder, ready for its first step.

    Args:
        config: Configuration of a new run on one device; its ``out`` is not used.

    Yields:
        The trainer; it cannot be used after the block.

    Raises:
        ConfigError: The run could not be started.
        InputError: A data set or the weights cannot be read, or do not match.
    """
    # The files that a trainer writes at its start would look like an interrupted run.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        trainer = ready_trainer(replace(config, out=Path(folder) / "run"))
        trainer._model_train()
        trainer.epoch = 0
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
    trainer.guard = None  # the caller needs to see a loss that is not finite
    upcoming = batches(trainer)
    base = trainer.args.lr0

    def step(rate: float) -> float:
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate * group["initial_lr"] / base
        loss, n_images = 0.0, 0
        for _ in range(trainer.state.batches_per_step):
            batch = next(upcoming)
            loss += _backward(trainer, batch)
            n_images += len(batch["img"])
            if not math.isfinite(loss):
                break
            trainer.optimizer_step()
        return loss / n_images

    return step


def batches(trainer: OmrTrainer) -> Iterator[dict[str, Any]]:
    """Yield batches epoch by epoch, without end."""
    for epoch in count():
        trainer.train_loader.sampler.set_epoch(epoch)
        yield from trainer.train_loader


def in_precision(trainer: OmrTrainer) -> AbstractContextManager[None]:
    """Compute in the training precision, as Ultralytics' loop does."""
    half = torch.bfloat16 if trainer.args.amp == "bf16" else trainer.amp
    context: AbstractContextManager[None] = autocast(half, device=trainer.device.type)
    return context


def _backward(trainer: OmrTrainer, batch: dict[str, Any]) -> float:
    """Accumulate the gradient of a batch, and return its loss."""
    with in_precision(trainer):
        losses, _ = trainer.model(trainer.preprocess_batch(batch))
        loss = losses.sum()
    trainer.scaler.scale(loss).backward()
    return float(loss.detach())
