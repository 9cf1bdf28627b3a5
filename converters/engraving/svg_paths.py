"""SVG path data as polygons.

Shapes: N points of a contour.
"""

import math
import re
from functools import cache

import numpy as np

from converters.engraving.outlines import Points

TOLERANCE = 0.25
"""Largest distance of a polygon from its curve, in path units: 0.02 px at the usual staff size."""

_TOKEN = re.compile(r"[A-Za-z]|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_LENGTHS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "Z": 0}


def contours(data: str) -> list[tuple[Points, bool]]:
    """Convert path data to polygons.

    Args:
        data: The ``d`` attribute of a path, without arcs.

    Returns:
        Vertices ``(x, y)`` of each subpath, shape ``(N, 2)``, and whether it is closed.

    Raises:
        ValueError: The data contains an unknown command.
    """
    pen = _Pen()
    tokens = _TOKEN.findall(data)
    at, command = 0, ""
    while at < len(tokens):
        if tokens[at].isalpha():
            command = tokens[at]
            at += 1
        n = _LENGTHS.get(command.upper())
        if n is None or (n == 0 and at < len(tokens) and not tokens[at].isalpha()):
            raise ValueError(f"path command {command!r} in {data[:60]!r}")
        pen.draw(command, [float(token) for token in tokens[at : at + n]])
        at += n
        if command in "Mm":
            command = "L" if command == "M" else "l"  # further pairs are lines
    pen.end(closed=False)
    return pen.subpaths


class _Pen:
    """State of a path being drawn."""

    def __init__(self) -> None:
        self.subpaths: list[tuple[Points, bool]] = []
        self._points: list[tuple[float, float]] = []
        self._here = self._start = self._handle = (0.0, 0.0)
        self._curve = ""  # the kind of curve drawn last, which S and T continue

    def draw(self, command: str, numbers: list[float]) -> None:
        kind = command.upper()
        if kind == "Z":
            self.end(closed=True)
            return
        x, y = self._here if command.islower() else (0.0, 0.0)
        if kind == "H":
            numbers = [numbers[0], 0.0 if command.islower() else self._here[1]]
        elif kind == "V":
            numbers = [0.0 if command.islower() else self._here[0], numbers[0]]
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        points = [(x + dx, y + dy) for dx, dy in pairs]
        if kind == "M":
            self.end(closed=False)
            self._start = self._here = points[0]
        else:
            self._add_segment(kind, points)

    def end(self, *, closed: bool) -> None:
        """End a subpath; after a closed one, the next starts at the same point."""
        if len(self._points) > 1:
            self.subpaths.append((np.array(self._points), closed))
        self._points = []
        if closed:
            self._here = self._start

    def _add_segment(self, kind: str, points: list[tuple[float, float]]) -> None:
        if not self._points:
            self._points = [self._here]
        family = "C" if kind in "CS" else "Q" if kind in "QT" else ""
        if kind in "ST":  # the first handle mirrors the last one of the previous curve
            (x, y), (hx, hy) = self._here, self._handle
            points = [(2 * x - hx, 2 * y - hy) if self._curve == family else (x, y), *points]
        if family:
            self._points.extend(_flat([self._here, *points]))
            self._handle = points[-2]
        else:
            self._points.append(points[-1])
        self._curve, self._here = family, points[-1]


def _flat(handles: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Flatten a Bézier curve to points after its start, as many as the tolerance requires.

    Source: Wang's bound; see Goldman, Pyramid Algorithms, 2003, section 5.6.3.
    """
    p = np.array(handles)
    degree = len(p) - 1
    bend = np.hypot(*(p[2:] - 2 * p[1:-1] + p[:-2]).T).max()
    n = max(1, math.ceil(math.sqrt(degree * (degree - 1) / 8 * bend / TOLERANCE)))
    return [(x, y) for x, y in (_weights(degree, n) @ p).tolist()]


@cache
def _weights(degree: int, n: int) -> Points:
    """Evaluate the Bernstein polynomials at ``n`` steps, shape ``(n, degree + 1)``."""
    t = np.arange(1, n + 1)[:, None] / n
    k = np.arange(degree + 1)
    choose = np.array([math.comb(degree, i) for i in range(degree + 1)])
    return np.asarray(choose * t**k * (1 - t) ** (degree - k))
