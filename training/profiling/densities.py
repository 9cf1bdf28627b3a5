"""Batches with few, with a medium number, and with many symbols.

Shapes: I images of the training split, B images of a batch.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.data.sampling import Draw
from training.engine.omr_trainer import OmrTrainer

DENSITIES = (("sparse", 0.1), ("dense", 1.0), ("medium", 0.5))
"""Names of the densities, and the position of their images in the order of the number of symbols:
0 for the emptiest images of the data set, 1 for the fullest. If several densities have the same
images, the last name is used."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DenseBatch:
    """Batch of images with similar numbers of symbols."""

    name: str
    batch: dict[str, Any]
    """Batch of the training loader, its tensors on the device."""
    symbols_max: int
    """Symbols of the fullest image."""


def batches_by_density(trainer: OmrTrainer) -> list[DenseBatch]:
    """Load a batch for each density, augmented as in training.

    Args:
        trainer: Trainer whose loaders are set up.

    Returns:
        Batches of increasing density; densities with the same images occur once.
    """
    dataset = trainer.train_loader.dataset
    counts = np.array([len(labels["cls"]) for labels in dataset.labels])  # (I,)
    loaded = []
    for name, images in images_by_density(counts, trainer.train_loader.batch_size).items():
        draws = [Draw(image, 0, number) for number, image in enumerate(images.tolist())]
        batch = dataset.collate_fn([dataset[draw] for draw in draws])
        on_device = {
            key: value.to(trainer.device) if isinstance(value, Tensor) else value
            for key, value in batch.items()
        }
        n_symbols = batch["batch_idx"].long().bincount(minlength=len(draws))
        loaded.append(DenseBatch(name=name, batch=on_device, symbols_max=int(n_symbols.max())))
    return loaded


def images_by_density(counts: NDArray[np.int64], batch: int) -> dict[str, NDArray[np.int64]]:
    """Select the images of a batch for each density.

    Args:
        counts: Number of symbols of each image, shape ``(I,)``.
        batch: Images per batch, at most I.

    Returns:
        Indices of images, shape ``(B,)``, by name of the density, emptiest first.
    """
    order = counts.argsort(kind="stable")
    firsts = {round(position * (len(order) - batch)): name for name, position in DENSITIES}
    return {name: order[first : first + batch] for first, name in sorted(firsts.items())}
