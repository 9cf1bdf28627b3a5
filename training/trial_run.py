"""Trial of a planned training run: every check of its start, its memory, and one real step."""

import math
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain

import torch

from class_maps import ConfigError
from eval.reports.density_report import StepMemory
from training.config import TrainConfig
from training.density.fitting_batch import check_batch
from training.engine.omr_trainer import OmrTrainer
from training.models.activations import activation_counts
from training.single_steps import steps_of, temporary_trainer


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRun:
    """Properties of a run that would start."""

    memory: StepMemory
    """Predicted memory of the fullest step on one device."""
    loss: float
    """Loss of the first step; finite."""
    weights_bytes: int
    """Bytes of the weights in single precision."""
    activations: dict[str, dict[str, int]]
    """Number of uses of each activation function in the backbone, neck and head."""
    network: str
    """Hash of the network's layers and initial weights, with a seed that all trials share."""


def try_run(config: TrainConfig) -> TrialRun:
    """Check a planned run, and take one training step on its data; nothing is kept.

    Args:
        config: Configuration of a new run; its ``out`` is not used.

    Raises:
        ConfigError: The run could not be started, the step does not fit into memory, or its loss is
            not finite.
        InputError: A data set or the weights cannot be read, or do not match.
    """
    memory = check_batch(config)
    with temporary_trainer(replace(config, seed=0)) as trainer:
        network, weights_bytes = _network(trainer)
        activations = activation_counts(trainer.model)
        loss = steps_of(trainer)(trainer.args.lr0)
    if not math.isfinite(loss):
        raise ConfigError("the loss of the first step is not finite; check the images and labels")
    return TrialRun(
        memory=memory,
        loss=loss,
        weights_bytes=weights_bytes,
        activations=activations,
        network=network,
    )


def _network(trainer: OmrTrainer) -> tuple[str, int]:
    """Hash the layers and weights of a network, and count the bytes of its weights."""
    model, n_bytes = trainer.model, 0
    digest = sha256(repr(model).encode())
    for tensor in chain(model.parameters(), model.buffers()):
        content = tensor.detach().cpu().contiguous()
        digest.update(content.flatten().view(torch.uint8).numpy().tobytes())
        n_bytes += content.nbytes
    return digest.hexdigest()[:16], n_bytes
