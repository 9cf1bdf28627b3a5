"""Text as outlines, set from the faces that verovio carries, so that no system font matters."""

import base64
import io
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont

from converters.engraving import smufl, strokes, svg_paths
from converters.engraving.outlines import Points

Element: TypeAlias = Any
"""Of lxml, which has no types."""

_BOLD = {"ending", "fing", "reh", "tempo"}
_ITALIC = {"dir", "dynam", "mNum"}
_ANCHORS = {"start": 0.0, "middle": -0.5, "end": -1.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """How text is set."""

    bold: bool = False
    italic: bool = False
    size: float = 0.0
    """Units to the em."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """One character, where it stands."""

    text: str
    contours: list[Points]
    """Its ink in glyph units around its own origin."""
    x: float
    y: float
    scale: float
    """Units of the drawing to a unit of the glyph."""

    @property
    def code(self) -> str:
        """Code point of a music sign, "" for a letter."""
        return f"{ord(self.text):04X}" if ord(self.text) in smufl.PRIVATE_USE else ""


@dataclass(slots=True)
class _Line:
    """Letters that are placed together: text between two absolute positions."""

    x: float
    y: float
    anchor: float
    letters: list[Letter]
    width: float = 0.0


def letters(element: Element, font: str, groups: set[str]) -> list[Letter]:
    """Set a ``text`` element of verovio's SVG.

    Args:
        element: Of lxml.
        font: Music font, for music signs among the letters.
        groups: Names of the groups that it stands in, some of which are bold or italic.
    """
    lines = [_Line(0.0, 0.0, 0.0, [])]
    style = Style(bold=bool(groups & _BOLD), italic=bool(groups & _ITALIC))
    _set(element, style, font, lines)
    return [
        replace(letter, x=letter.x + line.x + line.anchor * line.width, y=line.y)
        for line in lines
        for letter in line.letters
    ]


def _set(element: Element, style: Style, font: str, lines: list[_Line]) -> None:
    style = _style(element, style)
    x, y = element.get("x"), element.get("y")
    if x is not None or y is not None:
        last = lines[-1]
        anchor = last.anchor
        lines.append(_Line(float(x or last.x), float(y or last.y), anchor, []))
    if anchored := element.get("text-anchor"):
        lines[-1].anchor = _ANCHORS[anchored]
    spacing = float((element.get("letter-spacing") or "0").removesuffix("px"))
    _write(element.text, style, font, lines[-1], spacing)
    for child in element:
        if isinstance(child.tag, str) and not child.tag.endswith("}title"):
            _set(child, style, font, lines)
        _write(child.tail, style, font, lines[-1], spacing)


def _style(element: Element, style: Style) -> Style:
    if size := element.get("font-size"):
        style = replace(style, size=float(size.removesuffix("px")))
    if slant := element.get("font-style"):
        style = replace(style, italic=slant == "italic")
    if weight := element.get("font-weight"):
        style = replace(style, bold=weight == "bold")
    return style


def _write(text: str | None, style: Style, font: str, line: _Line, spacing: float) -> None:
    if not text or not style.size or not text.strip("\n\r\t"):
        return
    for character in re.sub(r"[\n\r\t]", "", text):
        contours, advance, units = _character(character, style, font)
        scale = style.size / units
        line.letters.append(
            Letter(text=character, contours=contours, x=line.width, y=0.0, scale=scale)
        )
        line.width += advance * scale + spacing


def _character(character: str, style: Style, font: str) -> tuple[list[Points], float, int]:
    """Contours, advance, and units to the em."""
    if ord(character) not in smufl.PRIVATE_USE:
        return *_letter(_face(bold=style.bold, italic=style.italic), character), _UNITS_PER_EM
    found = smufl.glyph(font, f"{ord(character):04X}")
    if found is None:
        return [], 0.0, smufl.UNITS_PER_EM
    return found.contours(), float(found.points_xy[:, 0].max()), smufl.UNITS_PER_EM


_UNITS_PER_EM = 2048
"""Of Liberation Serif."""


def _face(*, bold: bool, italic: bool) -> int:
    return bold + 2 * italic


@cache
def _faces() -> list[Any]:
    """Liberation Serif: regular, bold, italic, bold italic."""
    style = (smufl.resources() / "Liberation.css").read_text(encoding="ascii")
    data = re.findall(r"base64,([^)]*)\)", style)
    return [TTFont(io.BytesIO(base64.b64decode(face))) for face in data]


@cache
def _letter(face: int, character: str) -> tuple[list[Points], float]:
    font = _faces()[face]
    glyphs = font.getGlyphSet()
    glyph = glyphs[font.getBestCmap().get(ord(character), ".notdef")]
    pen = SVGPathPen(glyphs)
    glyph.draw(pen)
    paths = svg_paths.contours(pen.getCommands())
    return strokes.grown([points * (1, -1) for points, _ in paths], 0.0), float(glyph.width)
