"""Attributes of Ultralytics' trainer that other modules use, with their types.

Ultralytics has no type hints, so its classes count as ``Any``. With this protocol mypy checks the
functions that take a trainer.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class ModelAverage(Protocol):
    """Exponential moving average of a model."""

    ema: nn.Module
    decay: Callable[[int], float]
    """Weight of the earlier average in an update, by the number of the update."""
    updates: int
    """Number of steps averaged so far."""


class EarlyStopping(Protocol):
    """Ultralytics' record of the best epoch."""

    best_fitness: float
    best_epoch: int


class UltralyticsTrainer(Protocol):
    """Attributes and methods of Ultralytics' ``DetectionTrainer``."""

    args: Any
    """Ultralytics' arguments, as a namespace."""
    data: dict[str, Any]
    """``names``, ``nc`` and the image files of each split."""
    device: torch.device
    world_size: int
    """Number of processes; 0 or 1 for a single one."""
    resume: bool
    save_dir: Path
    """Run folder."""
    wdir: Path
    """Folder of the weights in ``save_dir``."""
    last: Path
    best: Path
    model: nn.Module
    """Model in training, possibly wrapped for several devices."""
    ema: ModelAverage
    optimizer: Optimizer
    scheduler: LRScheduler
    lr: dict[str, float]
    """Learning rate of each parameter group, for ``results.csv``."""
    scaler: GradScaler
    amp: bool
    stopper: EarlyStopping
    train_loader: Any
    """Ultralytics' ``InfiniteDataLoader``."""
    test_loader: Any
    """Ultralytics' ``InfiniteDataLoader``."""
    epoch: int
    """Current epoch, from 0."""
    epochs: int
    """Epochs of the run."""
    start_epoch: int
    """First epoch of this call."""
    train_time_start: float
    """Time at which training started, in seconds since 1970."""
    loss: Tensor
    """Loss of the current batch, shape ``()``."""
    loss_items: dict[str, Tensor]
    """Parts of the loss of the current batch."""
    tloss: dict[str, Tensor] | None
    """Means of the loss parts so far in the epoch."""
    metrics: dict[str, float]
    """Results of the last validation."""
    fitness: float | None
    best_fitness: float | None

    def add_callback(self, event: str, callback: Callable[..., None]) -> None:
        """Call a function with the trainer at an event."""

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a batch to the device, in the form that the network expects."""
