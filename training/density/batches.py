"""How many symbols a batch holds: in its fullest image, and in all of its images together.

An assigner that pads every image to the fullest one pays for the first, one that lists boxes for
the second. Both come from the numbers of symbols that images were seen to have.

Images may be drawn independently of each other, or each once an epoch. The difference counts where
a batch is a good part of the data: 32 pages in batches of 32 give the fullest page every time.

Shapes: N numbers of symbols, B images of a batch, K different numbers of symbols, T values that are
worked out side by side.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RARE = 0.999
"""Only one batch in a thousand holds more than this quantile."""
MAX_BINS = 2**20
"""Different sums that are told apart; beyond that the numbers are rounded a little."""
MOST_STEPS, FEWEST_STEPS = 2048, 256
"""The same where each image comes once: steps from 0 to a batch's fullest possible sum."""
MAX_WORK = 50_000_000
"""Multiplications, about half a second, that these may take; with too few it is not tried."""
NEGLIGIBLE = 1e-9
"""A probability that makes no difference; rounding errors are far below it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchMax:
    """The most symbols in any image of a batch drawn at random."""

    expected: float
    p999: int
    """Only one batch in a thousand holds an image with more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSum:
    """The symbols of all images of a batch drawn at random."""

    expected: float
    p999: int
    """Only one batch in a thousand holds more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochMost:
    """What the fullest of an epoch is expected to hold."""

    image: float
    """Symbols of the fullest image."""
    batch: float
    """Symbols of the fullest batch, all of its images together."""


def batch_max(n_symbols: ArrayLike, batch: int, images: ArrayLike | None = None) -> BatchMax | None:
    """Predict the most symbols in any image of a batch.

    With F the share of images with at most x symbols the largest of ``batch`` independent ones is
    at most x with probability ``F(x) ** batch``. Of images that come once an epoch this is the
    probability that a batch draws none with more, a hypergeometric one.

    Args:
        n_symbols: Symbols of each image, or of several draws of each, shape ``(N,)``.
        batch: Images a batch.
        images: Which image each number is of, shape ``(N,)``: then each comes once an epoch, and a
            batch has no more images than there are. None where images are drawn independently.

    Returns:
        None where there is no image.

    Source: H. A. David, H. N. Nagaraja, Order Statistics, 3rd ed., 2003, sections 2.1 and 3.7.
    """
    counts = np.asarray(n_symbols, dtype=np.int64)
    values, n_equal = np.unique(counts, return_counts=True)  # (K,), (K,)
    if not len(values):
        return None
    at_most = (np.cumsum(n_equal) / n_equal.sum()) ** batch  # (K,), ends with exactly 1
    if images is not None:
        drawn = _images(counts, np.asarray(images))
        at_most = _max_once(drawn, values, min(batch, len(drawn)))
    return BatchMax(
        expected=float(values @ np.diff(at_most, prepend=0.0)),
        p999=int(values[np.searchsorted(at_most, RARE - NEGLIGIBLE)]),
    )


def batch_sum(n_symbols: ArrayLike, batch: int, images: ArrayLike | None = None) -> BatchSum | None:
    """Predict the symbols of a whole batch.

    For independent images the distribution is the convolution of their own with itself. Where each
    image comes once an epoch and there are many, that one's deviations are made smaller, as those
    of a sample of a finite population are; where there are few, it is worked out as it is.

    Args:
        n_symbols: As :func:`batch_max` takes them, shape ``(N,)``.
        batch: Images a batch.
        images: As :func:`batch_max` takes them, shape ``(N,)``.

    Returns:
        None where there is no image.

    Source: W. G. Cochran, Sampling Techniques, 3rd ed., 1977, theorem 2.2.
    """
    counts = np.asarray(n_symbols, dtype=np.int64)
    if not len(counts):
        return None
    drawn = None if images is None else _images(counts, np.asarray(images))
    if drawn is not None:
        batch = min(batch, len(drawn))
        steps = min(MAX_WORK // (len(drawn) * batch), MOST_STEPS)
        if steps >= FEWEST_STEPS:
            return _sum_once(drawn, batch, steps)
    sums, at_most = _sums(counts, batch)
    mean = float(counts.mean()) * batch
    rare = float(sums[np.searchsorted(at_most, RARE - NEGLIGIBLE)])
    if drawn is not None:
        rare = min(mean + (rare - mean) * _narrowing(drawn, batch), _fullest_sum(drawn, batch))
    return BatchSum(expected=mean, p999=round(rare))


def epoch_most(n_symbols: ArrayLike, batch: int, images: ArrayLike) -> EpochMost | None:
    """Predict the fullest image and the fullest batch of an epoch in which each image comes once.

    The batches of an epoch share out one data set: what one of them has too much the others have
    too little. That spreads them apart as much as drawing without replacement narrows them, so
    that the fullest is that of as many batches of independent images. The batch with the fullest
    image, if there is a very full one, may be fuller still.

    Args:
        n_symbols: As :func:`batch_max` takes them, shape ``(N,)``.
        batch: Images a batch.
        images: Which image each number is of, shape ``(N,)``.

    Returns:
        None where there is no image.
    """
    counts = np.asarray(n_symbols, dtype=np.int64)
    drawn = _images(counts, np.asarray(images))
    fullest = batch_max(counts, len(drawn), images)
    if fullest is None:
        return None
    batch = min(batch, len(drawn))
    sums, at_most = _sums(counts, batch)
    sums = np.minimum(sums, _fullest_sum(drawn, batch))
    of_all = float(sums @ np.diff(at_most ** (len(drawn) / batch), prepend=0.0))
    rest = sum(float(own.mean()) for own in drawn) - fullest.expected
    with_fullest = fullest.expected + (batch - 1) * rest / max(len(drawn) - 1, 1)
    return EpochMost(image=fullest.expected, batch=max(of_all, with_fullest))


def _images(counts: Ints, images: Ints) -> list[Ints]:
    """The numbers of symbols of each image, rising."""
    if counts.shape != images.shape:
        raise ValueError(f"{len(counts)} numbers of symbols, but of {len(images)} images")
    order = np.lexsort((counts, images))
    starts = np.flatnonzero(np.diff(images[order])) + 1
    return np.split(counts[order], starts) if len(counts) else []


def _max_once(drawn: list[Ints], values: Ints, batch: int) -> Floats:
    """The probability that no image of a batch has more than each of ``values``, ``(K,)``."""
    shares = sum(np.searchsorted(own, values, side="right") / len(own) for own in drawn)
    # By Maclaurin's inequality it is no larger than if images were independent: few are left.
    matters = (shares / len(drawn)) ** batch > NEGLIGIBLE
    some = values[matters]
    at_most = np.zeros(len(values))
    rows = (np.searchsorted(own, some, side="right") / len(own) for own in drawn)
    at_most[matters] = _mean_of_sets(rows, len(drawn), batch)
    return at_most


def _sum_once(drawn: list[Ints], batch: int, steps: int) -> BatchSum:
    """The sum of a batch, by its characteristic function: of a set, the product of its images'."""
    most = _fullest_sum(drawn, batch)
    width = max(most / steps, 1.0)
    n_sums = int(most / width) + 2
    size = 1 << n_sums.bit_length()
    rows = (np.fft.rfft(_split(own / width, size)) for own in drawn)
    density = np.fft.irfft(_mean_of_sets(rows, len(drawn), batch), size)
    rare = np.searchsorted(np.cumsum(density), RARE - NEGLIGIBLE) * width
    mean = float(np.mean([own.mean() for own in drawn])) * batch
    return BatchSum(expected=mean, p999=min(round(float(rare)), most))


def _split(numbers: Floats, size: int) -> Floats:
    """The share of numbers in each of ``size`` bins, divided so that their mean stays."""
    below = np.floor(numbers).astype(np.int64)
    upper = numbers - below
    shares = np.bincount(below, 1 - upper, size) + np.bincount(below + 1, upper, size)
    return np.asarray(shares / len(numbers))


def _mean_of_sets(rows: Iterable[NDArray[Any]], n_images: int, batch: int) -> NDArray[Any]:
    """The mean, over all sets of ``batch`` different images, of the product of their rows.

    It is built up image by image: of the first i images, a set of j holds the last one with
    probability j / i.

    Args:
        rows: Of each image, shape ``(T,)``, real or complex.
        n_images: How many there are.
        batch: Images a set, no more than there are.
    """
    means = np.empty(0)
    for i, row in enumerate(rows, 1):
        if i == 1:
            means = np.zeros((batch + 1, *row.shape), row.dtype)
            means[0] = 1  # of no image; then of sets of 1, 2 ... images
        fewest = max(batch - (n_images - i), 1)  # a smaller set can no longer become full
        sizes = slice(fewest, min(i, batch) + 1)
        holds = np.arange(sizes.start, sizes.stop)[:, None] / i
        means[sizes] += holds * (row * means[fewest - 1 : sizes.stop - 1] - means[sizes])
    return np.asarray(means[batch])


def _sums(counts: Ints, batch: int) -> tuple[Floats, Floats]:
    """Every sum of ``batch`` independent numbers, and the probability of at most that sum."""
    width = -(-int(counts.max()) * batch // MAX_BINS) or 1
    share = np.bincount(np.rint(counts / width).astype(np.int64)) / len(counts)
    n_sums = (len(share) - 1) * batch + 1
    size = 1 << n_sums.bit_length()  # a power of two is transformed fast
    density = np.fft.irfft(np.fft.rfft(share, size) ** batch, size)[:n_sums]
    at_most: Floats = np.maximum.accumulate(np.cumsum(density)).clip(0, 1)
    at_most[-1] = 1
    sums: Floats = np.arange(n_sums, dtype=np.float64) * width
    return sums, at_most


def _narrowing(drawn: list[Ints], batch: int) -> float:
    """How much less the sum of a batch deviates because each image comes once, 0 to 1."""
    counts = np.concatenate(drawn)
    n_images, variance = len(drawn), float(counts.var())
    several = len(counts) - n_images  # draws beyond the first of each image
    if n_images < 2 or not variance:
        return 1.0
    squares = sum(float(((own - own.mean()) ** 2).sum()) for own in drawn)
    within = min(squares / max(several, 1), variance)
    between = (variance - within) * (n_images - batch) / (n_images - 1)
    return float(np.sqrt((within + between) / variance))


def _fullest_sum(drawn: list[Ints], batch: int) -> int:
    """The symbols of the fullest images together, each at its fullest."""
    return sum(sorted(int(own[-1]) for own in drawn)[-batch:])
