"""Repeat-factor sampling: images with rare classes are drawn more often, others less often.

Shapes: N images, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GOLDEN = (5**0.5 - 1) / 2
"""Fractional part of the golden ratio: its multiples modulo 1 are spread evenly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDraws:
    """Images that contain a class, and how often they are drawn."""

    images: int
    """Number of images that contain the class."""
    per_epoch: float
    """Draws of these images per epoch, on average."""


def repeat_factors(
    image_labels: Sequence[NDArray[np.int64]], shares: NDArray[np.float64], threshold: float
) -> NDArray[np.float64]:
    """Return how often each image is drawn, relative to an image without rare classes.

    A class whose frequency f among the drawn images is below a threshold t has the factor
    ``sqrt(t / f)``, every other class 1. The factor of an image is the largest of its classes.

    Args:
        image_labels: Labels of the symbols of each of N images; an image may have none.
        shares: Share of each image in an epoch without repeats, sum 1, shape ``(N,)``.
        threshold: Frequency below which a class is rare, 0 to 1.

    Returns:
        Factors of at least 1, shape ``(N,)``.

    Source: repeat-factor sampling of LVIS: Gupta et al., https://arxiv.org/abs/1908.03195.
    """
    classes = [np.unique(labels) for labels in image_labels]
    n_classes = 1 + max((int(labels[-1]) for labels in classes if len(labels)), default=-1)
    frequencies = np.zeros(n_classes)
    for labels, share in zip(classes, shares, strict=True):
        frequencies[labels] += share
    occurring = frequencies > 0
    factors = np.ones(n_classes)
    factors[occurring] = np.maximum(np.sqrt(threshold / frequencies[occurring]), 1.0)
    return np.array([factors[labels].max(initial=1.0) for labels in classes])


def repeat_counts(
    repeats: NDArray[np.float64], round_number: int, offset: float
) -> NDArray[np.int64]:
    """Return how often each of N images occurs in a round of N draws.

    The counts are the factors, scaled to a sum of N and rounded down or up so that their mean over
    several rounds approaches the scaled factors. If all factors are equal, every count is 1.

    Args:
        repeats: Repeat factors, shape ``(N,)``.
        round_number: Number of the round, from 0.
        offset: Phase of the rounding in the first round, 0 to 1 (exclusive).

    Returns:
        Counts with the sum N, shape ``(N,)``.
    """
    ends = np.cumsum(repeats) * (len(repeats) / repeats.sum())
    ends[-1] = len(repeats)  # without rounding error
    phase = (offset + round_number * GOLDEN) % 1.0
    counts: NDArray[np.int64] = np.diff(np.floor(ends + phase).astype(np.int64), prepend=0)
    return counts


def class_draws(
    image_labels: Sequence[NDArray[np.int64]], draws: NDArray[np.float64]
) -> dict[int, ClassDraws]:
    """Count the images of each class, and their draws.

    Args:
        image_labels: Labels of the symbols of each of N images.
        draws: Draws of each image per epoch, shape ``(N,)``.

    Returns:
        Draws by label, for the classes that occur, those with the fewest images first.
    """
    classes = [np.unique(labels) for labels in image_labels]
    labels = np.concatenate([np.empty(0, np.int64), *classes])
    n_images = np.bincount(labels)
    per_epoch = np.bincount(
        labels, np.repeat(draws, [len(labels_of_image) for labels_of_image in classes])
    )
    return {
        int(label): ClassDraws(
            images=int(n_images[label]), per_epoch=round(float(per_epoch[label]), 1)
        )
        for label in np.argsort(n_images, kind="stable")
        if n_images[label]
    }
