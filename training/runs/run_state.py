"""Mutable state of a training run that Ultralytics' trainer does not hold."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from settings.training import Precision
from training.data.augmentation import SymbolCounter
from training.models.training_record import TrainingRecord
from training.models.transfer import TransferReport


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierRun:
    """Saved values that a resumed run restores once its trainer is set up."""

    seconds: float = 0.0
    """Training time so far."""
    criterion: dict[str, Any] = field(default_factory=dict)
    """Values of the loss that change from epoch to epoch."""
    guard: dict[str, int] = field(default_factory=dict)
    """History of the guard against non-finite losses."""


@dataclass(kw_only=True, slots=True)
class RunState:
    """Counters and results of a training run, updated as it proceeds."""

    state_file: Path
    """File with the resume state."""
    counts: Tensor
    """Symbols seen and dropped by augmentation in all finished epochs, int64, shape ``(2, C)``."""
    counter: SymbolCounter = field(default_factory=lambda: SymbolCounter(0, 0))
    """Counts of the epochs in progress."""
    precision: Precision = "fp32"
    """Precision in use: ``bf16``, ``fp16`` or ``fp32``."""
    priors: Tensor | None = None
    """Initial box size of each level; None if the head was not initialised from symbol sizes."""
    training: TrainingRecord | None = None
    """Record to save with the weights; None outside of training."""
    conf: float | None = None
    """Confidence threshold chosen in the last validation; None without validation."""
    transferred: TransferReport | None = None
    """Report on the weights that the model was initialised from; None for a model from scratch."""
    activations: dict[str, str] = field(default_factory=dict)
    """Activation functions that the model must have, see :mod:`training.models.activations`."""
    recalibration: dict[str, Any] | None = None
    """Images on which batch normalisation was measured again, and the validation score before and
    after; None if it was not."""
    files: list[str] = field(default_factory=list)
    """Images of the batches since the last optimiser step."""
    batches_done: int = 0
    """Batches of this epoch."""
    batches_accumulated: int = 0
    """Batches since the last optimiser step."""
    batches_per_step: int = 1
    """Batches whose gradients make up one optimiser step."""
    earlier: EarlierRun = field(default_factory=EarlierRun)
    """Saved values of the run that is resumed."""
