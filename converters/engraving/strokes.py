"""Strokes as the outlines of their ink.

All contours have the same orientation around ink (positive signed area), holes the opposite one,
so that the areas of several contours can be summed.

Shapes: N points of a line, M points of an outline.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal, TypeAlias

import numpy as np

from converters.engraving.outlines import Points

MITRE_LIMIT = 4.0
"""Mitre limit beyond which a corner is bevelled.

Source: SVG 1.1, section 11.4, the default of stroke-miterlimit.
"""
Ends: TypeAlias = Literal["butt", "square", "round"]
"""Line caps of a stroke, as in SVG."""
_ARC_STEP = math.pi / 6
_SHORTEST = 1e-6
"""Least length of a dash; rounding leaves shorter ones at the end of a line."""
_CAP = np.linspace(0, math.pi, 9)[1:-1]
"""Angles of the points of a round cap."""


def signed_area(contour: Points) -> float:
    """Compute the area of a closed contour of shape ``(N, 2)``; the sign gives its orientation."""
    x, y = contour.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def dashed(
    line: Points, width: float, dashes: Sequence[float], *, ends: Ends = "butt"
) -> list[Points]:
    """Outline a dashed stroke.

    Args:
        line: Centre line, shape ``(N, 2)``.
        width: Width of the stroke.
        dashes: Alternating lengths of dashes and gaps, repeated as often as needed.
        ends: Caps of every dash.

    Returns:
        A contour per dash, each of shape ``(M, 2)``.
    """
    distances = np.append(0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T)))
    length = float(distances[-1])
    if not length or sum(dashes) <= 0:
        return []
    rounds = math.ceil(length / sum(dashes)) + 1
    cuts = [0.0, *accumulate([*dashes] * 2 * rounds)]
    pieces = [(a, min(b, length)) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    parts = [_between(line, distances, a, b) for a, b in pieces if a + _SHORTEST < b]
    return [polyline(part, width, ends=ends) for part in parts]


def _between(line: Points, distances: Points, start: float, end: float) -> Points:
    """Cut out the part of a line between two distances along it."""
    at = np.concatenate(([start], distances[(distances > start) & (distances < end)], [end]))
    return np.column_stack([np.interp(at, distances, line[:, axis]) for axis in (0, 1)])


def polyline(line: Points, width: float, *, ends: Ends = "butt") -> Points:
    """Outline an open stroke with mitred corners as one contour, shape ``(M, 2)``.

    Args:
        line: Centre line, shape ``(N, 2)``, with at least two distinct points.
        width: Width of the stroke.
        ends: Caps of the stroke.
    """
    line = line[np.append(True, (np.diff(line, axis=0) != 0).any(1))]
    steps = np.diff(line, axis=0)
    units = steps / np.hypot(*steps.T)[:, None]
    half = width / 2
    if ends == "square":
        line = line.copy()
        line[0] -= units[0] * half
        line[-1] += units[-1] * half
    left = _side(line, units, half)
    right = _side(line[::-1], -units[::-1], half)
    if ends == "round":
        left += _cap(line[-1], units[-1], half)
        right += _cap(line[0], -units[0], half)
    contour = np.array(left + right)
    return contour if signed_area(contour) > 0 else contour[::-1]


def _cap(end: Points, unit: Points, half: float) -> list[tuple[float, float]]:
    """Compute the points of a round cap, from the left side to the right."""
    (x, y), (u, v) = end.tolist(), unit.tolist()
    turns = [(half * math.cos(a), half * math.sin(a)) for a in _CAP]
    return [(x + v * c + u * s, y - u * c + v * s) for c, s in turns]


def _side(line: Points, units: Points, half: float) -> list[tuple[float, float]]:
    """Compute the points at distance ``half`` to the left of a line."""
    normals = np.column_stack((units[:, 1], -units[:, 0])) * half
    side = [tuple((line[0] + normals[0]).tolist())]
    for corner, (before, after), (u, v) in zip(
        line[1:-1],
        pairwise(normals),
        pairwise(units),
        strict=True,
    ):
        cos_half = math.sqrt(max(0.0, (1 + float(u @ v)) / 2))
        outside = float(u[0] * v[1] - u[1] * v[0]) > 0
        if cos_half > (1 / MITRE_LIMIT if outside else 1e-3):
            middle = before + after
            mitre = middle / math.hypot(*middle) * half / cos_half
            side.append(tuple((corner + mitre).tolist()))
        else:
            side += [tuple((corner + before).tolist()), tuple((corner + after).tolist())]
    side.append(tuple((line[-1] + normals[-1]).tolist()))
    return side


def grown(contours: Sequence[Points], by: float) -> list[Points]:
    """Expand filled contours by a stroke along their edges; sharp corners are rounded.

    Args:
        contours: Closed contours, each of shape ``(N, 2)``; holes have the opposite orientation.
        by: Half the width of the stroke.

    Returns:
        Expanded contours without degenerate ones, oriented so that their total area is positive.
    """
    clean = [_without_repeats(contour) for contour in contours]
    clean = [contour for contour in clean if len(contour) > 2]
    if sum(map(signed_area, clean)) < 0:
        clean = [contour[::-1] for contour in clean]
    return [_grown(contour, by) for contour in clean] if by else clean


def _without_repeats(contour: Points) -> Points:
    distinct: Points = contour[(contour != np.roll(contour, 1, axis=0)).any(1)]
    return distinct


def _grown(contour: Points, by: float) -> Points:
    steps = np.roll(contour, -1, axis=0) - contour
    units = steps / np.hypot(*steps.T)[:, None]
    normals = np.column_stack((units[:, 1], -units[:, 0])) * by
    before = np.roll(normals, 1, axis=0)
    u = np.roll(units, 1, axis=0)
    turn = np.arctan2(u[:, 0] * units[:, 1] - u[:, 1] * units[:, 0], (u * units).sum(1))
    arcs = np.where(turn > _ARC_STEP, np.ceil(turn / _ARC_STEP), 0).astype(np.int64)
    index = np.repeat(np.arange(len(contour)), arcs + 1)
    step = np.arange(len(index)) - np.repeat(np.cumsum(arcs + 1) - arcs - 1, arcs + 1)
    angle = turn[index] * step / np.maximum(arcs[index], 1)
    cos, sin, (x, y) = np.cos(angle), np.sin(angle), before[index].T
    round_xy = np.column_stack((cos * x - sin * y, sin * x + cos * y))
    inner = (arcs == 0)[index]
    if inner.any():  # at concave or very blunt corners: the intersection of the moved edges
        middle = (before + normals)[index]
        size = np.maximum((middle**2).sum(1), by * by)[:, None]
        round_xy[inner] = (middle * 2 * by * by / size)[inner]
    return np.asarray(contour[index] + round_xy)
