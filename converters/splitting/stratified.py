"""Division of groups of images among splits, so that each split gets its share of every class.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011, "On the Stratification of
Multi-Label Data") of whole groups: the class with the fewest symbols left is divided first, because
later decisions cannot make up for it.

Shapes: G groups, C classes, S splits.
"""

from collections.abc import Container, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from converters.prepare.splits import shuffled


def divide(
    counts: Mapping[str, NDArray[np.int64]], fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Assign each group to a split.

    The order of the groups does not matter. Each split gets at least one group, if there are as
    many groups as splits.

    Args:
        counts: Number of images of each group, then its number of symbols of each class, shape
            ``(1 + C,)``.
        fractions: Fraction of the images and symbols of each split; they add up to 1.
        seed: Seed of the order of groups that are equally suitable.

    Returns:
        Split of each group.
    """
    names, splits = shuffled(counts, seed), list(fractions)
    table = np.array([counts[name] for name in names], np.float64)  # (G, 1 + C)
    left = table.sum(axis=0)  # images and symbols of groups without a split, (1 + C,)
    wanted = np.outer([fractions[split] for split in splits], left)  # (S, 1 + C)
    containing = [iter(np.flatnonzero(column).tolist()) for column in table.T]
    chosen, used = np.full(len(names), -1), set[int]()
    for n_free in range(len(names), 0, -1):
        column = _rarest(left)
        group = next(group for group in containing[column] if chosen[group] < 0)
        split = _neediest(wanted, column, used, n_free)
        used.add(split)
        chosen[group] = split
        wanted[split] -= table[group]
        left -= table[group]
    return {name: splits[split] for name, split in zip(names, chosen.tolist(), strict=True)}


def _rarest(left: NDArray[np.float64]) -> int:
    """Return the class with the fewest symbols left; 0 (images) if no symbols are left."""
    symbols = np.where(left[1:] > 0, left[1:], np.inf)
    return int(np.argmin(symbols)) + 1 if np.isfinite(symbols).any() else 0


def _neediest(wanted: NDArray[np.float64], column: int, used: Container[int], n_free: int) -> int:
    """Return the split that lacks most symbols of a class, and of these the most images.

    A split with all its images gets no more, so that rare classes do not enlarge it.
    """
    unused = [split for split in range(len(wanted)) if split not in used]
    lacking = np.flatnonzero(wanted[:, 0] > 0).tolist()
    candidates: Sequence[int] = unused if len(unused) >= n_free else lacking
    return max(candidates, key=lambda split: (wanted[split, column], wanted[split, 0]))
