"""Setup and figures of a measured training.

Nothing here imports torch: the process that starts the measurements is to start them at once.
"""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

PHASES = "load", "prepare", "forward", "assign", "loss", "backward", "step", "log"
"""Phases of a step: waiting for the loader, the batch's transfer, the network, the label
assignment, the rest of the loss, the gradients, the optimiser with guard and average, logging."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """Training to measure."""

    trainer: Literal["omr", "yolo"]
    data: str
    """YOLO folder."""
    out: str
    """Folder for the run and its figures."""
    batch: int
    imgsz: int
    workers: int
    device: str
    """``cpu`` or the number of a GPU."""
    warm_up: int
    """Steps before the clean window."""
    steps: int
    """Steps of the clean window, unless ``max_seconds`` are over before."""
    max_seconds: float
    detail_steps: int = 0
    """Steps measured phase by phase, and as many under the profiler; 0 for neither."""
    all_labels: bool = False
    """Whether ``yolo`` keeps the labels that ``omr`` keeps, instead of dropping small ones."""

    @property
    def precision(self) -> str:
        """Precision of the network: bf16 on a GPU, where both trainers have it."""
        return "fp32" if self.device == "cpu" else "bf16"


@dataclass(kw_only=True, slots=True)
class Figures:
    """Measurements of a training."""

    batch: int
    """Images per step; Ultralytics halves it when memory runs out."""
    images_per_s: float
    step_ms: float
    symbols_per_image: float
    """Labels per image after augmentation."""
    peak_gib: float | None
    """Largest memory allocated on the GPU; None on a CPU."""
    one_by_one: bool
    """Whether Ultralytics' assigner ran out of memory and went on image by image."""
    utilisation: float | None
    """NVML utilisation during the clean window, percent."""
    phases_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds per step of each phase."""
    kernel_ms: float | None = None
    """Time per step in which at least one kernel ran."""
    kernels_per_step: float | None = None
    waits_per_step: float | None = None
    """Times that the host waited for the device."""

    @property
    def busy(self) -> float | None:
        """Share of a step of the clean window in which a kernel ran, percent."""
        return None if self.kernel_ms is None else 100 * self.kernel_ms / self.step_ms


def read_figures(file: Path) -> Figures | None:
    """Read what a process has measured so far; None if it has measured nothing."""
    if not file.is_file():
        return None
    content = json.loads(file.read_text("utf-8"))
    return Figures(**{entry.name: content[entry.name] for entry in fields(Figures)})
