"""Strokes as the outlines of their ink.

All contours turn the same way round their ink (their signed area is positive) and holes the other
way, so that the ink of several may be added up.

Shapes: N points of a line, M points of an outline.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal, TypeAlias

import numpy as np

from converters.engraving.outlines import Points

MITRE_LIMIT = 4.0
"""A sharper corner is cut off.

Source: SVG 1.1, section 11.4, the default of stroke-miterlimit.
"""
Ends: TypeAlias = Literal["butt", "square", "round"]
"""Of a stroke: where its middle ends, or half its width further."""
_ARC_STEP = math.pi / 6
_CAP = np.linspace(0, math.pi, 9)[1:-1]
"""Angles of the points of a round end."""


def signed_area(contour: Points) -> float:
    """Area of a closed contour, negative if it turns the other way; shape ``(N, 2)``."""
    x, y = contour.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def dashed(
    line: Points, width: float, dashes: Sequence[float], *, ends: Ends = "butt"
) -> list[Points]:
    """A dashed stroke.

    Args:
        line: Its middle, shape ``(N, 2)``.
        width: Of the stroke.
        dashes: Lengths of ink and gap by turns, over and over.
        ends: Of every dash.

    Returns:
        A contour for each dash, each of shape ``(M, 2)``.
    """
    walked = np.append(0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T)))
    length = float(walked[-1])
    if not length or sum(dashes) <= 0:
        return []
    rounds = math.ceil(length / sum(dashes)) + 1
    cuts = [0.0, *accumulate([*dashes] * 2 * rounds)]
    pieces = [(a, min(b, length)) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    return [polyline(_between(line, walked, a, b), width, ends=ends) for a, b in pieces if a < b]


def _between(line: Points, walked: Points, start: float, end: float) -> Points:
    """The part of a line between two ways along it."""
    at = np.concatenate(([start], walked[(walked > start) & (walked < end)], [end]))
    return np.column_stack([np.interp(at, walked, line[:, axis]) for axis in (0, 1)])


def polyline(line: Points, width: float, *, ends: Ends = "butt") -> Points:
    """An open stroke with mitred corners as one contour, shape ``(M, 2)``.

    Args:
        line: Its middle, shape ``(N, 2)``, at least two points that differ.
        width: Of the stroke.
        ends: What it ends in.
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
    """The points of a round end, from the left side to the right one."""
    (x, y), (u, v) = end.tolist(), unit.tolist()
    turns = [(half * math.cos(a), half * math.sin(a)) for a in _CAP]
    return [(x + v * c + u * s, y - u * c + v * s) for c, s in turns]


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
