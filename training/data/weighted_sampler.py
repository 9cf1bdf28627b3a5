"""Sampling of the images of one or more sources, in a random order that a seed reproduces."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.class_balance import repeat_counts


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shuffle:
    """Random order of the images of a source.

    Images in files are permuted. If there are more images in tar files than the buffer holds, their
    chunks are taken in random order, and each image moves back by a random number of positions,
    less than ``buffer``: about as if every draw took a random image of a buffer that is refilled
    from the chunks. The images of a chunk are thereby spread over the length of the buffer.
    """

    chunks: NDArray[np.int64] | None = None
    """Chunk of a tar file that contains each image, shape ``(N,)``; None for images in files."""
    buffer: int = 0
    """Size of the buffer in images."""

    def __call__(
        self, images: NDArray[np.int64], generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return images, possibly repeated, in random order.

        Args:
            images: Indices below N, shape ``(K,)``.
            generator: Source of random numbers.
        """
        if self.chunks is None or len(images) <= self.buffer:
            return generator.permutation(images)
        ranks = generator.permutation(self.chunks.max() + 1)
        stream = images[np.argsort(ranks[self.chunks[images]], kind="stable")]
        positions = np.arange(len(stream)) + generator.random(len(stream)) * self.buffer
        return stream[np.argsort(positions, kind="stable")]


class WeightedSampler:
    """Sampler of images from several sources by weight, reproducible on every device.

    An epoch has as many images as the data sets together. The sources are interleaved, so that
    every part of an epoch has nearly the requested proportions. The images of a source are drawn in
    rounds of as many draws as images, which may take several epochs, or only a part of one. Without
    repeat factors, every image is drawn once per round.

    Args:
        members: Indices of the images of each source.
        weights: Sampling weight of each source; only their ratios matter.
        repeats: Repeat factor of each image; only the ratios within a source matter.
        seed: Seed of the random order.
        rank: Number of this device.
        n_ranks: Number of devices; their images are disjoint.
        shuffles: Random order of the images of each source; empty to permute all of them.
    """

    def __init__(
        self,
        members: Sequence[NDArray[np.int64]],
        weights: Sequence[float] | NDArray[np.float64],
        *,
        repeats: NDArray[np.float64],
        seed: int,
        rank: int = 0,
        n_ranks: int = 1,
        shuffles: Sequence[Shuffle] = (),
    ) -> None:
        self._members = members
        self._shuffles = shuffles or [Shuffle()] * len(members)
        self._repeats = [repeats[images] for images in members]
        self._seed = seed % 2**32
        self._rank, self._n_ranks = rank, n_ranks
        n_images = math.ceil(sum(len(images) for images in members) / n_ranks)
        self.counts = apportion(n_images, weights)
        """Images of each source per epoch and device."""
        positions = [(np.arange(n) + 0.5) / n for n in self.counts]
        interleaved = np.argsort(np.concatenate(positions), kind="stable")
        self._source_at = np.repeat(np.arange(len(members)), self.counts)[interleaved]
        self._next_epoch = 0

    def __len__(self) -> int:
        return len(self._source_at)

    def __iter__(self) -> Iterator[int]:
        """Yield the images of the next epoch."""
        epoch, self._next_epoch = self._next_epoch, self._next_epoch + 1
        images = np.empty(len(self), np.int64)
        for source, n in enumerate(self.counts):
            numbers = (epoch * n + np.arange(n)) * self._n_ranks + self._rank
            images[self._source_at == source] = self._images(source, numbers)
        yield from images.tolist()

    def set_epoch(self, epoch: int) -> None:
        """Continue from an epoch; epochs before the next one have no effect."""
        self._next_epoch = max(self._next_epoch, epoch)

    def draws_per_epoch(self) -> NDArray[np.float64]:
        """Return how often each image is drawn per epoch on all devices, on average."""
        draws = np.zeros(sum(map(len, self._members)))
        for images, repeats, n in zip(self._members, self._repeats, self.counts, strict=True):
            draws[images] = n * self._n_ranks * repeats / repeats.sum()
        return draws

    def _images(self, source: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the images of a source with the given draw numbers over the whole run."""
        members = self._members[source]
        images = np.empty(len(numbers), np.int64)
        rounds = numbers // len(members)
        offset = np.random.default_rng((self._seed, source)).random()
        for i in np.unique(rounds):
            n_draws = repeat_counts(self._repeats[source], int(i), offset)
            generator = np.random.default_rng((self._seed, source, int(i)))
            order = self._shuffles[source](np.repeat(np.arange(len(members)), n_draws), generator)
            images[rounds == i] = members[order[numbers[rounds == i] % len(members)]]
        return images


def apportion(n: int, weights: Sequence[float] | NDArray[np.float64]) -> list[int]:
    """Divide a number by weights, using largest remainders, into parts of at least one."""
    exact = np.array(weights, dtype=np.float64)
    exact *= n / exact.sum()
    parts = np.floor(exact).astype(np.int64)
    largest = np.argsort(parts - exact, kind="stable")
    parts[largest[: n - parts.sum()]] += 1
    counts: list[int] = np.maximum(parts, 1).tolist()
    return counts
