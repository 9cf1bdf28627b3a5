"""Partition of a weighted graph such that the edges within its parts have little weight.

Shapes: C vertices, K parts.
"""

import numpy as np

from training.grouping.statistics import Ints

N_STARTS = 8
"""Number of random initial orders, in addition to the order by weight."""


def inner_weight(weights: Ints, parts: Ints) -> int:
    """Sum the weights of the edges within parts, counting each edge once, without the diagonal.

    Args:
        weights: Symmetric edge weights, shape ``(C, C)``.
        parts: Part of each vertex, shape ``(C,)``.
    """
    inside = parts[:, None] == parts
    return int(np.triu(weights * inside, k=1).sum())


def partition(weights: Ints, sizes: Ints, n_parts: int, seed: int = 0) -> Ints:
    """Divide vertices so that the edges within the parts have little weight.

    Vertices are added in order of decreasing weight, each to the part where it adds the least
    weight; of equal parts, to the smallest. Then single moves and swaps follow as long as they
    improve the result. The best result of this order and of several random orders is returned.

    Args:
        weights: Symmetric, non-negative edge weights, shape ``(C, C)``; the diagonal is ignored.
        sizes: Positive sizes of the vertices, shape ``(C,)``.
        n_parts: Number of parts K, 1 to C.
        seed: Seed of the random orders.

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
    results = [_improved(weights, _greedy(weights, sizes, n_parts, o), n_parts) for o in orders]
    return min(results, key=lambda parts: inner_weight(weights, parts))  # the first of equals


def _greedy(weights: Ints, sizes: Ints, n_parts: int, order: Ints) -> Ints:
    parts = np.full(len(sizes), -1)
    added = np.zeros(
        (len(sizes), n_parts), np.int64
    )  # weight that each vertex would add to each part
    filled = np.zeros(n_parts, np.int64)
    for vertex in order:
        part = np.lexsort((filled, added[vertex]))[0]
        parts[vertex] = part
        added[:, part] += weights[vertex]
        filled[part] += sizes[vertex]
    return parts


def _improved(weights: Ints, parts: Ints, n_parts: int) -> Ints:
    """Apply the best move or swap until none improves the result."""
    vertices = np.arange(len(parts))
    while True:
        to_part = weights @ np.eye(n_parts, dtype=np.int64)[parts]  # (C, K)
        own_part = to_part[vertices, parts]
        gain = (
            own_part[:, None] - to_part
        )  # (C, K); at most 0 for the only vertex of a part, so no part is emptied
        vertex, part = np.unravel_index(gain.argmax(), gain.shape)
        if gain[vertex, part] > 0:
            parts[vertex] = part
            continue
        other_parts = to_part[:, parts]  # (C, C): weight of each vertex to the part of each other
        gain = own_part[:, None] + own_part - other_parts - other_parts.T + 2 * weights
        gain[parts[:, None] == parts] = 0
        one, other = np.unravel_index(gain.argmax(), gain.shape)
        if gain[one, other] <= 0:
            return parts
        parts[one], parts[other] = parts[other], parts[one]
