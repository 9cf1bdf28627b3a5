"""How many boxes can have an anchor point of their own.

Shapes: N boxes, P candidate pairs, F boxes that are looked at in a step.
"""

from collections.abc import Sequence

import numpy as np

from training.grouping.statistics import Candidates, Ints, Symbols, candidates

NONE = -1


def capacity(symbols: Symbols, heads: Ints, strides: Sequence[int]) -> tuple[int, int]:
    """Count the boxes that can each get an anchor point of their own.

    No two boxes of an image have one point in one head, and a box's point is one of its
    candidates: the most boxes that any training could assign.

    Args:
        symbols: Of all images.
        heads: Head of each class, shape ``(C,)``.
        strides: Pixels per cell of each level, finest first.

    Returns:
        Boxes with a point of their own, at most, and boxes without any candidate.
    """
    head_of_symbol = heads[symbols.labels]
    n_heads = int(heads.max(initial=0)) + 1
    matched = covered = 0
    for some in candidates(symbols, strides):
        n_matched, n_covered = capacity_of(some, head_of_symbol, n_heads)
        matched += n_matched
        covered += n_covered
    return matched, len(symbols) - covered


def capacity_of(some: Candidates, head_of_symbol: Ints, n_heads: int) -> tuple[int, int]:
    """Count the boxes of some images that can each get an anchor point of their own.

    Args:
        some: Candidate pairs of whole images.
        head_of_symbol: Of all symbols, shape ``(N,)``.
        n_heads: Heads that an anchor point has.

    Returns:
        Boxes with a point of their own, at most, and boxes with a candidate.
    """
    slots = some.points * n_heads + head_of_symbol[some.symbols]
    matching = maximum_matching(_without_gaps(some.symbols), _without_gaps(slots))
    return int((matching != NONE).sum()), len(matching)


def maximum_matching(boxes: Ints, points: Ints) -> Ints:
    """Give as many boxes as possible a point each, no point to two boxes.

    From every box without a point a tree is grown at once, breadth first, of boxes that would have
    to move on for it; no vertex is in two trees. Every tree that has reached a free point moves its
    boxes on. Where no tree does, there is no such path at all, and the matching is the largest.

    Args:
        boxes: Box of each pair, from 0 on, never falling, shape ``(P,)``.
        points: Point of each pair, from 0 on, shape ``(P,)``; no pair is there twice.

    Returns:
        Point of each box, ``NONE`` for none, shape ``(N,)``.

    Source: A. Azad, A. Buluc, A. Pothen, https://doi.org/10.1109/TPDS.2016.2546258, without the
    grafting of trees.
    """
    n_boxes = int(boxes.max(initial=NONE)) + 1
    starts = np.searchsorted(boxes, np.arange(n_boxes + 1))  # (N + 1,)
    point_of, box_of = np.full(n_boxes, NONE), np.full(int(points.max(initial=NONE)) + 1, NONE)
    while True:
        leaf, parent = _grow(starts, points, point_of, box_of)
        if not len(leaf):
            return point_of
        while len(leaf):  # a step up in every tree
            box = parent[leaf]
            above = point_of[box]
            point_of[box], box_of[leaf] = leaf, box
            leaf = above[above != NONE]


def _grow(starts: Ints, points: Ints, point_of: Ints, box_of: Ints) -> tuple[Ints, Ints]:
    """Grow a tree from every box without a point.

    Returns:
        A free point of each tree that has reached one, and the box from which each point was
        reached, for all points.
    """
    parent, winner = np.full(len(box_of), NONE), np.full(len(box_of), NONE)
    leaf_of = np.full(len(point_of), NONE)
    box = root = np.flatnonzero(point_of == NONE)  # (F,)
    while len(box):
        runs, pairs = _ragged(starts[box], starts[box + 1] - starts[box])
        new = parent[points[pairs]] == NONE
        reached, runs = points[pairs[new]], runs[new]
        winner[reached] = turns = np.arange(len(reached))  # of several boxes the last
        won = winner[reached] == turns
        reached, runs = reached[won], runs[won]
        parent[reached], roots = box[runs], root[runs]
        free = box_of[reached] == NONE
        leaf_of[roots[free]] = reached[free]
        on = ~free & (leaf_of[roots] == NONE)
        box, root = box_of[reached[on]], roots[on]
    return leaf_of[leaf_of != NONE], parent


def _without_gaps(numbers: Ints) -> Ints:
    """Number what occurs from 0 on, in the same order."""
    places: Ints = np.unique(numbers, return_inverse=True)[1]
    return places


def _ragged(starts: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Run and element of ``counts`` elements from each of ``starts`` on."""
    runs = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    return runs, np.arange(len(runs)) - first[runs] + starts[runs]
