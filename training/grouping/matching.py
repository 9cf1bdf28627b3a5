"""Maximum matching: the number of boxes that can each have an anchor point to themselves.

Shapes: N boxes, P candidate pairs, F boxes at the frontier of a search step.
"""

from collections.abc import Sequence

import numpy as np

from training.grouping.statistics import Candidates, Ints, Symbols, candidates

NONE = -1


def capacity(symbols: Symbols, heads: Ints, strides: Sequence[int]) -> tuple[int, int]:
    """Count the boxes that can each have an anchor point to themselves.

    The point of a box is one of its candidates, and no two boxes of an image share a point in the
    same head. So this is the largest number of boxes that any training could assign.

    Args:
        symbols: Symbols of all images.
        heads: Head of each class, shape ``(C,)``.
        strides: Pixels per cell of each level, finest first.

    Returns:
        Maximum number of boxes with a point to themselves, and number of boxes without candidates.
    """
    head_of_symbol = heads[symbols.labels]
    n_heads = int(heads.max(initial=0)) + 1
    matched = covered = 0
    for pairs in candidates(symbols, strides):
        n_matched, n_covered = capacity_of(pairs, head_of_symbol, n_heads)
        matched += n_matched
        covered += n_covered
    return matched, len(symbols) - covered


def capacity_of(pairs: Candidates, head_of_symbol: Ints, n_heads: int) -> tuple[int, int]:
    """Count the boxes of several images that can each have an anchor point to themselves.

    Args:
        pairs: Candidate pairs of complete images.
        head_of_symbol: Head of each symbol, shape ``(N,)``.
        n_heads: Number of heads.

    Returns:
        Maximum number of boxes with a point to themselves, and number of boxes with candidates.
    """
    slots = pairs.points * n_heads + head_of_symbol[pairs.symbols]
    matching = maximum_matching(_compact(pairs.symbols), _compact(slots))
    return int((matching != NONE).sum()), len(matching)


def maximum_matching(boxes: Ints, points: Ints) -> Ints:
    """Assign a point to as many boxes as possible, each point to at most one box.

    From every unmatched box, a tree of boxes that would have to change their point is grown breadth
    first, all trees at once and vertex-disjoint. Every tree that reaches a free point augments the
    matching along its path. Once no tree does, the matching is maximum.

    Args:
        boxes: Box index of each pair, ascending from 0, shape ``(P,)``.
        points: Point index of each pair, from 0, shape ``(P,)``; pairs are unique.

    Returns:
        Point of each box, or ``NONE``, shape ``(N,)``.

    Source: A. Azad, A. Buluc, A. Pothen, https://doi.org/10.1109/TPDS.2016.2546258, without tree
    grafting.
    """
    n_boxes = int(boxes.max(initial=NONE)) + 1
    starts = np.searchsorted(boxes, np.arange(n_boxes + 1))  # (N + 1,)
    point_of, box_of = np.full(n_boxes, NONE), np.full(int(points.max(initial=NONE)) + 1, NONE)
    while True:
        leaf, parent = _grow(starts, points, point_of, box_of)
        if not len(leaf):
            return point_of
        while len(leaf):  # one step up in every tree
            box = parent[leaf]
            above = point_of[box]
            point_of[box], box_of[leaf] = leaf, box
            leaf = above[above != NONE]


def _grow(starts: Ints, points: Ints, point_of: Ints, box_of: Ints) -> tuple[Ints, Ints]:
    """Grow a tree from every unmatched box.

    Returns:
        Free point of each tree that reached one, and the box from which each point was reached.
    """
    parent, winner = np.full(len(box_of), NONE), np.full(len(box_of), NONE)
    leaf_of = np.full(len(point_of), NONE)
    box = root = np.flatnonzero(point_of == NONE)  # (F,)
    while len(box):
        runs, pairs = _expand_runs(starts[box], starts[box + 1] - starts[box])
        new = parent[points[pairs]] == NONE
        reached, runs = points[pairs[new]], runs[new]
        winner[reached] = turns = np.arange(len(reached))  # of several boxes, the last one wins
        won = winner[reached] == turns
        reached, runs = reached[won], runs[won]
        parent[reached], roots = box[runs], root[runs]
        free = box_of[reached] == NONE
        leaf_of[roots[free]] = reached[free]
        on = ~free & (leaf_of[roots] == NONE)
        box, root = box_of[reached[on]], roots[on]
    return leaf_of[leaf_of != NONE], parent


def _compact(numbers: Ints) -> Ints:
    """Replace numbers by their ranks from 0."""
    ranks: Ints = np.unique(numbers, return_inverse=True)[1]
    return ranks


def _expand_runs(starts: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Return run and element index of ``counts`` consecutive elements from each of ``starts``."""
    runs = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    return runs, np.arange(len(runs)) - first[runs] + starts[runs]
