"""Candidate anchor points of symbols, and the competition for them.

A head predicts one box per anchor point. A symbol without an anchor point inside or near it is
never learned; if two symbols share their only point, one of them is never learned. Both effects
limit the recall of every model.

Shapes: N symbols, C classes, L levels, P candidate pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eval.reports.density_figures import AnchorCompetition, ClassCollision
from settings.head_config import HeadConfig
from training.assigners.assignment import Anchors, SmallBoxes
from training.assigners.candidate_pairs import candidate_counts
from training.density.sizes import members
from training.grouping.matching import capacity_of
from training.grouping.statistics import (
    Candidates,
    Ints,
    Symbols,
    candidates,
    collisions,
    one_thread,
)

BOXES_AT_ONCE = 100_000
"""Boxes per chunk when candidates are counted."""
TOP_PAIRS = 20
"""Pairs of classes to list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateShares:
    """Fractions of a class's symbols with zero, one and two candidate anchor points, 0 to 1."""

    none: float
    one: float
    two: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassAnchors:
    """Candidate anchor points of a class's symbols; shares are None for a class without symbols."""

    name: str
    count: int
    candidates: CandidateShares | None
    """Shares under the assigner's rule, by which a short side counts as one stride of level 2."""
    inside: CandidateShares | None
    """Shares if only points inside a symbol were candidates, as in Ultralytics 8.3."""


def anchor_rows(
    symbols: Symbols,
    names: Sequence[str],
    strides: Sequence[int],
    n_points: Ints | None = None,
) -> tuple[ClassAnchors, ...]:
    """Count the candidate anchor points of each class's symbols.

    Args:
        symbols: Symbols of all images.
        names: Class names, indexed by label.
        strides: Pixels per cell of each level, finest first.
        n_points: Result of :func:`points_by_level`; None to compute it.

    Returns:
        One row per class, in the order of the names.

    Raises:
        ValueError: The input size is not a multiple of every stride.
    """
    reached = (points_by_level(symbols, strides) if n_points is None else n_points).sum(axis=1)
    inside = points_by_level(symbols, strides, "none").sum(axis=1)
    return tuple(
        ClassAnchors(
            name=name,
            count=len(indices),
            candidates=_shares(reached[indices]),
            inside=_shares(inside[indices]),
        )
        for name, indices in zip(names, members(symbols.labels, len(names)), strict=True)
    )


def anchor_competition(
    symbols: Symbols,
    names: Sequence[str],
    strides: Sequence[int],
    heads: HeadConfig | None = None,
) -> AnchorCompetition:
    """Measure how strongly symbols compete for anchor points.

    Args:
        symbols: Symbols of all images.
        names: Class names, indexed by label.
        strides: Pixels per cell of each level, finest first.
        heads: Groups of classes; None for a single head.

    Raises:
        ConfigError: The groups do not match the classes.
        ValueError: The input size is not a multiple of every stride.
    """
    single, branches = np.zeros(len(names), np.int64), box_branch_of_class(names, heads)
    matrix = np.zeros((len(names), len(names)), np.int64)
    counts = np.zeros(5, np.int64)
    for pairs in candidates(symbols, strides):
        matrix += collisions(pairs, symbols.labels, len(names))
        matched, covered = capacity_of(pairs, single[symbols.labels], 1)
        matched_heads = matched
        if branches.any():
            n_branches = int(branches.max()) + 1
            matched_heads = capacity_of(pairs, branches[symbols.labels], n_branches)[0]
        counts += [*_count_points(pairs), covered, matched, matched_heads]
    points, contested, covered, matched, matched_heads = counts.tolist()
    return AnchorCompetition(
        points=points,
        contested=contested,
        without_candidate=len(symbols) - covered,
        max_recall_single_head=matched / len(symbols) if len(symbols) else None,
        max_recall_heads=matched_heads / len(symbols) if len(symbols) else None,
        collisions=_top_collisions(matrix, names),
        matrix=tuple(tuple(row) for row in matrix.tolist()),
    )


def box_branch_of_class(names: Sequence[str], heads: HeadConfig | None) -> Ints:
    """Return the index of the box branch that predicts each class.

    Args:
        names: Class names, indexed by label.
        heads: Groups of classes; None for a single head.

    Returns:
        Indices from 0, shape ``(C,)``; all 0 for a single box branch.

    Raises:
        ConfigError: The groups do not match the classes.
    """
    branches = np.zeros(len(names), np.int64)
    if heads is not None:
        for group, labels in enumerate(heads.labels(names)):  # checks the classes in any case
            branches[list(labels)] = group if heads.box == "separate" else 0
    return branches


def points_by_level(
    symbols: Symbols, strides: Sequence[int], small_boxes: SmallBoxes = "ultralytics"
) -> Ints:
    """Count the candidate anchor points of each symbol at each level.

    Args:
        symbols: Symbols of all images.
        strides: Pixels per cell of each level, finest first.
        small_boxes: Search area around small boxes.

    Returns:
        Counts, shape ``(N, L)``.

    Raises:
        ValueError: The input size is not a multiple of every stride.
    """
    anchors = Anchors.of_image((symbols.imgsz, symbols.imgsz), strides)
    boxes = torch.from_numpy(symbols.boxes_xyxy)
    with one_thread():
        parts = [
            candidate_counts(anchors.levels, chunk, small_boxes)
            for chunk in boxes.split(BOXES_AT_ONCE)
        ]
    return torch.cat(parts).numpy()


def _shares(n_points: Ints) -> CandidateShares | None:
    if not len(n_points):
        return None
    none, one, two = ((n_points == n).mean().item() for n in range(3))
    return CandidateShares(none=none, one=one, two=two)


def _count_points(pairs: Candidates) -> tuple[int, int]:
    """Count the points that are candidates of at least one symbol, and of several symbols."""
    points = np.sort(pairs.points)
    is_first = np.diff(points, prepend=-1) > 0
    return int(is_first.sum()), int((is_first[:-1] & ~is_first[1:]).sum())


def _top_collisions(matrix: NDArray[Any], names: Sequence[str]) -> tuple[ClassCollision, ...]:
    first, second = np.triu_indices(len(names))
    points = matrix[first, second]
    order = np.argsort(-points, kind="stable")[:TOP_PAIRS]
    return tuple(
        ClassCollision(a=names[first[i]], b=names[second[i]], points=int(points[i]))
        for i in order
        if points[i]
    )
