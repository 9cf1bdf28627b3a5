"""Strokes as the outlines of their ink.

All contours turn the same way round their ink (their signed area is positive) and holes the other
way, so that the ink of several may be added up.

Shapes: N points of a line, M points of an outline.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from converters.engraving.outlines import Points

MITRE_LIMIT = 4.0
"""A sharper corner is cut off.

Source: SVG 1.1, section 11.4, the default of stroke-miterlimit.
"""
_ARC_STEP = math.pi / 6


def signed_area(contour: Points) -> float:
    """Area of a closed contour, negative if it turns the other way; shape ``(N, 2)``."""
    x, y = contour.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def bar(x0: float, y0: float, x1: float, y1: float, width: float, *, square: bool) -> Points:
    """A straight stroke, shape ``(4, 2)``; square ends reach half the width further."""
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    dx, dy = (x1 - x0) / length * width / 2, (y1 - y0) / length * width / 2
    if square:
        x0, y0, x1, y1 = x0 - dx, y0 - dy, x1 + dx, y1 + dy
    return np.array(
        [(x0 + dy, y0 - dx), (x1 + dy, y1 - dx), (x1 - dy, y1 + dx), (x0 - dy, y0 + dx)]
    )


def dashed(line: Points, width: float, dashes: Sequence[float], *, square: bool) -> list[Points]:
    """A dashed straight stroke; ``dashes`` are lengths of ink and gap by turns."""
    (x0, y0), (x1, y1) = line.tolist()
    length = math.hypot(x1 - x0, y1 - y0)
    if not length or sum(dashes) <= 0:
        return []
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    found, start, i = [], 0.0, 0
    while start < length:
        end = min(length, start + dashes[i % len(dashes)])
        if i % 2 == 0:
            ends = (x0 + ux * start, y0 + uy * start, x0 + ux * end, y0 + uy * end)
            found.append(bar(*ends, width, square=square))
        start, i = end, i + 1
    return found


def polyline(line: Points, width: float, *, square: bool) -> Points:
    """An open stroke with mitred corners as one contour, shape ``(M, 2)``.

    Args:
        line: Its middle, shape ``(N, 2)``, at least two points that differ.
        width: Of the stroke.
        square: Its ends reach half the width further.
    """
    line = line[np.append(True, (np.diff(line, axis=0) != 0).any(1))]
    steps = np.diff(line, axis=0)
    units = steps / np.hypot(*steps.T)[:, None]
    half = width / 2
    if square:
        line = line.copy()
        line[0] -= units[0] * half
        line[-1] += units[-1] * half
    left = _side(line, units, half)
    right = _side(line[::-1], -units[::-1], half)
    contour = np.array(left + right)
    return contour if signed_area(contour) > 0 else contour[::-1]


def _side(line: Points, units: Points, half: float) -> list[tuple[float, float]]:
    """The points that lie ``half`` to the left of a line."""
    normals = np.column_stack((units[:, 1], -units[:, 0])) * half
    found = [tuple((line[0] + normals[0]).tolist())]
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
            found.append(tuple((corner + mitre).tolist()))
        else:
            found += [tuple((corner + before).tolist()), tuple((corner + after).tolist())]
    found.append(tuple((line[-1] + normals[-1]).tolist()))
    return found


def grown(contours: Sequence[Points], by: float) -> list[Points]:
    """Filled contours whose edge is stroked too: every point goes out, sharp corners are rounded.

    Args:
        contours: Closed, holes turning against what they lie in, each of shape ``(N, 2)``.
        by: Half the width of the stroke.

    Returns:
        As many contours, oriented so that their areas add up to more than nothing.
    """
    clean = [_without_repeats(contour) for contour in contours]
    clean = [contour for contour in clean if len(contour) > 2]
    if sum(map(signed_area, clean)) < 0:
        clean = [contour[::-1] for contour in clean]
    return [_grown(contour, by) for contour in clean] if by else clean


def _without_repeats(contour: Points) -> Points:
    kept: Points = contour[(contour != np.roll(contour, 1, axis=0)).any(1)]
    return kept


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
    if inner.any():  # hollow, or hardly a corner: where the two moved edges meet
        middle = (before + normals)[index]
        size = np.maximum((middle**2).sum(1), by * by)[:, None]
        round_xy[inner] = (middle * 2 * by * by / size)[inner]
    return np.asarray(contour[index] + round_xy)
