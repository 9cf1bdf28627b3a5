"""Sizes of glyphs, dots and ties that vary between pages."""

import json
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from fragments import PLAIN, SPACE_PX, drawn, labelled, score

from converters.engraving import child, smufl, typefaces, typesetting
from converters.engraving.symbols import Symbol
from converters.engraving.typefaces import Typeface

HALVES = '<note pname="{}" oct="4" dur="2"/>' * 2
BRACE = 'symbol="brace" bar.thru="true"'


def first(category: str, result: list[Symbol]) -> tuple[float, float, float, float]:
    """Return the box of the first symbol of a category in staff spaces."""
    x0, y0, x1, y1 = next(
        s.outline.box_xyxy() / SPACE_PX for s in result if s.category.startswith(category)
    )
    return float(x0), float(y0), float(x1), float(y1)


def size(category: str, result: list[Symbol]) -> tuple[float, float]:
    x0, y0, x1, y1 = first(category, result)
    return x1 - x0, y1 - y0


def test_the_default_typeface_is_that_of_verovio() -> None:
    page = drawn(
        score([HALVES.format("f", "d")], lower=["<mRest/>"], group=BRACE), useBraceGlyph=True
    )
    for shape in page.shapes:
        if shape.kind == "glyph":
            assert shape.stretch == (1.0, 1.0)
    glyph = smufl.glyph("Leipzig", "E0A3")
    head = next(shape for shape in page.shapes if shape.code == "E0A3")
    assert glyph is not None
    assert np.ptp(head.outline.points_xy[:, 0]) == pytest.approx(
        np.ptp(glyph.points_xy[:, 0]) * head.scale
    )


@pytest.mark.parametrize("font", smufl.FONTS)
@pytest.mark.parametrize(("pitch", "side"), [("f", 2), ("d", 0)])
def test_stems_touch_stretched_noteheads(font: str, pitch: str, side: int) -> None:
    """Stems point up on the right side of a head, and down on its left side.

    Some fonts place the stem slightly inside the head, and stretching keeps it there.
    """
    mei = score([f'<note pname="{pitch}" oct="{4 if side else 5}" dur="2"/><rest dur="2"/>'])
    wide = Typeface(stretches={"E0A3": (1.13, 1.0)})
    plain, stretched = labelled(mei, font), labelled(mei, font, wide)
    assert size("noteheadHalf", stretched)[0] == pytest.approx(
        1.13 * size("noteheadHalf", plain)[0], abs=0.01
    )
    inset, stretched_inset = (
        abs(first("noteheadHalf", page)[side] - first("stem", page)[side])
        for page in (plain, stretched)
    )
    assert stretched_inset == pytest.approx(1.13 * inset, abs=0.02)


@pytest.mark.parametrize(
    ("code", "category", "event"),
    [
        ("E0A2", "noteheadWhole", '<note pname="g" oct="4" dur="1"/>'),
        ("E0A4", "noteheadBlack", '<note pname="g" oct="4" dur="8"/>'),
        ("E240", "flag8thUp", '<note pname="g" oct="4" dur="8"/>'),
        ("E262", "accidentalSharp", '<note pname="g" oct="4" dur="1" accid="s"/>'),
        ("E4E5", "restQuarter", '<rest dur="4"/>'),
        ("E050", "clefG", '<rest dur="4"/>'),
    ],
)
def test_glyphs_are_stretched_in_both_directions(code: str, category: str, event: str) -> None:
    mei = score([event])
    plain, stretched = (
        size(category, labelled(mei, typeface=Typeface(stretches={code: stretch})))
        for stretch in ((1.0, 1.0), (0.9, 1.1))
    )
    assert stretched == pytest.approx((0.9 * plain[0], 1.1 * plain[1]), abs=0.02)


def test_octave_clefs_are_stretched_with_their_figure() -> None:
    mei = score(["<mRest/>"], clef='<clef shape="G" line="2" dis="8" dis.place="below"/>')
    plain, tall = (
        labelled(mei, "Bravura", Typeface(stretches={"E052": stretch}))
        for stretch in ((1.0, 1.0), (1.0, 1.06))
    )
    assert size("clefG", tall)[1] == pytest.approx(1.06 * size("clefG", plain)[1], abs=0.02)
    assert size("clef8", tall)[1] == pytest.approx(1.06 * size("clef8", plain)[1], abs=0.02)
    assert first("clef8", tall)[3] > first("clefG", tall)[3]


def test_braces_grow_to_the_left() -> None:
    mei = score([HALVES.format("f", "d")], lower=["<mRest/>"], group=BRACE)
    plain, wide = (
        labelled(mei, typeface=Typeface(stretches={"E000": stretch}), useBraceGlyph=True)
        for stretch in ((1.0, 1.0), (1.4, 1.0))
    )
    assert size("brace", wide)[0] == pytest.approx(1.4 * size("brace", plain)[0], abs=0.02)
    assert first("brace", wide)[2] == pytest.approx(first("brace", plain)[2], abs=0.02)


def test_dots_have_the_diameter_of_the_typeface() -> None:
    mei = score(['<note pname="g" oct="4" dur="2" dots="1"/>'])
    for diameter in (0.36, 0.52):
        dot = size("augmentationDot", labelled(mei, typeface=Typeface(dot=diameter)))
        assert dot == pytest.approx((diameter, diameter), abs=0.02)


TIED = '<note xml:id="a" pname="a" oct="4" dur="2"/><note xml:id="b" pname="a" oct="4" dur="2"/>'


def test_ties_change_in_height_but_not_in_thickness() -> None:
    mei = score([TIED], controls=['<tie startid="#a" endid="#b"/>'])
    ties = [
        next(s for s in labelled(mei, typeface=Typeface(tie_height=h)) if s.category == "tie")
        for h in (1.0, 0.7, 1.2)
    ]
    boxes = [tie.outline.box_xyxy() / SPACE_PX for tie in ties]
    heights = [float(box[3] - box[1]) for box in boxes]
    assert heights[1] < 0.85 * heights[0] < heights[0] < 0.9 * heights[2]
    thicknesses = [thickness(tie) for tie in ties]
    assert thicknesses == pytest.approx([thicknesses[0]] * 3, abs=0.03)


def thickness(tie: Symbol) -> float:
    """Measure the vertical extent of a tie at its middle in staff spaces."""
    points = tie.outline.points_xy
    middle = (points[:, 0].min() + points[:, 0].max()) / 2
    near = points[np.abs(points[:, 0] - middle) < 0.15 * np.ptp(points[:, 0])]
    return float(np.ptp(near[:, 1])) / SPACE_PX


def test_long_ties_are_higher_if_they_grow() -> None:
    mei = score([TIED], controls=['<tie startid="#a" endid="#b"/>'])
    heights = []
    for growth in (0.0, 0.07):
        page = labelled(mei, typeface=Typeface(tie_growth=growth), spacingLinear=0.6)
        width, height = size("tie", page)
        assert width > 4
        heights.append(height)
    assert heights[1] > heights[0] + 0.03


FOREIGN = {
    "E0A2": ((1.94, 1.98), (1.10, 1.10)),
    "E0A3": ((1.38, 1.39), (1.10, 1.10)),
    "E0A4": ((1.30, 1.32), (1.10, 1.10)),
    "E240": ((0.90, 0.96), (3.00, 3.01)),
    "E260": ((0.89, 0.92), (2.51, 2.59)),
    "E261": ((0.66, 0.72), (3.02, 3.06)),
    "E262": ((0.99, 1.10), (3.00, 3.01)),
    "E050": ((2.52, 2.58), (7.14, 7.32)),
    "E05C": ((2.72, 2.73), (4.00, 4.00)),
    "E082": ((1.47, 1.48), (2.00, 2.00)),
    "E08B": ((1.73, 1.74), (2.80, 2.80)),
    "E4E4": ((1.50, 1.50), (0.62, 0.62)),
    "E4E5": ((1.07, 1.08), (2.87, 2.87)),
    "E4C0": ((2.66, 2.66), (1.52, 1.54)),
}
"""Smallest and largest median width and height in LilyPond's and MuseScore's pages, in staff
spaces, by code point."""


@pytest.mark.parametrize("code", FOREIGN)
def test_sizes_include_those_of_other_engravers(code: str) -> None:
    limits = next(limits for codes, *limits in typefaces.STRETCHES if code in codes)
    if not any(limits[1]):
        limits = [limits[0], limits[0]]
    for axis, ((smallest, largest), sizes) in enumerate(zip(limits, FOREIGN[code], strict=True)):
        glyphs = [glyph for font in smufl.FONTS if (glyph := smufl.glyph(font, code))]
        extents = [np.ptp(g.points_xy[:, axis]) / smufl.UNITS_PER_STAFF_SPACE for g in glyphs]
        assert min(extents) * smallest < sizes[0] <= sizes[1] < max(extents) * largest


def test_typefaces_differ_and_stay_within_their_limits() -> None:
    drawn_typefaces = [typefaces.draw_typeface(random.Random(seed)) for seed in range(20)]
    assert len({t.stretches["E0A2"] for t in drawn_typefaces}) == 20
    for typeface in drawn_typefaces:
        assert typefaces.DOT[0] <= typeface.dot <= typefaces.DOT[1]
        assert typeface.stretches["E4C0"][0] == typeface.stretches["E4C0"][1]
        assert typeface.stretches["E052"] == typeface.stretches["E050"]
    assert PLAIN.stretches == {}


def test_child_processes_use_the_typeface(tmp_path: Path) -> None:
    path = tmp_path / "a.mei"
    path.write_text(score([HALVES.format("f", "d")]))
    layout = typesetting.draw_layout(random.Random(0), 800, 800, ["Leland"])
    choices = {"seed": 0, "decorated": False, "transpose": False}
    request = json.dumps({"path": str(path), "layout": asdict(layout), **choices})
    here = typesetting.typeset(path.read_text(), layout, random.Random(0))
    assert here is not None
    assert child._respond(json.loads(request)) == asdict(here)
    assert f"matrix({layout.typeface.stretches['E0A3'][0]:g},0,0," in here.svg
