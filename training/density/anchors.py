"""Which symbols have an anchor point, and which have to share one.

A head predicts one box at each anchor point. A symbol that no point lies in or near is never
learnt, and of two symbols with the same single point one is not. Both bound the recall of any
training, whatever the model.

Shapes: N symbols, C classes, L levels, P candidate pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.assigners.assignment import Anchors, SmallBoxes, candidate_counts
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
from training.heads.head_config import HeadConfig

BOXES_AT_ONCE = 100_000
"""Boxes whose corners are worked on together."""
TOP_PAIRS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateShares:
    """Shares of a class's symbols by the number of their candidate anchor points, 0 to 1."""

    none: float
    one: float
    two: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassAnchors:
    """The candidate anchor points of a class's symbols; None where there are none."""

    name: str
    count: int
    candidates: CandidateShares | None
    """As the assigner looks for them: a short side counts as one stride of the second level."""
    inside: CandidateShares | None
    """If only points inside a symbol counted, as in Ultralytics 8.3."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassPair:
    """Two classes, or one twice, and the anchor points that symbols of both want."""

    first: str
    second: str
    points: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Contest:
    """How much symbols quarrel about anchor points."""

    points: int
    """Anchor points, of all images, that are a candidate of a symbol."""
    contested: int
    """Those that are a candidate of several."""
    contested_share: float | None
    """Of ``points``, 0 to 1; None where there is no point."""
    without_candidate: int
    """Symbols that no anchor point could predict."""
    ceiling_single: float | None
    """Share of symbols that can each have a point of their own, with one box branch."""
    ceiling_heads: float | None
    """The same with the given heads: every group with a box branch has points of its own."""
    top_pairs: tuple[ClassPair, ...]
    """Most points first; a pair that shares none is left out."""
    collisions: tuple[tuple[int, ...], ...]
    """Points that two classes want, in the order of the names, ``C`` by ``C``; on the diagonal
    those that several symbols of the class want."""


def anchor_rows(
    symbols: Symbols,
    names: Sequence[str],
    strides: Sequence[int],
    n_points: Ints | None = None,
) -> tuple[ClassAnchors, ...]:
    """Count the candidate anchor points of each class's symbols.

    Args:
        symbols: Of all images.
        names: Class names; a label is a place in this list.
        strides: Pixels per cell of each level, finest first.
        n_points: What :func:`points_by_level` gives, if known.

    Returns:
        A row for each name, in their order.

    Raises:
        ValueError: The size of the input is not a multiple of a stride.
    """
    reached = (points_by_level(symbols, strides) if n_points is None else n_points).sum(axis=1)
    inside = points_by_level(symbols, strides, "none").sum(axis=1)
    return tuple(
        ClassAnchors(
            name=name,
            count=len(own),
            candidates=_shares(reached[own]),
            inside=_shares(inside[own]),
        )
        for name, own in zip(names, members(symbols.labels, len(names)), strict=True)
    )


def contest(
    symbols: Symbols,
    names: Sequence[str],
    strides: Sequence[int],
    heads: HeadConfig | None = None,
) -> Contest:
    """Let all symbols look for an anchor point of their own.

    Args:
        symbols: Of all images.
        names: Class names; a label is a place in this list.
        strides: Pixels per cell of each level, finest first.
        heads: Groups of classes; a single head if None.

    Raises:
        ConfigError: The groups are not of these classes.
        ValueError: The size of the input is not a multiple of a stride.
    """
    single, of_heads = np.zeros(len(names), np.int64), head_of_class(names, heads)
    total = np.zeros((len(names), len(names)), np.int64)
    counts = np.zeros(5, np.int64)
    for some in candidates(symbols, strides):
        total += collisions(some, symbols.labels, len(names))
        matched, covered = capacity_of(some, single[symbols.labels], 1)
        matched_heads = matched
        if of_heads.any():
            n_heads = int(of_heads.max()) + 1
            matched_heads = capacity_of(some, of_heads[symbols.labels], n_heads)[0]
        counts += [*_points(some), covered, matched, matched_heads]
    points, contested, covered, matched, matched_heads = counts.tolist()
    return Contest(
        points=points,
        contested=contested,
        contested_share=contested / points if points else None,
        without_candidate=len(symbols) - covered,
        ceiling_single=matched / len(symbols) if len(symbols) else None,
        ceiling_heads=matched_heads / len(symbols) if len(symbols) else None,
        top_pairs=_top_pairs(total, names),
        collisions=tuple(tuple(row) for row in total.tolist()),
    )


def head_of_class(names: Sequence[str], heads: HeadConfig | None) -> Ints:
    """Tell which box branch predicts each class.

    Args:
        names: Class names; a label is a place in this list.
        heads: Groups of classes; a single head if None.

    Returns:
        From 0 on, shape ``(C,)``; all 0 where there is a single box branch.

    Raises:
        ConfigError: The groups are not of these classes.
    """
    branch = np.zeros(len(names), np.int64)
    if heads is not None:
        for group, own in enumerate(heads.labels(names)):  # also checked where it changes nothing
            branch[list(own)] = group if heads.box == "separate" else 0
    return branch


def points_by_level(
    symbols: Symbols, strides: Sequence[int], small_boxes: SmallBoxes = "ultralytics"
) -> Ints:
    """Count the candidate anchor points of each symbol.

    Args:
        symbols: Of all images.
        strides: Pixels per cell of each level, finest first.
        small_boxes: How far around a small box to look.

    Returns:
        Shape ``(N, L)``.

    Raises:
        ValueError: The size of the input is not a multiple of a stride.
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


def _points(some: Candidates) -> tuple[int, int]:
    """Count the points that a symbol wants, and those that several want."""
    points = np.sort(some.points)
    new = np.diff(points, prepend=-1) > 0
    return int(new.sum()), int((new[:-1] & ~new[1:]).sum())


def _top_pairs(total: NDArray[Any], names: Sequence[str]) -> tuple[ClassPair, ...]:
    first, second = np.triu_indices(len(names))
    points = total[first, second]
    order = np.argsort(-points, kind="stable")[:TOP_PAIRS]
    return tuple(
        ClassPair(first=names[first[i]], second=names[second[i]], points=int(points[i]))
        for i in order
        if points[i]
    )
