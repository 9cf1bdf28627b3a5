"""Text as outlines, independent of system fonts."""

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from converters.engraving import smufl, text_fonts
from converters.engraving.outlines import Points

Element: TypeAlias = Any
"""An lxml element; lxml has no type annotations."""

_BOLD = {"ending", "fing", "reh", "tempo"}
_ITALIC = {"dir", "dynam", "mNum"}
_ANCHORS = {"start": 0.0, "middle": -0.5, "end": -1.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class TextStyle:
    """Typographic style of a text."""

    font: str = text_fonts.LIBERATION
    """One of :data:`text_fonts.TEXT_FONTS`."""
    bold: bool = False
    italic: bool = False
    size: float = 0.0
    """Font size in units of the drawing per em."""

    @property
    def face(self) -> int:
        """Index of the face: 0 for regular, 1 for bold, 2 for italic, 3 for bold italic."""
        return self.bold + 2 * self.italic


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """One character and its position."""

    text: str
    contours: list[Points]
    """Outline of the ink in glyph units, relative to its origin."""
    x: float
    y: float
    scale: float
    """Units of the drawing per unit of the glyph."""
    is_missing: bool = False
    """Whether the typeface lacks the character, which should be visible."""

    @property
    def code(self) -> str:
        """Code point if the character is a music sign, otherwise empty."""
        return f"{ord(self.text):04X}" if ord(self.text) in smufl.PRIVATE_USE else ""


@dataclass(slots=True)
class _Line:
    """Letters that are aligned together: the text between two absolute positions."""

    x: float
    y: float
    anchor: float
    letters: list[Letter]
    width: float = 0.0


def letters(
    element: Element, font: str, groups: set[str], text_font: str = text_fonts.LIBERATION
) -> list[Letter]:
    """Set a ``text`` element of verovio's SVG.

    Args:
        element: The lxml element.
        font: Music font for music signs within the text.
        groups: Names of the enclosing groups, some of which imply bold or italic type.
        text_font: Font for all other characters, one of :data:`text_fonts.TEXT_FONTS`.

    Returns:
        Letters with positions in units of the drawing.
    """
    lines = [_Line(0.0, 0.0, 0.0, [])]
    bold, italic = bool(groups & _BOLD), bool(groups & _ITALIC)
    style = TextStyle(font=text_font, bold=bold, italic=italic)
    _set_element(element, style, font, lines)
    return [
        replace(letter, x=letter.x + line.x + line.anchor * line.width, y=line.y)
        for line in lines
        for letter in line.letters
    ]


def _set_element(element: Element, style: TextStyle, font: str, lines: list[_Line]) -> None:
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
            _set_element(child, style, font, lines)
        _write(child.tail, style, font, lines[-1], spacing)


def _style(element: Element, style: TextStyle) -> TextStyle:
    if size := element.get("font-size"):
        style = replace(style, size=float(size.removesuffix("px")))
    if slant := element.get("font-style"):
        style = replace(style, italic=slant == "italic")
    if weight := element.get("font-weight"):
        style = replace(style, bold=weight == "bold")
    return style


def _write(text: str | None, style: TextStyle, font: str, line: _Line, spacing: float) -> None:
    if not text or not style.size or not text.strip("\n\r\t"):
        return
    for character in unicodedata.normalize("NFC", re.sub(r"[\n\r\t]", "", text)):
        contours, advance, units = _character(character, style, font)
        scale = style.size / units
        line.letters.append(
            Letter(
                text=character,
                contours=contours,
                x=line.width,
                y=0.0,
                scale=scale,
                is_missing=not contours and not _is_blank(character),
            )
        )
        line.width += advance * scale + spacing


def _character(character: str, style: TextStyle, font: str) -> tuple[list[Points], float, float]:
    """Return the contours and the advance of a character, and its units per em."""
    if ord(character) not in smufl.PRIVATE_USE:
        return text_fonts.letter(style.font, style.face, character)
    glyph = smufl.glyph(font, f"{ord(character):04X}")
    if glyph is None:
        return [], 0.0, smufl.UNITS_PER_EM
    return glyph.contours(), float(glyph.points_xy[:, 0].max()), smufl.UNITS_PER_EM


def _is_blank(character: str) -> bool:
    """Check whether a character is meant to be invisible: spaces, controls and the like."""
    category = unicodedata.category(character)
    is_variation_selector = unicodedata.name(character, "").startswith("VARIATION SELECTOR")
    return category in {"Zs", "Zl", "Zp", "Cc", "Cf"} or is_variation_selector
