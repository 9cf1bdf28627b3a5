"""Fonts for text: Liberation Serif, bundled with verovio, and those bundled with matplotlib.

All of them are free, so pages look the same on every computer. matplotlib is not imported.
"""

import base64
import io
import re
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont

from converters.engraving import smufl, strokes, svg_paths
from converters.engraving.outlines import Points

LIBERATION = "Liberation Serif"
"""Font with whose metrics verovio places text."""
_FILES = {
    "STIX": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    "DejaVu Serif": (
        "DejaVuSerif",
        "DejaVuSerif-Bold",
        "DejaVuSerif-Italic",
        "DejaVuSerif-BoldItalic",
    ),
    "DejaVu Sans": (
        "DejaVuSans",
        "DejaVuSans-Bold",
        "DejaVuSans-Oblique",
        "DejaVuSans-BoldOblique",
    ),
}
"""Files with the regular, bold, italic and bold italic faces of matplotlib's fonts."""
TEXT_FONTS = (LIBERATION, *_FILES)
_COMMON = "etaoinshrdlu"
"""Letters from which the usual width of a letter is computed."""
_FIT = 0.95
"""Width of a usual letter relative to Liberation Serif; the widest letters exceed it."""


@cache
def letter(font: str, face: int, character: str) -> tuple[list[Points], float, float]:
    """Load the outline of a character.

    Letters of all fonts are scaled so that texts are about as wide as in Liberation Serif. Only
    characters of Liberation Serif are drawn; if the font lacks one, it is taken from there.

    Args:
        font: One of :data:`TEXT_FONTS`.
        face: 0 for regular, 1 for bold, 2 for italic, 3 for bold italic.
        character: The character.

    Returns:
        Contours and advance in units of the font, and units per em; no contours if the character
        is not drawn.
    """
    code = ord(character)
    if not all(code in faces(name)[face].getBestCmap() for name in (font, LIBERATION)):
        font = LIBERATION
    source = faces(font)[face]
    glyphs = source.getGlyphSet()
    glyph = glyphs[source.getBestCmap().get(code, ".notdef")]
    pen = SVGPathPen(glyphs)
    glyph.draw(pen)
    paths = svg_paths.contours(pen.getCommands())
    contours = strokes.grown([points * (1, -1) for points, _ in paths], 0.0)
    units = source["head"].unitsPerEm
    if font != LIBERATION:
        units *= _usual_width(font) / _usual_width(LIBERATION) / _FIT
    return contours, float(glyph.width), units


@cache
def faces(font: str) -> list[Any]:
    """Load the regular, bold, italic and bold italic face of a font."""
    if font in _FILES:
        return [TTFont(_matplotlib() / f"{name}.ttf") for name in _FILES[font]]
    style = (smufl.resources() / "Liberation.css").read_text(encoding="ascii")
    data = re.findall(r"base64,([^)]*)\)", style)
    return [TTFont(io.BytesIO(base64.b64decode(face))) for face in data]


def _matplotlib() -> Path:
    """Locate the fonts of matplotlib, without importing it."""
    origin = cast(ModuleSpec, find_spec("matplotlib")).origin
    return Path(cast(str, origin)).parent / "mpl-data" / "fonts" / "ttf"


@cache
def _usual_width(font: str) -> float:
    """Compute the mean advance of common letters in em."""
    face = faces(font)[0]
    names = [face.getBestCmap()[ord(character)] for character in _COMMON]
    advances = [face["hmtx"][name][0] for name in names]
    return float(sum(advances) / len(advances) / face["head"].unitsPerEm)
