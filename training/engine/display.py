"""Display of the training progress, which the caller provides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingStart:
    """Model and data of a run that starts or resumes."""

    model: str
    """Name or weights file of the model."""
    n_heads: int
    boxes: str
    """Origin of the initial boxes."""
    activations: str
    """Number of uses of each activation function by part, as verified in the model."""
    transfer: str
    """Report on the weights that a new model was initialised from; empty for none."""
    recalibration: str
    """Scores before and after batch normalisation was measured again; empty if it was not."""
    n_images: int
    """Number of training images."""
    n_symbols: int
    """Number of symbols on the training images."""
    epochs_done: int
    """Epochs before this call; 0 for a new run."""
    n_epochs: int
    scores_pages: bool
    """Whether validation also scores pages, and selects the best epoch by them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingStep:
    """Position and measurements after an optimiser step."""

    epoch: int
    """Current epoch, from 1."""
    n_epochs: int
    step: int
    """Steps of this epoch that have started."""
    n_steps: int
    losses: Mapping[str, float]
    """Means of the losses so far in the epoch, by name."""
    rate: float
    """Highest learning rate of all layers."""
    memory_bytes: int
    """Memory reserved on the GPU; on a CPU, memory of the process."""


class TrainingDisplay(Protocol):
    """Display of a training run; its methods are called in the order of events."""

    def start(self, training: TrainingStart) -> None:
        """Show that training starts."""

    def is_due(self) -> bool:
        """Return whether a step or batch would be shown now, rather than skipped."""

    def show_step(self, step: TrainingStep) -> None:
        """Show a step."""

    def show_validation(self, batch: int, n_batches: int) -> None:
        """Show how many batches have been validated."""

    def show_epoch(self, step: TrainingStep, metrics: Mapping[str, float]) -> None:
        """Show an epoch after its validation.

        Args:
            step: Last step of the epoch.
            metrics: Validation metrics by name; empty without validation.
        """

    def stop(self) -> None:
        """Restore the terminal after training, even after an error."""


MakeDisplay: TypeAlias = Callable[[], TrainingDisplay]
"""Function that builds a display in the training process; pickled by its name."""
