"""Symbols without a box that look like those of a class, if no other ink touches them.

Shapes: K components of the ink, P pairs of a component and a typical shape, S shapes of all
classes, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from eval.lint.ink import Ink
from eval.lint.symbol_shapes import are_alike, features, symbol_shapes
from eval.lint.unlabelled import Unlabelled, components

OTHERS = "notehead", "stem", "flag", "ledgerLine", "brace", "clefC"
"""Start of the names of classes that are not sought: noteheads touch stems and ledger lines; other
C clefs, which a class map may lack, look the same."""
SOUGHT = "noteheadWhole", "noteheadHalf"
"""Start of the names of noteheads that are sought all the same."""
MIN_SIDE, MAX_SIDE = 0.15, 9.0
"""Shortest and longest side of a symbol, in staff spaces."""
GAP = 0.45
"""Distance between the parts of a symbol, such as the dots of an F clef, in staff spaces."""
TOLERANCE = 0.3
"""Difference between the sides of ink and of a typical shape, in staff spaces."""
NEAR_STAFF = 6
"""Distance from the staff within which symbols are sought, in halves of a staff space."""
MIN_NEAR = 0.08
"""Least distance from a typical shape that counts as near, because the ink is not cut as exactly as
by the boxes from which the shapes were learnt."""
MAX_COMPONENTS = 400
"""Components of a page from which none is compared, because its ink is not that of symbols."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shapes:
    """Typical shapes of all classes."""

    described: NDArray[np.float64]
    """Features, shape ``(S, F)``."""
    names: tuple[str, ...]
    """Class of each shape."""
    near: NDArray[np.float64]
    """Distance that 90% of the symbols of its class stay below, at least ``MIN_NEAR``, shape
    ``(S,)``."""


@cache
def _shapes() -> _Shapes:
    rows = [(name, known, s) for name, known in symbol_shapes().items() for s in known.shapes]
    return _Shapes(
        described=np.array([shape for _, _, shape in rows]),
        names=tuple(name for name, _, _ in rows),
        near=np.array([max(known.near, MIN_NEAR) for _, known, _ in rows]),
    )


def sought_classes(names: Sequence[str]) -> dict[str, str]:
    """Return the group of each class in the table: the classes of the data that look like it.

    Args:
        names: Names of the classes in the data.

    Returns:
        Groups such as ``keyFlat + accidentalFlat`` by class; other classes are not sought.
    """
    known = [name for name in symbol_shapes() if not name.startswith(OTHERS) or _is_head(name)]
    group_of = {}
    for name in known:
        alike = [other for other in names if other in known and are_alike(name, other)]
        if alike:
            group_of[name] = " + ".join(alike)
    return group_of


def _is_head(name: str) -> bool:
    return name.startswith(SOUGHT)


def find_symbols(
    ink: Ink, unlabelled: Unlabelled, staff_space: float, max_distance: float
) -> tuple[Boxes, tuple[str, ...]]:
    """Find ink without a box that looks like a symbol.

    Args:
        ink: Ink of the image.
        unlabelled: The part of it that is in no box.
        staff_space: Staff space in pixels.
        max_distance: Distance from a typical shape, as a multiple of the distance that 90% of the
            symbols of the class stay below.

    Returns:
        Boxes in pixels, shape ``(K, 4)``, and the class of each.
    """
    boxes = components(unlabelled.rest)
    sides = (boxes[:, 2:] - boxes[:, :2]) / staff_space
    boxes = boxes[(sides.min(axis=1) > MIN_SIDE) & (sides.max(axis=1) < MAX_SIDE)]
    boxes = boxes[unlabelled.near_staves((boxes[:, :2] + boxes[:, 2:]) / 2, NEAR_STAFF)]
    if not 0 < len(boxes) <= MAX_COMPONENTS:
        return np.empty((0, 4)), ()
    boxes = np.concatenate((boxes, _joined(boxes, GAP * staff_space)))
    shapes = _shapes()
    component, shape = _candidates(boxes, staff_space)
    centres = (boxes[component, :2] + boxes[component, 2:]) / 2
    half = 2.0 ** shapes.described[shape, -2:] * staff_space / 2
    compared = np.concatenate((centres - half, centres + half), axis=1)  # (P, 4)
    cells = features(ink.sums, compared, staff_space)[:, :-2] - shapes.described[shape, :-2]
    distance = np.sqrt((cells**2).mean(axis=1)) / shapes.near[shape]
    order = np.argsort(distance, kind="stable")
    order = order[distance[order] <= max_distance]
    best = order[_first_of_each(compared[order])]
    return compared[best], tuple(shapes.names[i] for i in shape[best].tolist())


def _joined(boxes_xyxy: Boxes, gap: float) -> Boxes:
    """Return the box around each two boxes that are close to each other."""
    left, top, right, bottom = boxes_xyxy.T
    apart = np.maximum(left[:, None] - right, top[:, None] - bottom)  # (K, K)
    first, second = np.nonzero(np.triu(np.maximum(apart, apart.T) <= gap, 1))
    low = np.minimum(boxes_xyxy[first, :2], boxes_xyxy[second, :2])
    return np.concatenate((low, np.maximum(boxes_xyxy[first, 2:], boxes_xyxy[second, 2:])), axis=1)


def _candidates(boxes_xyxy: Boxes, staff_space: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of a box and a shape of about its size, shape ``(P,)`` each."""
    sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / staff_space
    difference = np.abs(sides[:, None] - 2.0 ** _shapes().described[:, -2:])  # (K, S, 2)
    component, shape = np.nonzero((difference <= TOLERANCE).all(axis=2))
    return component, shape


def _first_of_each(boxes_xyxy: Boxes) -> list[int]:
    """Return the indices of boxes whose centre is in no earlier one of these boxes."""
    kept: list[int] = []
    for i, centre in enumerate((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2):
        earlier = boxes_xyxy[kept]
        if not ((earlier[:, :2] <= centre) & (centre <= earlier[:, 2:])).all(axis=1).any():
            kept.append(i)
    return kept
