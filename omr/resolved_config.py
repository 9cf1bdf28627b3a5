"""Training configuration in which batches and learning rates given as ``auto`` are computed."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omr.console import say
from settings.training import AUTO, BASE_BATCH, BASE_LR

if TYPE_CHECKING:
    from training.config import TrainConfig


def resolved_config(values: dict[str, Any]) -> "TrainConfig":
    """Build a configuration, compute its batch and learning rate, and print what was computed.

    Args:
        values: Chosen settings by name.

    Raises:
        ConfigError: A setting is invalid, or not even one image fits into memory.
        InputError: A data set or the weights cannot be read.
    """
    from training.config import TrainConfig
    from training.engine.learning_rate import resolved_rate, used_warmup
    from training.runtime.distributed import is_first

    batch, lr = values.get("batch", BASE_BATCH), values.get("lr", BASE_LR)
    numbers = {"batch": 1 if batch == AUTO else batch, "lr": BASE_LR}
    config = TrainConfig(**values | numbers)
    if batch == AUTO:
        config = _with_fitting_batch(config)
    rate = resolved_rate(
        str(lr),
        batch=config.nominal_batch or config.batch,
        warmup_epochs=config.warmup_epochs,
        given="warmup_epochs" in values,
    )
    if rate.rule and is_first():
        warmup_epochs = used_warmup(config.epochs, rate.warmup_epochs)
        say(f"lr {rate.lr:.3g}, warm-up of {warmup_epochs:g} epochs: {rate.rule}")
    return replace(config, lr=rate.lr, warmup_epochs=rate.warmup_epochs)


def _with_fitting_batch(config: "TrainConfig") -> "TrainConfig":
    """Choose the largest batch that fits into the memory of the devices."""
    from training.density.fitting_batch import auto_batch
    from training.memory.gpus import GIB
    from training.runtime.distributed import is_first, n_devices

    fitting = auto_batch(config)
    batch = fitting.batch * n_devices(config.device)
    if is_first():
        say(f"batch {batch}: {fitting.memory.total_bytes / GIB:.1f} GiB per device predicted")
    return replace(config, batch=batch)
