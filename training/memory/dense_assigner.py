"""Memory of Ultralytics' ``TaskAlignedAssigner``, which compares all boxes with all anchor points.

Ultralytics' assigner pads every image to the box count of the fullest one and compares each box
with each anchor point. These tables do not depend on the number of classes; tables of anchor points
and classes follow later. omr's assigner lists candidate pairs only; :mod:`training.memory.step`
predicts its memory.

Shapes: B images, N boxes of the fullest image, A anchor points, C classes.
"""

import re
from dataclasses import dataclass

from ultralytics import __version__ as installed

from class_maps import ConfigError

Version = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseTables:
    """Bytes per table element that are allocated at the same time, in single precision."""

    metric: int
    """Bytes per box and anchor point (B, N, A) while the metric is computed."""
    targets: int
    """Bytes per box and anchor point (B, N, A) while the targets are built."""
    of_class: int
    """Bytes per anchor point and class (B, A, C) while the targets are built."""
    of_point: int
    """Bytes per anchor point (B, A) while the targets are built."""


TABLES: tuple[tuple[Version, DenseTables], ...] = (
    ((8, 4, 176), DenseTables(metric=14, targets=9, of_class=5, of_point=41)),
    ((8, 4, 145), DenseTables(metric=11, targets=9, of_class=5, of_point=48)),
)
"""First version of each implementation, newest first, as read from ``utils/tal.py``:

* 8.4.183 to 8.4.190, the installed one: as 8.4.145, plus a mask as float, 4 bytes, that is kept
  while the metric is computed
* 8.4.145 to 8.4.175, the oldest supported: two masks, 2 bytes; overlaps and metric, 8; a mask of
  the best points, 1

Both were measured. Versions between them are counted as the newer one, which takes more."""


def dense_assigner_bytes(
    version: str | None, batch: int, boxes_max: int, n_anchors: int, n_classes: int
) -> int:
    """Compute the peak memory of Ultralytics' ``TaskAlignedAssigner``, excluding its inputs.

    Args:
        version: Ultralytics version such as ``8.4.145``; None for the installed one.
        batch: Images per batch, B.
        boxes_max: Boxes of the fullest image, N; all other images are padded to it.
        n_anchors: Anchor points per image, A.
        n_classes: Number of classes, C.

    Returns:
        Bytes in single precision; 0 if there are no boxes, because the assigner then does nothing.

    Raises:
        ConfigError: The version is malformed, or older than the oldest supported one.
    """
    if boxes_max == 0:
        return 0
    tables = _tables(version or installed)
    n_points = batch * n_anchors
    metric = tables.metric * n_points * boxes_max
    per_point = tables.targets * boxes_max + tables.of_class * n_classes + tables.of_point
    return max(metric, per_point * n_points)


def _tables(version: str) -> DenseTables:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if not match:
        raise ConfigError(f"Ultralytics {version}: malformed version; expected e.g. 8.4.145")
    number = tuple(map(int, match.groups()))
    for first, tables in TABLES:
        if number >= first:
            return tables
    raise ConfigError(f"Ultralytics {version}: not supported; expected 8.4.145 or newer")
