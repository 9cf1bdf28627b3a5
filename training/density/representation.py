"""Which boxes a head could predict at all, however long it is trained.

A head says how far the four sides of a box lie from its anchor point, in strides of its level, and
only within a range. With Ultralytics' bins for 0 to 15 strides every box holds its point: beside
a stem of 2 px the best box is as wide as the distance to the point. The share of a class's boxes
that some candidate anchor point can represent at an IoU bounds the recall of any training at it.

A head without distributions (``reg_max`` 1, as in yolo26) gives the distances as they come out of
its last convolution, below 0 as well and without an end: it can say every box.

The best box of an anchor point moves each side as near to the true one as the range allows. What
is then too wide and what is missing both shrink, in x and in y, as the point gets nearer to the
box's centre. The candidates of a level are all its points in a rectangle about that centre, so the
nearest one is the best, and no other has to be looked at.

Shapes: N symbols, L levels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.density.anchors import points_by_level
from training.density.sizes import members
from training.grouping.statistics import Floats, Ints, Symbols
from training.heads.distance_bins import STRIDES_BELOW_ZERO

STOCK_BINS = 16
"""Ultralytics' ``reg_max``: bins for 0, 1, ... 15 strides."""
P2_STRIDE = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A head, as far as the boxes that it can say go."""

    name: str
    strides: tuple[int, ...]
    """Pixels per cell of each level, finest first."""
    low: float
    """Strides from the anchor point to a side, outwards, at least; below 0 beyond the point."""
    high: float
    """At most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """Shares of symbols that some candidate anchor point can represent, 0 to 1."""

    iou50: float
    iou75: float
    iou90: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCeilings:
    """The highest recall that any training can reach for a class."""

    name: str
    count: int
    settings: Mapping[str, Reach | None]
    """By name of the setting; None where there is no symbol."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceilings:
    """The highest recall that any training can reach."""

    settings: tuple[Setting, ...]
    overall: Mapping[str, Reach | None]
    """Of all symbols, by name of the setting."""
    classes: tuple[ClassCeilings, ...]
    """In the order of the names."""


def settings(strides: Sequence[int], reg_max: int = STOCK_BINS) -> tuple[Setting, ...]:
    """List the heads to compare: stock and signed distances, without and with a level of stride 4.

    Args:
        strides: Those of the model, finest first; whether it has stride 4 does not matter.
        reg_max: Ultralytics' number of bins; 1 for a head without distributions, which has only
            one kind of distance, ``free``.
    """
    coarse = tuple(stride for stride in strides if stride > P2_STRIDE)
    fine = (P2_STRIDE, *coarse)
    ranges = {"stock": (0.0, reg_max - 1.0), "signed": (-float(STRIDES_BELOW_ZERO), reg_max - 1.0)}
    if reg_max == 1:
        ranges = {"free": (-math.inf, math.inf)}
    return tuple(
        Setting(name=kind + suffix, strides=levels, low=low, high=high)
        for suffix, levels in (("", coarse), (", P2", fine))
        if levels
        for kind, (low, high) in ranges.items()
    )


def ceilings(
    symbols: Symbols,
    names: Sequence[str],
    compared: Sequence[Setting],
    n_points: Mapping[tuple[int, ...], Ints] | None = None,
) -> Ceilings:
    """Find the share of boxes that can be represented at all.

    Args:
        symbols: Of all images.
        names: Class names; a label is a place in this list.
        compared: Heads, with names of their own.
        n_points: What :func:`points_by_level` gives, by strides, as far as it is known.

    Raises:
        ValueError: The size of the input is not a multiple of a stride.
    """
    best = {}
    counted = dict(n_points or {})
    for setting in compared:
        if setting.strides not in counted:
            counted[setting.strides] = points_by_level(symbols, setting.strides)
        best[setting.name] = best_ious(symbols, setting, counted[setting.strides])
    return Ceilings(
        settings=tuple(compared),
        overall={key: _reach(ious) for key, ious in best.items()},
        classes=tuple(
            ClassCeilings(
                name=name,
                count=len(own),
                settings={key: _reach(ious[own]) for key, ious in best.items()},
            )
            for name, own in zip(names, members(symbols.labels, len(names)), strict=True)
        ),
    )


def best_ious(symbols: Symbols, setting: Setting, n_points: Ints | None = None) -> Floats:
    """Find the IoU of the best box that a candidate anchor point of a symbol can say.

    Args:
        symbols: Of all images.
        setting: The head.
        n_points: Candidate points of each symbol at each level, shape ``(N, L)``, if known.

    Returns:
        0 to 1, shape ``(N,)``; 0 where there is no candidate, or the box has no area.

    Raises:
        ValueError: The size of the input is not a multiple of a stride.
    """
    if n_points is None:
        n_points = points_by_level(symbols, setting.strides)
    best = np.zeros(len(symbols))
    for level, stride in enumerate(setting.strides):
        x = _best_side(symbols, 0, stride, setting)
        y = _best_side(symbols, 1, stride, setting)
        shared = x.shared * y.shared
        union = x.said * y.said + x.true * y.true - shared
        ious = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        np.maximum(best, ious, out=best, where=n_points[:, level] > 0)
    return best


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Side:
    """A box along an axis: true and said length and what they share, pixels, shape ``(N,)``."""

    true: Floats
    said: Floats
    shared: Floats


def _best_side(symbols: Symbols, axis: int, stride: int, setting: Setting) -> _Side:
    """Say the sides along an axis from the anchor point that is nearest to the centre."""
    low, high = symbols.boxes_xyxy[:, axis], symbols.boxes_xyxy[:, axis + 2]
    cells = np.floor((low + high) / (2 * stride)).clip(0, symbols.imgsz // stride - 1)
    points = (cells + 0.5) * stride
    nearest, farthest = setting.low * stride, setting.high * stride
    begin = points - (points - low).clip(nearest, farthest)
    end = points + (high - points).clip(nearest, farthest)
    shared = (np.minimum(end, high) - np.maximum(begin, low)).clip(0)
    return _Side(true=high - low, said=end - begin, shared=shared)


def _reach(ious: Floats) -> Reach | None:
    if not len(ious):
        return None
    iou50, iou75, iou90 = ((ious >= least).mean().item() for least in (0.5, 0.75, 0.9))
    return Reach(iou50=iou50, iou75=iou75, iou90=iou90)
