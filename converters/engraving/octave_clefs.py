"""The 8 or 15 of an octave clef, which shares one glyph with the clef.

The figure is the part of the glyph that differs from the plain clef of the same font.

Shapes: N points of the octave clef, M points of the plain clef.
"""

from functools import cache

import cv2
import numpy as np

from converters.engraving import smufl
from converters.engraving.categories import C_CLEFS, F_CLEFS
from converters.engraving.outlines import Outline, Points, outline
from converters.engraving.strokes import signed_area

NEAR = 8.0
"""Distance in glyph units up to which a point counts as part of the plain clef."""


@cache
def parts(font: str, code: str) -> tuple[Outline, Outline] | None:
    """Split an octave clef into the clef and its figure.

    Args:
        font: Music font.
        code: Code point of an octave clef, four hexadecimal digits.

    Returns:
        The plain clef and the figure, in glyph units; None if the font draws them alike.
    """
    whole = smufl.glyph(font, code)
    plain = smufl.glyph(font, _plain(code))
    if whole is None or plain is None:
        return None
    points = whole.points_xy
    beyond = _distances(points, plain) > NEAR
    if not beyond.any():
        return None
    return plain, outline([_hull(points[beyond])])


def _plain(code: str) -> str:
    if code in C_CLEFS:
        return "E05C"
    return "E062" if code in F_CLEFS else "E050"


def _hull(points: Points) -> Points:
    """Compute the convex hull of points, oriented like ink, shape ``(n, 2)``."""
    hull = cv2.convexHull(points.astype(np.float32), clockwise=True)[:, 0].astype(np.float64)
    return hull if signed_area(hull) > 0 else hull[::-1]


def _distances(points: Points, ink: Outline) -> Points:
    """Compute the distance of each point to the nearest edge, shape ``(N,)``."""
    starts = np.concatenate(ink.contours())
    steps = np.concatenate([np.roll(c, -1, axis=0) - c for c in ink.contours()])
    offsets = points[:, None] - starts  # (N, M, 2)
    along = (offsets * steps).sum(2) / np.maximum((steps**2).sum(1), 1e-12)
    nearest = offsets - np.clip(along, 0, 1)[..., None] * steps
    return np.asarray(np.hypot(*np.moveaxis(nearest, 2, 0)).min(1))
