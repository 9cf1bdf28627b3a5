"""Learning rate and warm-up by rules from the batch."""

import math
from dataclasses import dataclass

from class_maps import ConfigError
from settings.training import BASE_BATCH, BASE_LR

LARGE_BATCH = 128
"""Images a step from which on the rate rises slowly."""
LARGE_WARMUP = 5.0
"""Epochs that it then takes at least."""

AUTO = {"auto": "sqrt", "auto:sqrt": "sqrt", "auto:linear": "linear"}
"""Rules by the words that a user writes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A learning rate, and how slowly it rises."""

    lr: float
    warmup_epochs: float
    rule: str = ""
    """What it comes from, for a person; empty for a number that was given."""


def resolved_rate(text: str, *, batch: int, warmup_epochs: float, given: bool = False) -> Rate:
    """Read a learning rate as a user gives it.

    Args:
        text: A number; ``auto:sqrt``, twice the base rate for four times the base batch, for Adam;
            ``auto:linear``, four times the rate, for plain descent; ``auto`` is ``auto:sqrt``.
        batch: Images a step, over all devices.
        warmup_epochs: Of a number or a small batch.
        given: Whether a user asked for that warm-up, so that no rule makes it longer.

    Raises:
        ConfigError: It is none of those.

    Source: square root: Malladi et al., https://arxiv.org/abs/2205.10287; linear, and the warm-up:
    Goyal et al., https://arxiv.org/abs/1706.02677, section 2.
    """
    rule = AUTO.get(text)
    if not rule:
        try:
            return Rate(lr=float(text), warmup_epochs=warmup_epochs)
        except ValueError:
            raise ConfigError(f"lr: {text}: expected a number, {', '.join(AUTO)}") from None
    factor = batch / BASE_BATCH
    if batch >= LARGE_BATCH and not given:
        warmup_epochs = max(warmup_epochs, LARGE_WARMUP)
    return Rate(
        lr=BASE_LR * (factor if rule == "linear" else math.sqrt(factor)),
        warmup_epochs=warmup_epochs,
        rule=f"{rule} rule from {BASE_LR:g} at {BASE_BATCH} images a step to {batch}",
    )
