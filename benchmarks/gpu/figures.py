"""Setup and figures of a measured training run.

This module does not import torch, so that measurements are started without delay.
"""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

PHASES = "load", "prepare", "forward", "assign", "loss", "backward", "step", "log"
"""Phases of a step: waiting for the loader, the batch's transfer, the network, the label
assignment, the rest of the loss, the gradients, the optimiser with guard and moving average,
logging."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """Setup of a training run to measure."""

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
    """Warm-up steps before the measured window."""
    steps: int
    """Steps of the measured window, which may end earlier, after ``max_seconds``."""
    max_seconds: float
    detail_steps: int = 0
    """Steps measured phase by phase, and as many under the profiler; 0 for neither."""
    all_labels: bool = False
    """Whether ``yolo`` keeps the same labels as ``omr``, instead of dropping small ones."""

    @property
    def precision(self) -> str:
        """Precision of the network: bf16 on a GPU, where both trainers support it."""
        return "fp32" if self.device == "cpu" else "bf16"


@dataclass(kw_only=True, slots=True)
class Figures:
    """Measurements of a training run."""

    batch: int
    """Images per step, which Ultralytics halves if memory runs out."""
    images_per_s: float
    step_ms: float
    symbols_per_image: float
    """Labels per image after augmentation."""
    peak_gib: float | None
    """Peak memory allocated on the GPU; None on a CPU."""
    one_by_one: bool
    """Whether Ultralytics' assigner ran out of memory and continued image by image."""
    utilisation: float | None
    """NVML utilisation during the measured window in percent."""
    phases_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds per step of each phase."""
    kernel_ms: float | None = None
    """Milliseconds per step in which at least one kernel ran."""
    kernels_per_step: float | None = None
    waits_per_step: float | None = None
    """Number of host synchronisations."""

    @property
    def busy(self) -> float | None:
        """Percentage of a step of the measured window in which a kernel ran."""
        return None if self.kernel_ms is None else 100 * self.kernel_ms / self.step_ms


def read_figures(file: Path) -> Figures | None:
    """Read the figures that a process has measured so far; None if it has measured none."""
    if not file.is_file():
        return None
    content = json.loads(file.read_text("utf-8"))
    return Figures(**{entry.name: content[entry.name] for entry in fields(Figures)})
