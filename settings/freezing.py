"""Frozen layers, and the epochs and learning rates of their unfreezing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from class_maps import ConfigError

LR_SCALE = 0.1
"""Default learning-rate factor of unfrozen layers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FreezeOptions:
    """Layers to freeze, and the epochs and learning rates of their unfreezing.

    Raises:
        ConfigError: ``freeze`` does not name a part of a model, epochs are not increasing, or the
            numbers of epochs and of learning rates differ.
    """

    freeze: str = ""
    """``backbone``, ``neck`` (all layers before the head), or a number of layers; empty for
    none."""
    unfreeze_at: tuple[int, ...] = ()
    """Epochs, from 0, at which frozen layers are unfrozen in equal parts, last layers first; empty
    for never."""
    lr_scale: tuple[float, ...] = ()
    """Learning-rate factor for unfrozen layers, one value or one per step; empty for 0.1."""
    warmup_epochs: float = 1.0
    """Epochs in which the learning rate of unfrozen layers rises from 0."""

    def __post_init__(self) -> None:
        if self.freeze not in {"", "backbone", "neck"} and not self._n_layers:
            raise ConfigError(
                f"--freeze {self.freeze}: expected backbone, neck, or a number of layers"
            )
        if self.unfreeze_at and not self.freeze:
            raise ConfigError("--unfreeze-at: no layers are frozen; add --freeze")
        if any(later <= earlier for earlier, later in pairwise((0, *self.unfreeze_at))):
            epochs = comma_separated(self.unfreeze_at)
            raise ConfigError(f"--unfreeze-at {epochs}: expected increasing epochs from 1 on")
        if 0 < self._n_layers < len(self.unfreeze_at):
            raise ConfigError(
                f"--unfreeze-at: more steps ({len(self.unfreeze_at)}) than frozen layers "
                f"({self._n_layers}); give fewer epochs"
            )
        self._check_rates()

    def _check_rates(self) -> None:
        n_steps, scales = len(self.unfreeze_at), self.lr_scale
        if scales and not n_steps:
            raise ConfigError("--lr-scale: no layers are unfrozen; add --unfreeze-at")
        if len(scales) > 1 and len(scales) != n_steps:
            raise ConfigError(
                f"--lr-scale: number of values ({len(scales)}) differs from that of steps "
                f"({n_steps}); give one value, or one per step"
            )
        if not all(0 < scale < math.inf for scale in scales):
            raise ConfigError(f"--lr-scale {comma_separated(scales)}: expected values above 0")
        if not 0 <= self.warmup_epochs < math.inf:
            raise ConfigError(f"--unfreeze-warmup {self.warmup_epochs:g}: expected 0 or more")

    @property
    def _n_layers(self) -> int:
        return int(self.freeze) if self.freeze.isdecimal() else 0

    def steps_done(self, epoch: int) -> int:
        """Count the unfreezing steps up to and including an epoch."""
        return sum(epoch >= begin for begin in self.unfreeze_at)

    def n_frozen(self, at_first: int, steps_done: int) -> int:
        """Count the layers, from the input on, that are frozen after a number of steps.

        Args:
            at_first: Layers frozen in epoch 0.
            steps_done: Number of unfreezing steps done.
        """
        n_steps = len(self.unfreeze_at)
        return at_first * (n_steps - steps_done) // n_steps if n_steps else at_first

    def scale(self, step: int) -> float:
        """Return the learning-rate factor of a step's layers."""
        return self.lr_scale[step if len(self.lr_scale) > 1 else 0] if self.lr_scale else LR_SCALE

    def warm_up(self, step: int, epochs_done: float) -> float:
        """Return the fraction of its learning rate that a step has reached in its warm-up.

        Args:
            step: Unfreezing step from 0.
            epochs_done: Epochs since the start of training.
        """
        since = epochs_done - self.unfreeze_at[step]
        return min(since / self.warmup_epochs, 1.0) if self.warmup_epochs else 1.0


def comma_separated(numbers: Sequence[float]) -> str:
    """Write numbers as the command line takes them: ``3,6``."""
    return ",".join(f"{number:g}" for number in numbers)
