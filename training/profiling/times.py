"""Measured times of training steps."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

PartName = Literal[
    "load", "to device", "forward", "assigner", "rest of loss", "backward", "optimiser"
]
PARTS: tuple[PartName, ...] = (
    *("load", "to device", "forward", "assigner", "rest of loss", "backward", "optimiser"),
)
"""Parts of a training step in their order. ``load`` is the time that a step waits for its batch;
``optimiser`` includes the NaN guard and the average of the weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Time of one part of a training step."""

    name: PartName
    ms: float
    """Mean milliseconds per batch."""
    share: float
    """Fraction of the time of all parts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimes:
    """Mean times of a number of training steps."""

    parts: tuple[Part, ...]
    step_ms: float
    """Sum of the parts."""
    images_per_s: float

    @classmethod
    def of_totals(cls, totals_ms: Mapping[str, float], n_steps: int, n_images: int) -> "StepTimes":
        """Divide the total times of some steps.

        Args:
            totals_ms: Milliseconds of each part over all steps; parts without an entry are omitted.
            n_steps: Number of steps, at least 1.
            n_images: Number of images in all steps.
        """
        total_ms = sum(totals_ms.values())
        return cls(
            parts=tuple(
                Part(name=name, ms=totals_ms[name] / n_steps, share=totals_ms[name] / total_ms)
                for name in PARTS
                if name in totals_ms
            ),
            step_ms=total_ms / n_steps,
            images_per_s=1000 * n_images / total_ms,
        )

    def share(self, *names: PartName) -> float:
        """Return the fraction of the time that some parts take together; 0 for missing parts."""
        return sum(part.share for part in self.parts if part.name in names)

    def ms(self, *names: PartName) -> float:
        """Return the milliseconds per batch of some parts together; 0 for missing parts."""
        return sum(part.ms for part in self.parts if part.name in names)


@dataclass(frozen=True, kw_only=True, slots=True)
class DensityTimes:
    """Steps with one batch of a certain density, with the loss of omr and that of Ultralytics.

    The batch is on the device already, so the parts exclude ``load``.
    """

    name: str
    symbols_per_image: float
    symbols_max: int
    """Symbols of the fullest image."""
    omr: StepTimes
    omr_pairs: int
    """Pairs of a symbol and an anchor point that omr's assigner compares."""
    ultralytics: StepTimes | None
    """None if Ultralytics' loss cannot be used; ``reason`` explains why."""
    ultralytics_pairs: int
    """Pairs that Ultralytics' assigner compares: it pads all images to the fullest one."""
    reason: str
    """Why Ultralytics' loss was not measured; empty if it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepProfile:
    """Profile of the training steps of a configuration."""

    model: str
    device: str
    """Device name: ``cpu``, ``cuda:0`` ..."""
    precision: str
    """Precision of the network: ``bf16``, ``fp16`` or ``fp32``."""
    imgsz: int
    batch: int
    """Images per batch."""
    workers: int
    """Processes that load images; 0 if the training process loads them."""
    steps: int
    """Number of measured steps."""
    symbols_per_image: float
    times: StepTimes
    gpu_busy: float | None
    """Fraction of the time in which the GPU executed kernels; None on a CPU."""
    densities: tuple[DensityTimes, ...]
    """Batches of increasing density; one if the data set has only one batch."""
    advice: str
    """Sentence about what to change."""

    def to_json(self) -> dict[str, Any]:
        """Convert to types that JSON can represent."""
        values = asdict(self)
        return values | values.pop("times")
