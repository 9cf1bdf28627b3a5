"""Random numbers that depend on the seed and the position in the run, not on earlier draws.

An interrupted run can therefore resume exactly: every epoch and every drawn image has separate
seeds. This also makes the result independent of the number of processes that load images, and of
how many epochs ahead they load.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from training.data.weighted_sampler import WeightedSampler


class Draw(NamedTuple):
    """One drawn image of an epoch, as the sampler passes it to the data set."""

    image: int
    """Index in the list of images."""
    epoch: int
    number: int
    """Number of images drawn before it in the whole run, on all devices."""


class EpochSampler(Sampler[Draw]):
    """Sampler that adds epoch and draw number to each image.

    Args:
        order: Sampler of the images of each epoch on this device.
        rank: Number of this device.
        n_ranks: Number of devices.
    """

    def __init__(self, order: WeightedSampler, *, rank: int = 0, n_ranks: int = 1) -> None:
        self._order = order
        self._rank, self._n_ranks = rank, n_ranks
        self._next_epoch = 0

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Draw]:
        """Yield the draws of the next epoch."""
        epoch, self._next_epoch = self._next_epoch, self._next_epoch + 1
        for position, image in enumerate(self._order, epoch * len(self)):
            yield Draw(image, epoch, position * self._n_ranks + self._rank)

    def set_epoch(self, epoch: int) -> None:
        """Continue from an epoch; epochs before the next one have no effect."""
        self._order.set_epoch(epoch)
        self._next_epoch = max(self._next_epoch, epoch)


def seed_epoch(seed: int, epoch: int, rank: int) -> None:
    """Seed all generators of this process for the start of an epoch.

    Args:
        seed: Seed of the training run.
        epoch: Epoch from 0.
        rank: Number of this device; each device draws different numbers.
    """
    python_seed, numpy_seed, torch_seed = _seeds(seed, 0, epoch, rank)
    random.seed(python_seed)
    np.random.seed(numpy_seed)  # noqa: NPY002  Ultralytics draws from it
    torch.manual_seed(torch_seed)  # on all devices


def seed_draw(seed: int, number: int) -> None:
    """Seed the generators of augmentation in the process that loads an image.

    Args:
        seed: Seed of the training run.
        number: Draw number of the image.
    """
    python_seed, numpy_seed, torch_seed = _seeds(seed, 1, number)
    random.seed(python_seed)
    np.random.seed(numpy_seed)  # noqa: NPY002  Ultralytics draws from it
    torch.default_generator.manual_seed(torch_seed)


def _seeds(seed: int, *position: int) -> tuple[int, int, int]:
    """Return three 32-bit seeds, independent of the seeds at other positions."""
    a, b, c = np.random.SeedSequence((seed % 2**32, *position)).generate_state(3)
    return int(a), int(b), int(c)
