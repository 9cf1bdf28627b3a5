"""How large the symbols of each class are as the network sees them.

A stem that is 8 px wide on a page of 2772 px is 1.8 px wide at 640. Below some 4 px a symbol covers
half a cell of the finest map, its box can hardly be told from its neighbours', and an
augmentation that drops small boxes may take it out of the training altogether.

Shapes: N symbols, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor

import numpy as np

from training.data.augmentation import MIN_VISIBLE, kept_by_ultralytics, visible_share
from training.grouping.statistics import Floats, Ints, Symbols

WANTED_PX = 4.0
WANTED_SHARE = 0.95
PERCENTILES = 5, 25, 50, 75, 95
TOLERANCE = 1e-3
"""Share of a side that may be missing: labels have six digits, so 4 px of a page may be 3.999."""
ROUNDING = 1e-9
"""Of a share of symbols, so that 5 % of 20 is one of them and not none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SideSpread:
    """Percentiles of a side over a class's symbols, in pixels at the training size."""

    p5: float
    p25: float
    p50: float
    p75: float
    p95: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSizes:
    """How large a class's symbols are; everything is None where there are none."""

    name: str
    count: int
    width: SideSpread | None
    height: SideSpread | None
    under_1px: float | None
    """Share of its symbols whose smaller side is under 1 px at the training size, 0 to 1."""
    under_2px: float | None
    under_4px: float | None
    dropped: float | None
    """Share that the augmentation of ``omr train`` takes out, at the labelled size, 0 to 1."""
    dropped_by_ultralytics: float | None
    """Share that Ultralytics' augmentation takes out; random sizes move it up and down."""


def size_rows(symbols: Symbols, names: Sequence[str]) -> tuple[ClassSizes, ...]:
    """Measure the symbols of each class.

    Args:
        symbols: Of all images.
        names: Class names; a label is a place in this list.

    Returns:
        A row for each name, in their order.
    """
    size = symbols.imgsz, symbols.imgsz
    sides = sides_of(symbols)
    smaller = sides.min(axis=1)
    figures = {f"under_{px}px": smaller < px for px in (1, 2, 4)}
    figures["dropped"] = visible_share(symbols.boxes_xyxy, size) < MIN_VISIBLE
    figures["dropped_by_ultralytics"] = ~kept_by_ultralytics(symbols.boxes_xyxy, size)
    rows = []
    for name, own in zip(names, members(symbols.labels, len(names)), strict=True):
        width, height = (_spread(side[own]) for side in sides.T)
        shares = {
            key: float(is_so[own].mean()) if len(own) else None for key, is_so in figures.items()
        }
        rows.append(ClassSizes(name=name, count=len(own), width=width, height=height, **shares))
    return tuple(rows)


def least_scale(
    symbols: Symbols,
    names: Sequence[str],
    wanted_px: float = WANTED_PX,
    share: float = WANTED_SHARE,
) -> dict[str, float | None]:
    """Find by how much larger the network would have to see symbols.

    Args:
        symbols: Of all images.
        names: Class names; a label is a place in this list.
        wanted_px: Pixels that the smaller side of a symbol is to have at least.
        share: Of each class's symbols that are to be so large, 0 to 1.

    Returns:
        The factor of each class with symbols, by name. 1 and less: they are large enough. None: no
        factor is enough, because too many boxes have a side of 0.

    Raises:
        ValueError: ``wanted_px`` is not above 0, or ``share`` is not from 0 to 1.
    """
    if wanted_px <= 0:
        raise ValueError(f"wanted_px is {wanted_px}")
    sides = _had_by(share, sides_of(symbols).min(axis=1), symbols.labels, names)
    wanted_px *= 1 - TOLERANCE
    return {name: wanted_px / side if side > 0 else None for name, side in sides.items()}


def largest_tile(
    symbols: Symbols,
    stored: Symbols,
    names: Sequence[str],
    wanted_px: float = WANTED_PX,
    share: float = WANTED_SHARE,
) -> dict[str, float]:
    """Find the largest tiles in which symbols are large enough at the same network input.

    An image that is smaller than a tile is not cut, and is seen as it was before.

    Args:
        symbols: Of all images, as the network sees them uncut.
        stored: The same in pixels of the images as they are stored.
        names: Class names; a label is a place in this list.
        wanted_px: Pixels that the smaller side of a symbol is to have at least.
        share: Of each class's symbols that are to be so large, 0 to 1.

    Returns:
        The side of the tiles in pixels of the stored images, of each class with symbols, by name.
        ``inf``: they are large enough uncut. Under ``imgsz``: tiles that small would make up
        pixels; larger images are wanted. 0: too many boxes have a side of 0.

    Raises:
        ValueError: ``share`` is not from 0 to 1.
    """
    wanted_px *= 1 - TOLERANCE
    tiles = sides_of(stored).min(axis=1) * symbols.imgsz / wanted_px
    tiles[sides_of(symbols).min(axis=1) >= wanted_px] = np.inf
    return _had_by(share, tiles, symbols.labels, names)


def _had_by(share: float, values: Floats, labels: Ints, names: Sequence[str]) -> dict[str, float]:
    """The largest value that a share of each class's symbols has at least."""
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}")
    found = {}
    for name, own in zip(names, members(labels, len(names)), strict=True):
        if len(own):
            place = min(floor((1 - share) * len(own) + ROUNDING), len(own) - 1)
            found[name] = float(np.partition(values[own], place)[place])
    return found


def sides_of(symbols: Symbols) -> Floats:
    """Width and height of each symbol in pixels, shape ``(N, 2)``."""
    sides: Floats = symbols.boxes_xyxy[:, 2:] - symbols.boxes_xyxy[:, :2]
    return sides


def members(labels: Ints, n_classes: int) -> list[Ints]:
    """Find the symbols of each class.

    Args:
        labels: Shape ``(N,)``.
        n_classes: C.

    Returns:
        Places in ``labels``, rising, of each class.
    """
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(n_classes + 1))
    return [order[begin:end] for begin, end in pairwise(bounds)]


def _spread(sides: Floats) -> SideSpread | None:
    if not len(sides):
        return None
    p5, p25, p50, p75, p95 = np.percentile(sides, PERCENTILES).tolist()
    return SideSpread(p5=p5, p25=p25, p50=p50, p75=p75, p95=p95)
