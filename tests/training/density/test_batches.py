import re
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.reports.density_figures import BatchMax, BatchSum, EpochMax
from training.density import batches
from training.density.batches import batch_max, batch_sum, epoch_max

Ints = NDArray[np.int64]
N_BATCHES = 10_000


@pytest.mark.parametrize(
    ("counts", "batch", "largest"),
    [
        pytest.param([], 4, None, id="no images"),
        pytest.param([5], 4, BatchMax(expected=5, p999=5), id="one image"),
        pytest.param([0, 10], 1, BatchMax(expected=5, p999=10), id="batch of one: the mean"),
        pytest.param([0, 10], 2, BatchMax(expected=7.5, p999=10), id="both empty once in four"),
        pytest.param([1] * 9999 + [50], 1, BatchMax(expected=1.0049, p999=1), id="rare"),
        pytest.param([1] * 999 + [50], 16, BatchMax(expected=1.7783, p999=50), id="rare, batch"),
    ],
)
def test_batch_max(counts: list[int], batch: int, largest: BatchMax | None) -> None:
    result = batch_max(counts, batch)
    if result is None or largest is None:
        assert result == largest
    else:
        assert result.expected == pytest.approx(largest.expected, abs=1e-3)
        assert result.p999 == largest.p999


def test_batch_max_agrees_with_simulation() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(40, 200)
    drawn = rng.choice(counts, (50_000, 8)).max(axis=1)
    result = batch_max(counts, 8)
    assert result is not None
    assert result.expected == pytest.approx(drawn.mean(), rel=0.005)
    assert (drawn > result.p999).mean() <= 0.002
    assert (drawn >= result.p999).mean() > 0.001


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=30), st.integers(1, 64))
def test_batch_max_lies_between_mean_and_max(counts: list[int], batch: int) -> None:
    result = batch_max(counts, batch)
    assert result is not None
    assert np.mean(counts) - 1e-6 <= result.expected <= max(counts) + 1e-6
    assert result.p999 in counts


# ---- each image once per epoch


@pytest.mark.parametrize(
    ("counts", "batch", "largest"),
    [
        pytest.param([], 4, None, id="no images"),
        pytest.param([5], 4, BatchMax(expected=5, p999=5), id="one image"),
        pytest.param([0, 10], 1, BatchMax(expected=5, p999=10), id="batch of one: the mean"),
        pytest.param([0, 10], 2, BatchMax(expected=10, p999=10), id="all of them"),
        pytest.param([0, 10], 64, BatchMax(expected=10, p999=10), id="more than there are"),
        # two of four without the 9: 3 pairs of 6; the others hold it
        pytest.param([1, 1, 1, 9], 2, BatchMax(expected=5, p999=9), id="one in two"),
        pytest.param([4] * 9, 3, BatchMax(expected=4, p999=4), id="all equal"),
    ],
)
def test_batch_max_once(counts: list[int], batch: int, largest: BatchMax | None) -> None:
    result = batch_max(counts, batch, range(len(counts)))
    if result is None or largest is None:
        assert result == largest
    else:
        assert result.expected == pytest.approx(largest.expected)
        assert result.p999 == largest.p999


@pytest.mark.parametrize(
    ("counts", "batch", "total"),
    [
        pytest.param([], 4, None, id="no images"),
        pytest.param([5], 4, BatchSum(expected=5, p999=5), id="one image"),
        pytest.param([0, 0, 0], 2, BatchSum(expected=0, p999=0), id="no symbols"),
        pytest.param([0, 10], 1, BatchSum(expected=5, p999=10), id="batch of one"),
        pytest.param([2, 10], 2, BatchSum(expected=12, p999=12), id="all of them"),
        pytest.param([2, 10], 64, BatchSum(expected=12, p999=12), id="more than there are"),
        pytest.param([4] * 9, 3, BatchSum(expected=12, p999=12), id="all equal"),
        pytest.param([0] * 99 + [1000], 50, BatchSum(expected=500, p999=1000), id="one is full"),
    ],
)
def test_batch_sum_once(counts: list[int], batch: int, total: BatchSum | None) -> None:
    result = batch_sum(counts, batch, range(len(counts)))
    if result is None or total is None:
        assert result == total
    else:
        assert result.expected == pytest.approx(total.expected)
        assert result.p999 == total.p999


@pytest.mark.parametrize(
    ("counts", "batch", "most"),
    [
        pytest.param([], 4, None, id="no images"),
        pytest.param([5], 4, EpochMax(image=5, batch=5), id="one image"),
        pytest.param([0, 0], 1, EpochMax(image=0, batch=0), id="no symbols"),
        pytest.param([1, 2, 9], 1, EpochMax(image=9, batch=9), id="batch of one"),
        pytest.param([1, 2, 9], 8, EpochMax(image=9, batch=12), id="one batch"),
        pytest.param([4] * 9, 3, EpochMax(image=4, batch=12), id="all equal"),
    ],
)
def test_epoch_max(counts: list[int], batch: int, most: EpochMax | None) -> None:
    result = epoch_max(counts, batch, range(len(counts)))
    if result is None or most is None:
        assert result == most
    else:
        assert (result.image, result.batch) == pytest.approx((most.image, most.batch))


@settings(max_examples=50)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=7), st.integers(1, 9))
def test_once_matches_all_possible_batches(counts: list[int], batch: int) -> None:
    every = list(combinations(counts, min(batch, len(counts))))
    largest = batch_max(counts, batch, range(len(counts)))
    total = batch_sum(counts, batch, range(len(counts)))
    assert largest is not None
    assert total is not None
    assert largest.expected == pytest.approx(np.mean([max(batch_counts) for batch_counts in every]))
    assert total.expected == pytest.approx(np.mean([sum(batch_counts) for batch_counts in every]))
    # There are at most 35 batches, so each occurs more than once in a thousand.
    assert largest.p999 == max(counts)
    assert total.p999 == pytest.approx(max(sum(batch_counts) for batch_counts in every), abs=1)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.integers(1, 6))
def test_independent_sums_are_a_convolution(counts: list[int], batch: int) -> None:
    one = np.bincount(counts) / len(counts)
    density = np.ones(1)
    for _ in range(batch):
        density = np.convolve(density, one)
    result = batch_sum(counts, batch)
    assert result is not None
    assert result.expected == pytest.approx(density @ np.arange(len(density)))
    assert density[: result.p999 + 1].sum() >= 0.999 - 1e-6
    assert density[: result.p999].sum() <= 0.999 + 1e-6


# ---- against simulation


def full(n: int) -> Ints:
    """Return symbol counts of pages, some of which are three times as full as the mean."""
    rng = np.random.default_rng(n)
    return np.exp(rng.normal(6.3, 0.4, n)).clip(20, 3000).astype(np.int64)


def one_very_full(n: int) -> Ints:
    counts = np.random.default_rng(n).poisson(600, n).astype(np.int64)
    counts[0] = 3000
    return counts


def once(n: int, counts: Ints) -> tuple[Ints, Ints]:
    """Return one draw per image."""
    return counts, np.arange(n)


def several(n: int, counts: Ints) -> tuple[Ints, Ints]:
    """Return six draws per image, with random losses by augmentation."""
    images = np.repeat(np.arange(n), 6)
    left = np.random.default_rng(1).uniform(0.5, 1.2, 6 * n).clip(0, 1)
    return (counts[images] * left).astype(np.int64), images


@pytest.mark.parametrize("draws", [once, several])
@pytest.mark.parametrize("pages", [full, one_very_full])
@pytest.mark.parametrize(
    ("n", "batch"),
    [(32, 1), (32, 32), (32, 16), (40, 64), (100, 8), (1714, 16), (400, 128), (800, 256)],
)
def test_once_agrees_with_simulated_epochs(
    n: int,
    batch: int,
    pages: Callable[[int], Ints],
    draws: Callable[[int, Ints], tuple[Ints, Ints]],
) -> None:
    counts, images = draws(n, pages(n))
    largest, total, most = simulated_epochs(counts.reshape(n, -1), min(batch, n))
    found_max = batch_max(counts, batch, images)
    found_sum = batch_sum(counts, batch, images)
    found_most = epoch_max(counts, batch, images)
    assert found_max is not None
    assert found_sum is not None
    assert found_most is not None
    assert found_max.expected == pytest.approx(largest.mean(), rel=0.02)
    assert found_max.p999 == pytest.approx(np.quantile(largest, 0.999), rel=0.02)
    assert found_sum.expected == pytest.approx(total.mean(), rel=0.02)
    assert found_sum.p999 == pytest.approx(np.quantile(total, 0.999), rel=0.02)
    assert (found_most.image, found_most.batch) == pytest.approx(most, rel=0.02)


def simulated_epochs(drawn: Ints, batch: int) -> tuple[Ints, Ints, tuple[float, float]]:
    """Simulate epochs with shuffled images and a random draw of each.

    Args:
        drawn: Symbols per image and draw.
        batch: Images per batch.

    Returns:
        Fullest image and sum of each of 10,000 batches, and the mean fullest image and mean
        largest sum of an epoch.
    """
    rng = np.random.default_rng(0)
    n = len(drawn)
    n_batches = n // batch
    largest, total, fullest, most = [], [], [], []
    for _ in range(max(-(-N_BATCHES // n_batches), 1000)):
        counts = drawn[np.arange(n), rng.integers(0, drawn.shape[1], n)]
        shuffled = rng.permutation(counts)
        sums = np.add.reduceat(shuffled, np.arange(0, n, batch))
        most.append(sums.max())
        fullest.append(counts.max())
        largest.append(np.maximum.reduceat(shuffled, np.arange(0, n, batch))[:n_batches])
        total.append(sums[:n_batches])
    means = float(np.mean(fullest)), float(np.mean(most))
    return np.concatenate(largest), np.concatenate(total), means


@pytest.mark.parametrize("pages", [full, one_very_full])
@pytest.mark.parametrize(("n", "batch"), [(32, 1), (32, 64), (500, 16), (500, 256)])
def test_independent_images_agree_with_simulation(
    n: int, batch: int, pages: Callable[[int], Ints]
) -> None:
    counts = pages(n)
    drawn = np.random.default_rng(0).choice(counts, (N_BATCHES, batch))
    largest, total = batch_max(counts, batch), batch_sum(counts, batch)
    assert largest is not None
    assert total is not None
    assert largest.expected == pytest.approx(drawn.max(axis=1).mean(), rel=0.02)
    assert largest.p999 == pytest.approx(np.quantile(drawn.max(axis=1), 0.999), rel=0.02)
    assert total.expected == pytest.approx(drawn.sum(axis=1).mean(), rel=0.02)
    assert total.p999 == pytest.approx(np.quantile(drawn.sum(axis=1), 0.999), rel=0.02)


def test_sums_of_large_batches_are_rounded() -> None:
    counts = full(2000)
    drawn = np.random.default_rng(0).choice(counts, (2000, 1024)).sum(axis=1)
    result = batch_sum(counts, 1024)
    assert result is not None
    assert len(batches._sum_distribution(counts, 1024)[0]) <= batches.MAX_BINS + 1024
    assert result.p999 == pytest.approx(np.quantile(drawn, 0.999), rel=0.01)


def test_counts_and_images_must_have_the_same_length() -> None:
    message = "2 symbol counts for 1 image indices"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        batch_sum([1, 2], 1, [0])
