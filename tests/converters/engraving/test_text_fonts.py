"""Fonts for text."""

import numpy as np
import pytest
from fragments import SPACE_PX, drawn, score

from converters.engraving import text_fonts
from converters.engraving.text_fonts import LIBERATION, TEXT_FONTS
from converters.engraving.typefaces import Typeface

SUNG = (
    '<note pname="g" oct="4" dur="1"><verse n="1"><syl wordpos="i">Eternitas</syl></verse></note>'
)


@pytest.mark.parametrize("font", TEXT_FONTS)
def test_texts_of_all_fonts_are_about_equally_wide(font: str) -> None:
    widths = []
    for name in (LIBERATION, font):
        page = drawn(score([SUNG]), typeface=Typeface(text=name))
        (text,) = (shape for shape in page.shapes if shape.text == "Eternitas")
        widths.append(np.ptp(text.outline.points_xy[:, 0]) / SPACE_PX)
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    assert (widths[1] != widths[0]) == (font != LIBERATION)


@pytest.mark.parametrize("font", TEXT_FONTS)
@pytest.mark.parametrize("face", range(4))
def test_every_face_has_common_characters(font: str, face: int) -> None:
    for character in "Aagé0,.-ßñ":
        contours, advance, units = text_fonts.letter(font, face, character)
        assert contours
        assert 0 < advance < 1.2 * units


@pytest.mark.parametrize("font", TEXT_FONTS)
def test_characters_are_those_of_liberation_serif(font: str) -> None:
    """DejaVu Sans has Hebrew letters, but its text would run in the wrong direction."""
    hebrew, _, _ = text_fonts.letter(font, 0, "\u05d5")
    assert hebrew == []
    lacking = [
        code
        for code in text_fonts.faces(LIBERATION)[0].getBestCmap()
        if code not in text_fonts.faces(font)[0].getBestCmap()
    ]
    for code in lacking[:5]:
        here, there = (text_fonts.letter(name, 0, chr(code)) for name in (font, LIBERATION))
        assert here[1:] == there[1:]
