"""Randomness that depends on the seed and the place in the training, not on what came before.

A run that was cut off can then go on exactly: an epoch starts from seeds of its own, and so does
every image that is drawn. The latter also makes the result independent of the number of processes
that load images, and of how many epochs ahead they load.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from training.data.multi_dataset import WeightedSampler


class Draw(NamedTuple):
    """One image of an epoch; what the sampler hands to the data set."""

    image: int
    """Place in the list of images."""
    epoch: int
    number: int
    """How many were drawn before it in the whole training, on all devices."""


class EpochSampler(Sampler[Draw]):
    """Says of each image that is drawn in which epoch it is, and which one in the training.

    Args:
        order: The images of each epoch, of this device.
        rank: Number of this device.
        n_ranks: Devices.
    """

    def __init__(self, order: WeightedSampler, *, rank: int = 0, n_ranks: int = 1) -> None:
        self._order = order
        self._rank, self._n_ranks = rank, n_ranks
        self._next = 0

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Draw]:
        """Yield the draws of the next epoch."""
        epoch, self._next = self._next, self._next + 1
        for place, image in enumerate(self._order, epoch * len(self)):
            yield Draw(image, epoch, place * self._n_ranks + self._rank)

    def set_epoch(self, epoch: int) -> None:
        """Go on from an epoch; one that was passed already does not come again."""
        self._order.set_epoch(epoch)
        self._next = max(self._next, epoch)


def seed_epoch(seed: int, epoch: int, rank: int) -> None:
    """Set all generators of this process to the start of an epoch.

    Args:
        seed: Of the training.
        epoch: Counted from 0.
        rank: Number of this device; each draws numbers of its own.
    """
    python, numpy, torch_seed = _words(seed, 0, epoch, rank)
    random.seed(python)
    np.random.seed(numpy)  # noqa: NPY002  Ultralytics draws from it
    torch.manual_seed(torch_seed)  # of all devices


def seed_draw(seed: int, number: int) -> None:
    """Set the generators that augmentation draws from, in the process that loads an image.

    Args:
        seed: Of the training.
        number: Of the draw.
    """
    python, numpy, torch_seed = _words(seed, 1, number)
    random.seed(python)
    np.random.seed(numpy)  # noqa: NPY002  Ultralytics draws from it
    torch.default_generator.manual_seed(torch_seed)


def _words(seed: int, *place: int) -> tuple[int, int, int]:
    """Three numbers of 32 bits that have nothing to do with those of another place."""
    a, b, c = np.random.SeedSequence((seed % 2**32, *place)).generate_state(3)
    return int(a), int(b), int(c)
