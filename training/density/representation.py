"""Upper bounds on recall: the boxes that a head can represent, no matter how long it is trained.

A head predicts the distances from an anchor point to the four sides of a box, in strides of its
level and within a limited range. With Ultralytics' bins for 0 to 15 strides every box contains its
anchor point: next to a stem of 2 px, the best box is as wide as the distance to the point. The
fraction of a class's boxes that some candidate anchor point can represent at a given IoU bounds
the recall of any training at that IoU.

A head without distance bins (``reg_max`` 1, as in yolo26) uses the output of its last convolution
as distances, which may be negative and are unbounded: it can represent every box.

The best box of an anchor point moves each side as close to the true one as the range allows. Both
the excess and the missing part then shrink, in x and in y, as the point approaches the centre of
the box. The candidates of a level are all its points in a rectangle around that centre, so the
point nearest to the centre is the best one and no other has to be examined.

Shapes: N symbols, L levels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.reports.density_figures import RecallAtIou
from training.density.anchors import points_by_level
from training.density.sizes import members
from training.grouping.statistics import Floats, Ints, Symbols
from training.heads.distance_bins import STRIDES_BELOW_ZERO

STOCK_BINS = 16
"""Ultralytics' ``reg_max``: bins for 0, 1, ... 15 strides."""
P2_STRIDE = 4
"""Stride of the level P2 in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadSetting:
    """Properties of a head that determine which boxes it can represent."""

    name: str
    strides: tuple[int, ...]
    """Pixels per cell of each level, finest first."""
    low: float
    """Smallest outward distance from the anchor point to a side, in strides; negative if the box
    may lie to one side of the point."""
    high: float
    """Largest outward distance in strides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMaximumRecall:
    """Upper bounds on the recall of a class."""

    name: str
    count: int
    settings: Mapping[str, RecallAtIou | None]
    """Bounds by name of the setting; None for a class without symbols."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaximumRecall:
    """Upper bounds on recall for several heads."""

    settings: tuple[HeadSetting, ...]
    overall: Mapping[str, RecallAtIou | None]
    """Bounds over all symbols, by name of the setting; None without symbols."""
    classes: tuple[ClassMaximumRecall, ...]
    """Bounds per class, in the order of the names."""


def head_settings(strides: Sequence[int], reg_max: int = STOCK_BINS) -> tuple[HeadSetting, ...]:
    """List the heads to compare: stock and signed distances, without and with level P2.

    Args:
        strides: Strides of the model, finest first, with or without stride 4.
        reg_max: Ultralytics' number of bins; 1 for a head without distance bins, which has one
            kind of distance only, ``free``.
    """
    coarse = tuple(stride for stride in strides if stride > P2_STRIDE)
    fine = (P2_STRIDE, *coarse)
    ranges = {"stock": (0.0, reg_max - 1.0), "signed": (-float(STRIDES_BELOW_ZERO), reg_max - 1.0)}
    if reg_max == 1:
        ranges = {"free": (-math.inf, math.inf)}
    return tuple(
        HeadSetting(name=kind + suffix, strides=levels, low=low, high=high)
        for suffix, levels in (("", coarse), (", P2", fine))
        if levels
        for kind, (low, high) in ranges.items()
    )


def maximum_recall(
    symbols: Symbols,
    names: Sequence[str],
    settings: Sequence[HeadSetting],
    n_points: Mapping[tuple[int, ...], Ints] | None = None,
) -> MaximumRecall:
    """Compute the fraction of boxes that each head can represent.

    Args:
        symbols: Symbols of all images.
        names: Class names, indexed by label.
        settings: Heads to compare, with distinct names.
        n_points: Known results of :func:`points_by_level`, by strides.

    Raises:
        ValueError: The input size is not a multiple of every stride.
    """
    best = {}
    counted = dict(n_points or {})
    for setting in settings:
        if setting.strides not in counted:
            counted[setting.strides] = points_by_level(symbols, setting.strides)
        best[setting.name] = best_ious(symbols, setting, counted[setting.strides])
    return MaximumRecall(
        settings=tuple(settings),
        overall={key: _recall(ious) for key, ious in best.items()},
        classes=tuple(
            ClassMaximumRecall(
                name=name,
                count=len(indices),
                settings={key: _recall(ious[indices]) for key, ious in best.items()},
            )
            for name, indices in zip(names, members(symbols.labels, len(names)), strict=True)
        ),
    )


def best_ious(symbols: Symbols, setting: HeadSetting, n_points: Ints | None = None) -> Floats:
    """Compute the best IoU that any candidate anchor point of a symbol can reach.

    Args:
        symbols: Symbols of all images.
        setting: Head that predicts the boxes.
        n_points: Candidate points per symbol and level, shape ``(N, L)``; None to count them.

    Returns:
        IoU from 0 to 1, shape ``(N,)``; 0 for a symbol without candidates or without area.

    Raises:
        ValueError: The input size is not a multiple of every stride.
    """
    if n_points is None:
        n_points = points_by_level(symbols, setting.strides)
    best = np.zeros(len(symbols))
    for level, stride in enumerate(setting.strides):
        x = _best_extent(symbols, 0, stride, setting)
        y = _best_extent(symbols, 1, stride, setting)
        intersection = x.shared * y.shared
        union = x.predicted * y.predicted + x.true * y.true - intersection
        ious = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
        np.maximum(best, ious, out=best, where=n_points[:, level] > 0)
    return best


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Extent:
    """Lengths of boxes along one axis in pixels, shape ``(N,)`` each."""

    true: Floats
    predicted: Floats
    shared: Floats


def _best_extent(symbols: Symbols, axis: int, stride: int, setting: HeadSetting) -> _Extent:
    """Predict the sides along an axis from the anchor point nearest to the centre."""
    low, high = symbols.boxes_xyxy[:, axis], symbols.boxes_xyxy[:, axis + 2]
    cells = np.floor((low + high) / (2 * stride)).clip(0, symbols.imgsz // stride - 1)
    points = (cells + 0.5) * stride
    nearest, farthest = setting.low * stride, setting.high * stride
    begin = points - (points - low).clip(nearest, farthest)
    end = points + (high - points).clip(nearest, farthest)
    shared = (np.minimum(end, high) - np.maximum(begin, low)).clip(0)
    return _Extent(true=high - low, predicted=end - begin, shared=shared)


def _recall(ious: Floats) -> RecallAtIou | None:
    if not len(ious):
        return None
    iou50, iou75, iou90 = ((ious >= least).mean().item() for least in (0.5, 0.75, 0.9))
    return RecallAtIou(iou50=iou50, iou75=iou75, iou90=iou90)
