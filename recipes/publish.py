"""Choice of the confidence thresholds of trained weights, which are then written to be shared."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from eval.metrics.f1 import joined
from omr.prediction import PredictOptions
from omr.scoring.page_reading import read_set
from training.models.checkpoints import open_weights, write_half
from training.predict.tile_network import TorchNetwork

LOW = 0.05
"""Threshold of the predictions among which the thresholds are chosen."""
HIGHEST = 0.999
"""Threshold of weights that find nothing; it has to be below 1."""


def publish(weights: Path, val: Sequence[Path], file: Path, *, recipe: str, device: str) -> None:
    """Write weights in half precision, with the thresholds that read validation pages best.

    Args:
        weights: Weights of a training.
        val: Data sets of whole pages in their own size.
        file: ``.safetensors`` file to write.
        recipe: Name and hash of the recipe.
        device: ``cpu``, or a GPU index; empty for the first GPU, or the CPU.
    """
    trained = open_weights(weights)
    # The network changes its model.
    network = TorchNetwork(replace(trained, model=deepcopy(trained.model)), device=device)
    options = PredictOptions(weights=weights, conf=LOW)
    matches = joined([read_set(folder, network, options).matches for folder in val])
    assert trained.training is not None  # written by omr
    record = replace(
        trained.training,
        conf=min(matches.best_threshold(), HIGHEST),
        class_confs=tuple(matches.class_thresholds().clip(max=HIGHEST).tolist()),
        recipe=recipe,
    )
    write_half(replace(trained, training=record), weights, file)
