import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters.splitting.stratified import divide

Row = NDArray[np.int64]
FRACTIONS = {"train": 0.7, "val": 0.2, "test": 0.1}


def shares(counts: dict[str, Row]) -> dict[str, NDArray[np.float64]]:
    """Return the fraction of the images and of each class that each split gets."""
    split_of = divide(counts, FRACTIONS, 0)
    totals = np.sum([*counts.values()], axis=0)
    return {
        split: np.sum([counts[group] for group in counts if split_of[group] == split], axis=0)
        / totals
        for split in FRACTIONS
    }


def random_groups(n: int, frequencies: list[float], seed: int = 0) -> dict[str, Row]:
    rng = np.random.default_rng(seed)
    return {str(i): np.array([rng.integers(1, 6), *rng.poisson(frequencies)]) for i in range(n)}


def test_no_group() -> None:
    assert divide({}, FRACTIONS, 0) == {}


def test_groups_without_symbols_are_divided_by_their_images() -> None:
    split_of = divide({str(i): np.array([1, 0]) for i in range(10)}, FRACTIONS, 0)
    sizes = {split: list(split_of.values()).count(split) for split in FRACTIONS}
    assert sizes == {"train": 7, "val": 2, "test": 1}


@pytest.mark.parametrize("seed", range(4))
def test_every_split_gets_its_share_of_frequent_and_of_rare_classes(seed: int) -> None:
    parts = shares(random_groups(400, [30, 3, 0.3, 0.1], seed))
    for split, fraction in FRACTIONS.items():
        assert parts[split] == pytest.approx([fraction] * 5, abs=0.06)


def test_a_class_in_a_few_groups_is_in_every_split() -> None:
    counts = {str(i): np.array([1, 20, i < 10]) for i in range(100)}
    split_of = divide(counts, FRACTIONS, 0)
    rare = [split_of[str(i)] for i in range(10)]
    assert {split: rare.count(split) for split in FRACTIONS} == {"train": 7, "val": 2, "test": 1}


def test_rare_classes_do_not_enlarge_a_split() -> None:
    counts = {
        str(i): np.eye(41, dtype=int)[1 + i // 3] + np.eye(41, dtype=int)[0] for i in range(120)
    }
    assert shares(counts)["val"][0] == pytest.approx(0.2)


def test_each_split_gets_a_group() -> None:
    counts = {"large": np.array([98, 50]), "a": np.array([1, 0]), "b": np.array([1, 0])}
    assert set(divide(counts, FRACTIONS, 0).values()) == set(FRACTIONS)


@given(st.integers(0, 5), st.permutations(range(12)))
def test_the_order_of_groups_does_not_matter(seed: int, order: list[int]) -> None:
    counts = random_groups(12, [3, 1])
    reordered = {str(i): counts[str(i)] for i in order}
    assert divide(reordered, FRACTIONS, seed) == divide(counts, FRACTIONS, seed)
