"""Prediction of the number of symbols in a batch: in its fullest image, and in all images together.

The former determines the memory of an assigner that pads every image to the fullest one, the latter
that of an assigner that lists boxes. Both predictions follow from the observed symbols per image.

Images may be drawn independently or once per epoch. The difference matters if a batch is a large
part of the data: with 32 pages in batches of 32, every batch contains the fullest page.

Shapes: N symbol counts, B images per batch, K distinct symbol counts, T values processed in
parallel.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.reports.density_figures import BatchMax, BatchSum, EpochMax

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RARE = 0.999
"""Quantile that one batch in a thousand exceeds."""
MAX_BINS = 2**20
"""Maximum number of distinct sums; larger sums are rounded to multiples."""
MOST_STEPS, FEWEST_STEPS = 2048, 256
"""Number of steps between 0 and the largest possible sum, if each image occurs once per epoch."""
MAX_WORK = 50_000_000
"""Maximum number of multiplications for these steps, about half a second; if it does not allow
``FEWEST_STEPS``, an approximation is used."""
NEGLIGIBLE = 1e-9
"""Probability small enough to be ignored, yet far above rounding errors."""


def batch_max(n_symbols: ArrayLike, batch: int, images: ArrayLike | None = None) -> BatchMax | None:
    """Predict the number of symbols in the fullest image of a batch.

    If F is the fraction of images with at most x symbols, the largest of ``batch`` independent
    images has at most x symbols with probability ``F(x) ** batch``. For images that occur once per
    epoch, it is the hypergeometric probability of drawing no image with more than x symbols.

    Args:
        n_symbols: Symbols per image, or per draw of an image, shape ``(N,)``.
        batch: Images per batch, B.
        images: Image index of each count, shape ``(N,)``, for images that occur once per epoch (a
            batch is then limited to the number of images); None for independent draws.

    Returns:
        Expected value and quantile; None without images.

    Source: H. A. David, H. N. Nagaraja, Order Statistics, 3rd ed., 2003, sections 2.1 and 3.7.
    """
    counts = np.asarray(n_symbols, dtype=np.int64)
    values, n_equal = np.unique(counts, return_counts=True)  # (K,), (K,)
    if not len(values):
        return None
    at_most = (np.cumsum(n_equal) / n_equal.sum()) ** batch  # (K,), ends with exactly 1
    if images is not None:
        draws = _counts_by_image(counts, np.asarray(images))
        at_most = _max_without_replacement(draws, values, min(batch, len(draws)))
    return BatchMax(
        expected=float(values @ np.diff(at_most, prepend=0.0)),
        p999=int(values[np.searchsorted(at_most, RARE - NEGLIGIBLE)]),
    )


def batch_sum(n_symbols: ArrayLike, batch: int, images: ArrayLike | None = None) -> BatchSum | None:
    """Predict the total number of symbols in a batch.

    For independent images, the distribution is the convolution of the counts with themselves. For
    images that occur once per epoch it is computed exactly if there are few images; otherwise the
    deviations of the convolution are reduced as for a sample from a finite population.

    Args:
        n_symbols: Symbols per image, or per draw of an image, shape ``(N,)``.
        batch: Images per batch, B.
        images: Image index of each count, shape ``(N,)``, for images that occur once per epoch;
            None for independent draws.

    Returns:
        Expected value and quantile; None without images.

    Source: W. G. Cochran, Sampling Techniques, 3rd ed., 1977, theorem 2.2.
    """
    counts = np.asarray(n_symbols, dtype=np.int64)
    if not len(counts):
        return None
    draws = None if images is None else _counts_by_image(counts, np.asarray(images))
    if draws is not None:
        batch = min(batch, len(draws))
        steps = min(MAX_WORK // (len(draws) * batch), MOST_STEPS)
        if steps >= FEWEST_STEPS:
            return _sum_without_replacement(draws, batch, steps)
    sums, at_most = _sum_distribution(counts, batch)
    mean = float(counts.mean()) * batch
    rare = float(sums[np.searchsorted(at_most, RARE - NEGLIGIBLE)])
    if draws is not None:
        factor = _finite_population_factor(draws, batch)
        rare = min(mean + (rare - mean) * factor, _largest_sum(draws, batch))
    return BatchSum(expected=mean, p999=round(rare))


def epoch_max(n_symbols: ArrayLike, batch: int, images: ArrayLike) -> EpochMax | None:
    """Predict the fullest image and the fullest batch of an epoch that shows each image once.

    The batches of an epoch partition one data set, so a full batch leaves fewer symbols for the
    others. This increases their spread as much as drawing without replacement reduces it. So the
    fullest batch matches that of the same number of batches of independent images. A batch with one
    exceptionally full image may be fuller still.

    Args:
        n_symbols: Symbols per image, or per draw of an image, shape ``(N,)``.
        batch: Images per batch, B.
        images: Image index of each count, shape ``(N,)``.

    Returns:
        Expected maxima; None without images.
    """
    counts = np.asarray(n_symbols, dtype=np.int64)
    draws = _counts_by_image(counts, np.asarray(images))
    fullest = batch_max(counts, len(draws), images)
    if fullest is None:
        return None
    batch = min(batch, len(draws))
    sums, at_most = _sum_distribution(counts, batch)
    sums = np.minimum(sums, _largest_sum(draws, batch))
    independent = float(sums @ np.diff(at_most ** (len(draws) / batch), prepend=0.0))
    rest = sum(float(image.mean()) for image in draws) - fullest.expected
    with_fullest = fullest.expected + (batch - 1) * rest / max(len(draws) - 1, 1)
    return EpochMax(image=fullest.expected, batch=max(independent, with_fullest))


def _counts_by_image(counts: Ints, images: Ints) -> list[Ints]:
    """Group the symbol counts by image, in ascending order."""
    if counts.shape != images.shape:
        raise ValueError(f"{len(counts)} symbol counts for {len(images)} image indices")
    order = np.lexsort((counts, images))
    starts = np.flatnonzero(np.diff(images[order])) + 1
    return np.split(counts[order], starts) if len(counts) else []


def _max_without_replacement(draws: list[Ints], values: Ints, batch: int) -> Floats:
    """Return the probability that no image of a batch exceeds each of ``values``, ``(K,)``."""
    shares = sum(np.searchsorted(image, values, side="right") / len(image) for image in draws)
    # By Maclaurin's inequality the probability for independent images is an upper bound.
    matters = (shares / len(draws)) ** batch > NEGLIGIBLE
    relevant = values[matters]
    at_most = np.zeros(len(values))
    rows = (np.searchsorted(image, relevant, side="right") / len(image) for image in draws)
    at_most[matters] = _mean_product_of_sets(rows, len(draws), batch)
    return at_most


def _sum_without_replacement(draws: list[Ints], batch: int, steps: int) -> BatchSum:
    """Compute the sum of a batch from its characteristic function.

    The characteristic function of a set of images is the product of theirs.
    """
    largest = _largest_sum(draws, batch)
    width = max(largest / steps, 1.0)
    n_sums = int(largest / width) + 2
    size = 1 << n_sums.bit_length()
    rows = (np.fft.rfft(_bin_shares(image / width, size)) for image in draws)
    density = np.fft.irfft(_mean_product_of_sets(rows, len(draws), batch), size)
    rare = np.searchsorted(np.cumsum(density), RARE - NEGLIGIBLE) * width
    mean = float(np.mean([image.mean() for image in draws])) * batch
    return BatchSum(expected=mean, p999=min(round(float(rare)), largest))


def _bin_shares(numbers: Floats, size: int) -> Floats:
    """Distribute numbers over ``size`` bins so that their mean is preserved."""
    below = np.floor(numbers).astype(np.int64)
    upper = numbers - below
    shares = np.bincount(below, 1 - upper, size) + np.bincount(below + 1, upper, size)
    return np.asarray(shares / len(numbers))


def _mean_product_of_sets(rows: Iterable[NDArray[Any]], n_images: int, batch: int) -> NDArray[Any]:
    """Average the product of rows over all sets of ``batch`` different images.

    The mean is built up image by image: a set of j of the first i images contains the last one with
    probability j / i.

    Args:
        rows: One real or complex row per image, shape ``(T,)``.
        n_images: Number of images.
        batch: Images per set, at most ``n_images``.
    """
    means = np.empty(0)
    for i, row in enumerate(rows, 1):
        if i == 1:
            means = np.zeros((batch + 1, *row.shape), row.dtype)
            means[0] = 1  # the empty set; row j is the mean over sets of j images
        fewest = max(batch - (n_images - i), 1)  # smaller sets can no longer reach the full size
        sizes = slice(fewest, min(i, batch) + 1)
        contains = np.arange(sizes.start, sizes.stop)[:, None] / i
        means[sizes] += contains * (row * means[fewest - 1 : sizes.stop - 1] - means[sizes])
    return np.asarray(means[batch])


def _sum_distribution(counts: Ints, batch: int) -> tuple[Floats, Floats]:
    """Return all sums of ``batch`` independent counts, and their cumulative probabilities."""
    width = -(-int(counts.max()) * batch // MAX_BINS) or 1
    share = np.bincount(np.rint(counts / width).astype(np.int64)) / len(counts)
    n_sums = (len(share) - 1) * batch + 1
    size = 1 << n_sums.bit_length()  # FFTs are fast for powers of two
    density = np.fft.irfft(np.fft.rfft(share, size) ** batch, size)[:n_sums]
    at_most: Floats = np.maximum.accumulate(np.cumsum(density)).clip(0, 1)
    at_most[-1] = 1
    sums: Floats = np.arange(n_sums, dtype=np.float64) * width
    return sums, at_most


def _finite_population_factor(draws: list[Ints], batch: int) -> float:
    """Return the factor, 0 to 1, by which drawing each image once reduces a sum's deviation."""
    counts = np.concatenate(draws)
    n_images, variance = len(draws), float(counts.var())
    repeated = len(counts) - n_images  # draws beyond the first of each image
    if n_images < 2 or not variance:
        return 1.0
    squares = sum(float(((image - image.mean()) ** 2).sum()) for image in draws)
    within = min(squares / max(repeated, 1), variance)
    between = (variance - within) * (n_images - batch) / (n_images - 1)
    return float(np.sqrt((within + between) / variance))


def _largest_sum(draws: list[Ints], batch: int) -> int:
    """Add up the largest counts of the ``batch`` fullest images."""
    return sum(sorted(int(image[-1]) for image in draws)[-batch:])
