"""What Ultralytics' own assigner would take: tables of all boxes against all anchor points.

Our assigner lists the pairs that can matter, and its memory is part of :mod:`training.memory.step`.
Ultralytics' compares every box of the fullest image, in every image, with every anchor point. A
class factor does not come in there; the tables of all anchor points and classes come after it.

Shapes: B images, N boxes of the fullest image, A anchor points, C classes.
"""

import re
from dataclasses import dataclass

from ultralytics import __version__ as installed

from class_maps import ConfigError

Version = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseTables:
    """Bytes that are there together, in single precision."""

    metric: int
    """Of a box and an anchor point (B, N, A), when the metric is worked out."""
    targets: int
    """Of a box and an anchor point (B, N, A), when the targets are made."""
    of_class: int
    """Of an anchor point and a class (B, A, C), then."""
    of_point: int
    """Of an anchor point (B, A), then."""


TABLES: tuple[tuple[Version, DenseTables], ...] = (
    ((8, 4, 176), DenseTables(metric=14, targets=9, of_class=5, of_point=41)),
    ((8, 4, 145), DenseTables(metric=11, targets=9, of_class=5, of_point=48)),
    ((8, 4, 110), DenseTables(metric=22, targets=12, of_class=5, of_point=56)),
    ((0, 0, 0), DenseTables(metric=32, targets=12, of_class=21, of_point=64)),
)
"""By the first version that has them, the newest first. Read off ``utils/tal.py``:

* up to 8.4.80: distances to two corners, (B, N, A, 2) each in single precision, and both together,
  16 + 16; one-hot targets of 8 bytes, twice, beside masks of 5
* 8.4.110 to 8.4.130: a mask of candidates as it is, as bool, and scores and overlaps, 10; scores at
  all points or their powers, and the metric, 12
* 8.4.145 to 8.4.175: two masks, 2, overlaps and metric, 8, and a mask of the best, 1
* 8.4.183 to 8.4.190: the same, and a mask as a float, 4, is kept while the metric is worked out

and measured at 8.3.40, 8.4.0, 8.4.50, 8.4.80, 8.4.110, 8.4.130, 8.4.145, 8.4.160, 8.4.175, 8.4.183
and 8.4.190. Versions between two that differ count as the one that takes more."""


def dense_assigner_bytes(
    version: str | None, batch: int, boxes_max: int, n_anchors: int, n_classes: int
) -> int:
    """Compute the peak memory of Ultralytics' ``TaskAlignedAssigner``, beside what it is given.

    Args:
        version: Of Ultralytics, such as ``8.4.145``; None for the installed one.
        batch: B.
        boxes_max: N, of the fullest image: all others are filled up to it.
        n_anchors: A.
        n_classes: C.

    Returns:
        Bytes, in single precision; 0 without a box, because it does nothing then.

    Raises:
        ConfigError: No such version.
    """
    if boxes_max == 0:
        return 0
    tables = _tables(version or installed)
    n_points = batch * n_anchors
    metric = tables.metric * n_points * boxes_max
    of_points = tables.targets * boxes_max + tables.of_class * n_classes + tables.of_point
    return max(metric, of_points * n_points)


def _tables(version: str) -> DenseTables:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if not found:
        raise ConfigError(f"Ultralytics {version}: no such version; write it like 8.4.145")
    number = tuple(map(int, found.groups()))
    return next(tables for first, tables in TABLES if number >= first)
