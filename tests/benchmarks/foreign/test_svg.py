import numpy as np
import pytest
from foreign_pages import (
    block,
    glyph,
    grob,
    lilypond_page,
    lilypond_staff,
    musescore_page,
    musescore_staff,
    rect,
    sign,
    stroke,
)

from benchmarks.foreign import svg
from converters.engraving import raster

LILYPOND = lilypond_page(
    lilypond_staff(10),
    grob("NoteHead", glyph(10, 12, 1.2, 1)),
    grob("BarLine", rect(30, 10, 0.2, 4.05)),
    '<g transform="translate(20, 20)"><path stroke-width="0.08" stroke-linejoin="round" '
    'stroke="currentColor" d="M1.7 -0.2C2.6 -1.0 6.0 -1.0 6.9 -0.2L6.9 -0.2C6.0 -0.9 2.6 -0.9 '
    '1.7 -0.2z"/></g>',
)
MUSESCORE = musescore_page(
    musescore_staff(200),
    sign("Note", block(1.3, -0.5, 0.5), 300, 240),
    '<polyline class="Stem" stroke="#000000" stroke-width="3" stroke-linecap="round" '
    'stroke-linejoin="bevel" points="301.5,243 301.5,310"/>',
    '<polyline class="LedgerLine" fill="none" stroke="#000000" stroke-width="4" '
    'stroke-linecap="square" points="400,300 440,300"/>',
    '<path class="TieSegment" stroke="#000000" stroke-width="1.6" stroke-linejoin="round" '
    'd="M600,300 C620,280 680,280 700,300 C680,286 620,286 600,300"/>',
)


@pytest.mark.parametrize("text", [LILYPOND, MUSESCORE], ids=["lilypond", "musescore"])
def test_outlines_are_where_resvg_draws_the_ink(text: str) -> None:
    page = svg.read(text)
    drawn = svg.rasterise(page)
    outlines = [shape.outline for shape in page.shapes]
    expected = raster.rasterise(outlines, svg.WIDTH, svg.HEIGHT, rasteriser="numpy")
    assert drawn.shape == (svg.HEIGHT, svg.WIDTH)
    assert (expected < 128).sum() > 5000
    assert np.abs(drawn.astype(int) - expected).max() <= 128  # half a pixel, at thin ends


def test_a_page_without_shapes() -> None:
    page = svg.read(musescore_page())
    assert page.shapes == []
    assert (svg.rasterise(page) == 255).all()


def test_shapes_know_their_class_and_their_origin() -> None:
    (head,) = svg.read(lilypond_page(grob("NoteHead", glyph(10, 12, 1.2, 1)))).shapes
    assert head.group.name == "NoteHead"
    assert head.origin_xy == pytest.approx((200, 240))
    assert head.scale == pytest.approx(0.08)


def test_caps_extend_strokes() -> None:
    page = svg.read(MUSESCORE)
    stem, ledger = (
        next(s for s in page.shapes if s.group.name == name) for name in ("Stem", "LedgerLine")
    )
    assert np.allclose(stem.outline.box_xyxy(), [300, 241.5, 303, 311.5], atol=0.05)
    assert ledger.outline.box_xyxy().tolist() == [398, 298, 442, 302]


def test_a_view_box_of_other_proportions_is_centred() -> None:
    text = musescore_page(stroke("Stem", 0, 0, 0, 100, width=2))
    page = svg.read(text.replace(f"0 0 {svg.WIDTH} {svg.HEIGHT}", "0 0 1240 3508"))
    assert page.shapes[0].outline.box_xyxy().tolist() == [619, 0, 621, 100]


def test_an_unknown_transform_is_an_error() -> None:
    with pytest.raises(ValueError, match="unexpected transform: skewX"):
        svg.read(musescore_page('<path transform="skewX(4)" d="M0,0 L1,1 L0,1"/>'))
