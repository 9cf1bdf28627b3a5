"""Specification of a training step, by which its memory is predicted or measured."""

from dataclasses import dataclass, field
from typing import Literal

import torch

from class_maps import ConfigError
from settings.head_config import HeadConfig
from settings.training import STRIDE, OptimizerName
from training.losses.loss_options import LossOptions

StepPrecision = Literal["fp32", "bf16", "fp16"]
HALF_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSpec:
    """Everything that the memory of a training step depends on.

    Raises:
        ConfigError: A number is too small, or the precision is unknown or not supported.
    """

    model: str
    """Value of ``omr train --model``."""
    activation: str = ""
    """Value of ``omr train --activation``."""
    trust: bool = False
    """Whether pickled weights may be loaded even if that executes their code."""
    n_classes: int
    heads: HeadConfig | None = None
    """Groups of classes, each with its own head; None for a single head, or for the heads of the
    weights."""
    imgsz: int = 640
    """Input side in pixels, rounded up to a multiple of 32, which ``omr train`` requires."""
    batch: int = 16
    """Images per device."""
    precision: StepPrecision = "fp32"
    optimizer: OptimizerName = "AdamW"
    ema: bool = True
    """Whether a moving average of the weights is kept, as ``omr train`` always does."""
    guard: bool = True
    """Whether the NaN guard of :mod:`training.runtime.nan_guard` keeps good states."""
    accumulates: bool = False
    """Whether gradients of earlier batches exist already."""
    device: Literal["cpu", "cuda"] = "cuda"
    boxes: int = 0
    """Symbols in the fullest batch."""
    boxes_max: int = 0
    """Symbols in the fullest image, on which only dense assigners depend."""
    pairs: int | None = None
    """Candidate pairs of the fullest batch; None assumes ``PAIRS_PER_BOX`` per symbol."""
    loss: LossOptions = field(default_factory=LossOptions)

    def __post_init__(self) -> None:
        least = {"n_classes": 1, "imgsz": 1, "batch": 1, "boxes": 0}
        small = {n: getattr(self, n) for n, low in least.items() if getattr(self, n) < low}
        if small:
            shown = ", ".join(f"{name} ({value})" for name, value in small.items())
            raise ConfigError(f"{shown}: too small; expected boxes from 0, all others from 1")
        known = (*HALF_DTYPES, "fp32")
        if self.precision not in known:
            raise ConfigError(f"precision: {self.precision}: expected one of {', '.join(known)}")
        if self.device == "cpu" and self.precision == "fp16":
            raise ConfigError("precision: fp16: not supported on a CPU; use bf16 or fp32")

    @property
    def side(self) -> int:
        """Height and width of the network input in pixels."""
        return -(-self.imgsz // STRIDE) * STRIDE
