"""Glyphs of the music fonts bundled with verovio.

Units: 1,000 per em, 250 per staff space; y points down.

Source: SMuFL, https://w3c.github.io/smufl/latest/.
"""

from functools import cache
from pathlib import Path

import numpy as np
import verovio
from lxml import etree

from converters.engraving import strokes, svg_paths
from converters.engraving.outlines import Outline, outline

FONTS = ("Bravura", "Gootville", "Leipzig", "Leland", "Petaluma")
"""Music fonts bundled with verovio."""
UNITS_PER_EM = 1000
UNITS_PER_STAFF_SPACE = 250
PRIVATE_USE = range(0xE000, 0xF900)
"""Code points of music signs."""
_HAIRLINE = 0.5
"""Half the width of the stroke of one unit that SVG draws around verovio's filled paths."""


@cache
def resources() -> Path:
    """Locate the folder of verovio's fonts."""
    return Path(verovio.__file__).parent / "data"


@cache
def glyph(font: str, code: str) -> Outline | None:
    """Load the outline of a glyph, or None if the font does not contain it.

    Args:
        font: One of :data:`FONTS`.
        code: Code point, four hexadecimal digits such as ``E0A4``.
    """
    file = resources() / font / f"{code}.xml"
    if not file.is_file():
        return None
    data = " ".join(path.get("d") for path in etree.parse(file).iter("{*}path"))
    return from_path(data) if data else None


@cache
def from_path(data: str) -> Outline:
    """Convert a glyph's path, whose y axis points up as in font files, to an outline."""
    upright = [points * (1, -1) for points, _ in svg_paths.contours(data)]
    return outline(strokes.grown(upright, _HAIRLINE) or [np.zeros((3, 2))])
