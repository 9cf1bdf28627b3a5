"""Divides a weighted graph so that little weight stays within its parts.

Shapes: C vertices, K parts.
"""

import numpy as np

from training.grouping.statistics import Ints

N_STARTS = 8
"""Drawn orders to begin with, besides that by weight."""


def inner_weight(weights: Ints, parts: Ints) -> int:
    """Add up the weights of the edges within parts, each once, without the diagonal.

    Args:
        weights: Symmetric, shape ``(C, C)``.
        parts: Part of each vertex, shape ``(C,)``.
    """
    inside = parts[:, None] == parts
    return int(np.triu(weights * inside, k=1).sum())


def partition(weights: Ints, sizes: Ints, n_parts: int, seed: int = 0) -> Ints:
    """Divide vertices so that little weight stays within the parts.

    One by one, those of the most weight first, vertices go where they add the least, and of equal
    parts to the smallest. Then, for as long as it helps, one moves or two swap. The best of that
    and of some drawn orders is returned.

    Args:
        weights: Of edges, from 0, symmetric, shape ``(C, C)``; the diagonal does not count.
        sizes: Of vertices, above 0, shape ``(C,)``.
        n_parts: K, 1 to C.
        seed: Of the drawn orders.

    Returns:
        Part of each vertex, shape ``(C,)``; none is empty.

    Raises:
        ValueError: There are fewer vertices than parts.
    """
    if not 1 <= n_parts <= len(sizes):
        raise ValueError(f"{len(sizes)} vertices cannot be divided into {n_parts} parts")
    weights = weights - np.diag(np.diag(weights))
    rng = np.random.default_rng(seed)
    orders = [np.lexsort((-sizes, -weights.sum(axis=1)))]
    orders += [rng.permutation(len(sizes)) for _ in range(N_STARTS)]
    found = [_improved(weights, _greedy(weights, sizes, n_parts, o), n_parts) for o in orders]
    return min(found, key=lambda parts: inner_weight(weights, parts))  # the first of equal ones


def _greedy(weights: Ints, sizes: Ints, n_parts: int, order: Ints) -> Ints:
    parts = np.full(len(sizes), -1)
    added = np.zeros((len(sizes), n_parts), np.int64)  # what each would add to each part
    filled = np.zeros(n_parts, np.int64)
    for vertex in order:
        part = np.lexsort((filled, added[vertex]))[0]
        parts[vertex] = part
        added[:, part] += weights[vertex]
        filled[part] += sizes[vertex]
    return parts


def _improved(weights: Ints, parts: Ints, n_parts: int) -> Ints:
    """Move or swap, the best first, until nothing helps."""
    everyone = np.arange(len(parts))
    while True:
        to_part = weights @ np.eye(n_parts, dtype=np.int64)[parts]  # (C, K)
        own = to_part[everyone, parts]
        gain = own[:, None] - to_part  # (C, K); at most 0 for one that is alone: no part is emptied
        vertex, part = np.unravel_index(gain.argmax(), gain.shape)
        if gain[vertex, part] > 0:
            parts[vertex] = part
            continue
        there = to_part[:, parts]  # (C, C): weight of each to the part of each other
        gain = own[:, None] + own - there - there.T + 2 * weights
        gain[parts[:, None] == parts] = 0
        one, other = np.unravel_index(gain.argmax(), gain.shape)
        if gain[one, other] <= 0:
            return parts
        parts[one], parts[other] = parts[other], parts[one]
