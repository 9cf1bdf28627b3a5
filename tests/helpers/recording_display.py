"""Display that records the progress of a training."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.engine.display import TrainingStart, TrainingStep


@dataclass(slots=True)
class RecordingDisplay:
    """Display that is always due."""

    starts: list[TrainingStart] = field(default_factory=list)
    steps: list[TrainingStep] = field(default_factory=list)
    validations: list[tuple[int, int]] = field(default_factory=list)
    """Number of validated batches, and of all batches."""
    epochs: list[tuple[TrainingStep, Mapping[str, float]]] = field(default_factory=list)
    n_stops: int = 0

    def start(self, training: TrainingStart) -> None:
        self.starts.append(training)

    def is_due(self) -> bool:
        return True

    def show_step(self, step: TrainingStep) -> None:
        self.steps.append(step)

    def show_validation(self, batch: int, n_batches: int) -> None:
        self.validations.append((batch, n_batches))

    def show_epoch(self, step: TrainingStep, metrics: Mapping[str, float]) -> None:
        self.epochs.append((step, dict(metrics)))

    def stop(self) -> None:
        self.n_stops += 1
