"""Training settings that Ultralytics' own arguments do not cover."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settings.freezing import FreezeOptions
from settings.head_config import HeadConfig
from settings.published import weights_path
from settings.training import Precision, Selection
from training.data.allowed_transforms import Transforms
from training.data.multi_dataset import DatasetOptions
from training.engine.display import MakeDisplay
from training.losses.loss_options import LossOptions
from training.models.checkpoints import weights_file

ON_OPTIONS = "on_options"
"""Callbacks that :class:`~training.engine.omr_trainer.OmrTrainer` runs in its constructor before it
opens the data, in the processes of all devices: Ultralytics runs ``on_pretrain_routine_start`` in
the first one only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Settings that a trainer takes besides Ultralytics' arguments.

    They reach the processes of several devices as a pickled callback, :meth:`apply`.
    """

    model: str
    """Ultralytics' model file, or a file with weights that also describes the model."""
    name: str
    """Model as the user named it when the run was started."""
    datasets: DatasetOptions
    """Data sets, and how they are combined."""
    weights: str
    """File with weights to initialise a new ``model`` from; empty for none."""
    trust: bool
    """Whether loading weights may execute their code."""
    size_prior: bool
    """Whether a new head starts from the symbol sizes of the data."""
    loss: LossOptions
    """Label assignment and loss weights."""
    transforms: Transforms
    """Augmentation other than translation, scaling and brightness."""
    precision: Precision
    """Requested precision; ``RunState.precision`` is the one in use."""
    select: Selection
    """Validation score that selects the best epoch; ``auto`` only before the data are opened."""
    tensorboard: bool
    """Whether to write TensorBoard event files."""
    activations: Mapping[str, str]
    """Activation function of each part that differs from the model's own."""
    recalibrate: int
    """Training images on which batch normalisation is measured again; 0 for none."""
    heads: HeadConfig | None
    """Groups of classes, each with its own head; None for a single head, or for the heads of the
    weights."""
    freezing: FreezeOptions
    """Frozen layers, and when they are unfrozen."""
    warmup_epochs: float
    """Epochs over which the learning rate rises from 0."""
    nominal_batch: int
    """Images per optimiser step over all devices; gradients of smaller batches are accumulated."""
    make_display: MakeDisplay | None
    """Builds the progress display; None to show nothing."""

    @property
    def weights_file(self) -> Path | None:
        """File that the weights are read from; None to train from scratch."""
        chosen = weights_path(self.weights) if self.weights else None
        return weights_file(self.model) or chosen

    def apply(self, trainer: Any) -> None:  # noqa: ANN401
        """Set ``trainer.options``; registered as a callback of ``ON_OPTIONS``."""
        trainer.options = self
