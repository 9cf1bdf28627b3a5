"""Learning rate: its scaling to the batch size, its warm-up, and its fall during a run."""

import math
from dataclasses import dataclass

from class_maps import ConfigError
from settings.training import BASE_BATCH, BASE_LR

LARGE_BATCH = 128
"""Number of images per step at which the warm-up becomes longer."""
LARGE_WARMUP = 5.0
"""Minimum warm-up of large batches, in epochs."""

AUTO = {"auto": "sqrt", "auto:sqrt": "sqrt", "auto:linear": "linear"}
"""Scaling rules, by the value of ``--lr``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """Learning rate and the length of its warm-up."""

    lr: float
    warmup_epochs: float
    rule: str = ""
    """Description of the scaling; empty if the user gave a number."""


def used_warmup(epochs: int, warmup_epochs: float) -> float:
    """Limit a warm-up to the epochs before the last one, or to a tenth of a single epoch.

    Args:
        epochs: Epochs of the run.
        warmup_epochs: Requested warm-up in epochs.
    """
    return min(warmup_epochs, epochs - 1.0 or 0.1)


def warmed_up(batches_done: int, n_warmup: int) -> float:
    """Return the completed fraction of a warm-up, 0 to 1.

    Args:
        batches_done: Batches since the start of training.
        n_warmup: Batches of the warm-up.
    """
    return min(batches_done / n_warmup, 1.0) if n_warmup else 1.0


def rate_factor(batches_done: int, *, n_batches: int, n_warmup: int, final: float) -> float:
    """Return the factor of the learning rate for the step that starts with a batch.

    The factor rises linearly from 0 to 1 in the warm-up, and then falls linearly to its final value
    at the end of the last batch.

    Args:
        batches_done: Batches before it since the start of training.
        n_batches: Batches of the whole run.
        n_warmup: Batches of the warm-up, fewer than ``n_batches``.
        final: Factor at the end of the run.

    Source: a fall to zero: Bergsma et al., https://arxiv.org/abs/2502.15938.
    """
    if batches_done < n_warmup:
        return warmed_up(batches_done, n_warmup)
    return 1.0 - (1.0 - final) * (batches_done - n_warmup) / (n_batches - n_warmup)


def resolved_rate(text: str, *, batch: int, warmup_epochs: float, given: bool = False) -> Rate:
    """Parse the value of ``--lr``, and scale the rate if it names a rule.

    Args:
        text: Number or scaling rule: ``auto:sqrt``, or ``auto`` for short, doubles the base rate
            for four times the base batch and suits Adam; ``auto:linear`` quadruples it and suits
            plain SGD.
        batch: Images per step, over all devices.
        warmup_epochs: Warm-up in epochs if the rate is a number or the batch is small.
        given: Whether the user set the warm-up, which then is not extended.

    Raises:
        ConfigError: The text is neither a number nor a rule.

    Source: square root: Malladi et al., https://arxiv.org/abs/2205.10287; linear, and the warm-up:
    Goyal et al., https://arxiv.org/abs/1706.02677, section 2.
    """
    rule = AUTO.get(text)
    if not rule:
        try:
            return Rate(lr=float(text), warmup_epochs=warmup_epochs)
        except ValueError:
            raise ConfigError(f"--lr {text}: expected a number, {', '.join(AUTO)}") from None
    factor = batch / BASE_BATCH
    if batch >= LARGE_BATCH and not given:
        warmup_epochs = max(warmup_epochs, LARGE_WARMUP)
    return Rate(
        lr=BASE_LR * (factor if rule == "linear" else math.sqrt(factor)),
        warmup_epochs=warmup_epochs,
        rule=f"{rule} rule from {BASE_LR:g} at {BASE_BATCH} images per step to {batch}",
    )
