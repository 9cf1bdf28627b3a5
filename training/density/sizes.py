"""Symbol sizes of each class in pixels of the network input.

A stem that is 8 px wide on a page 2772 px high is 1.8 px wide at 640 px. Below about 4 px a symbol
covers half a cell of the finest feature map, its box is hard to distinguish from its neighbours',
and an augmentation that drops small boxes may remove it from training altogether.

Shapes: N symbols, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor

import numpy as np

from eval.reports.density_figures import SideSpread
from training.data.augmentation import MIN_VISIBLE, kept_by_ultralytics, visible_share
from training.grouping.statistics import Floats, Ints, Symbols

WANTED_PX = 4.0
"""Minimum length of the shorter side of a symbol."""
WANTED_SHARE = 0.95
"""Fraction of a class's symbols that should reach ``WANTED_PX``."""
PERCENTILES = 5, 25, 50, 75, 95
TOLERANCE = 1e-3
"""Relative tolerance of a side: labels have six digits, so 4 px may be stored as 3.999."""
ROUNDING = 1e-9
"""Tolerance of a number of symbols, so that 5 % of 20 symbols is one and not zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSizes:
    """Symbol sizes of a class; all figures are None for a class without symbols."""

    name: str
    count: int
    width: SideSpread | None
    height: SideSpread | None
    under_1px: float | None
    """Fraction of symbols whose shorter side is under 1 px at the training size, 0 to 1."""
    under_2px: float | None
    under_4px: float | None
    dropped: float | None
    """Fraction that the augmentation of ``omr train`` drops at the labelled size, 0 to 1."""
    dropped_by_ultralytics: float | None
    """Fraction that Ultralytics' augmentation drops at the labelled size; random scaling shifts
    it in both directions."""


def size_rows(symbols: Symbols, names: Sequence[str]) -> tuple[ClassSizes, ...]:
    """Measure the symbols of each class.

    Args:
        symbols: Symbols of all images.
        names: Class names, indexed by label.

    Returns:
        One row per class, in the order of the names.
    """
    size = symbols.imgsz, symbols.imgsz
    sides = sides_of(symbols)
    shorter = sides.min(axis=1)
    flags = {f"under_{px}px": shorter < px for px in (1, 2, 4)}
    flags["dropped"] = visible_share(symbols.boxes_xyxy, size) < MIN_VISIBLE
    flags["dropped_by_ultralytics"] = ~kept_by_ultralytics(symbols.boxes_xyxy, size)
    rows = []
    for name, indices in zip(names, members(symbols.labels, len(names)), strict=True):
        width, height = (_spread(side[indices]) for side in sides.T)
        shares = {
            key: float(flag[indices].mean()) if len(indices) else None
            for key, flag in flags.items()
        }
        rows.append(ClassSizes(name=name, count=len(indices), width=width, height=height, **shares))
    return tuple(rows)


def least_scale(
    symbols: Symbols,
    names: Sequence[str],
    wanted_px: float = WANTED_PX,
    share: float = WANTED_SHARE,
) -> dict[str, float | None]:
    """Compute the magnification at which the symbols of each class are large enough.

    Args:
        symbols: Symbols of all images.
        names: Class names, indexed by label.
        wanted_px: Minimum length of a symbol's shorter side in pixels.
        share: Fraction of a class's symbols that must reach it, 0 to 1.

    Returns:
        Factor by name, for classes with symbols; at most 1 if they are large enough already, None
        if no factor suffices because too many boxes have a side of 0.

    Raises:
        ValueError: ``wanted_px`` is not positive, or ``share`` is not between 0 and 1.
    """
    if wanted_px <= 0:
        raise ValueError(f"wanted_px is {wanted_px}")
    sides = _reached_by(share, sides_of(symbols).min(axis=1), symbols.labels, names)
    wanted_px *= 1 - TOLERANCE
    return {name: wanted_px / side if side > 0 else None for name, side in sides.items()}


def largest_tile(
    symbols: Symbols,
    stored: Symbols,
    names: Sequence[str],
    wanted_px: float = WANTED_PX,
    share: float = WANTED_SHARE,
) -> dict[str, float]:
    """Compute the largest tiles that make symbols large enough at an unchanged network input.

    Images smaller than a tile stay uncut, so their symbols keep their size.

    Args:
        symbols: Symbols of all images in pixels of the network input, without tiling.
        stored: Same symbols in pixels of the stored images.
        names: Class names, indexed by label.
        wanted_px: Minimum length of a symbol's shorter side in pixels.
        share: Fraction of a class's symbols that must reach it, 0 to 1.

    Returns:
        Tile side in pixels of the stored images by name, for classes with symbols. It is ``inf`` if
        they are large enough without tiling, and 0 if too many boxes have a side of 0. If it is
        less than ``imgsz``, tiles would have to be enlarged: larger images are needed instead.

    Raises:
        ValueError: ``share`` is not between 0 and 1.
    """
    wanted_px *= 1 - TOLERANCE
    tiles = sides_of(stored).min(axis=1) * symbols.imgsz / wanted_px
    tiles[sides_of(symbols).min(axis=1) >= wanted_px] = np.inf
    return _reached_by(share, tiles, symbols.labels, names)


def _reached_by(
    share: float, values: Floats, labels: Ints, names: Sequence[str]
) -> dict[str, float]:
    """Return, per class, the largest value that a fraction of its symbols reaches or exceeds."""
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}")
    result = {}
    for name, indices in zip(names, members(labels, len(names)), strict=True):
        if len(indices):
            rank = min(floor((1 - share) * len(indices) + ROUNDING), len(indices) - 1)
            result[name] = float(np.partition(values[indices], rank)[rank])
    return result


def sides_of(symbols: Symbols) -> Floats:
    """Return width and height of each symbol in pixels, shape ``(N, 2)``."""
    sides: Floats = symbols.boxes_xyxy[:, 2:] - symbols.boxes_xyxy[:, :2]
    return sides


def members(labels: Ints, n_classes: int) -> list[Ints]:
    """Find the symbols of each class.

    Args:
        labels: Class label of each symbol, shape ``(N,)``.
        n_classes: Number of classes C.

    Returns:
        Indices into ``labels``, ascending, one array per class.
    """
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(n_classes + 1))
    return [order[begin:end] for begin, end in pairwise(bounds)]


def _spread(sides: Floats) -> SideSpread | None:
    if not len(sides):
        return None
    p5, p25, p50, p75, p95 = np.percentile(sides, PERCENTILES).tolist()
    return SideSpread(p5=p5, p25=p25, p50=p50, p75=p75, p95=p95)
