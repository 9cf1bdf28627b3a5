"""Pictures of typeset pages: clean, scanned, photographed or faxed, with the ink they show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np

from converters.engraving import pieces, raster, svg, warping
from converters.engraving.captures import Degradation, dpi_of, px_at_300_dpi
from converters.engraving.degradation import Sheet, degrade
from converters.engraving.outlines import Outline, boxes_xyxy, grown
from converters.engraving.pieces import Piece
from converters.engraving.staff_samples import StaffSamples, sample_staves
from converters.engraving.typesetting import PageLayout
from converters.engraving.warping import Warp
from converters.images import Pixels

MAX_ZOOM = 1.6
"""Largest resolution of a sensor, as a multiple of that of the page."""
MAX_LOW = 0.8
"""Largest low resolution of a sensor, as a fraction of that of the page."""
MIN_DPI = 75.0
"""Smallest resolution of a sensor; below it, accidentals are illegible."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TypesetPage:
    """Page before its picture is taken."""

    drawing: svg.Drawing
    """Shapes on the page, with at least one staff."""
    symbols: Sequence[Outline]
    """Ink of each symbol in pixels, at least one."""
    layout: PageLayout
    rasteriser: raster.Rasteriser


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Picture:
    """Picture of a page and the geometry of what it shows."""

    pixels: Pixels
    symbols: Sequence[Outline]
    """Ink of each symbol in pixels of the picture."""
    staff_space: float
    """Distance in pixels between adjacent lines of the five-line staves."""
    degradation: dict[str, Any]
    """Parameters of the degradation that change something."""


def take_picture(page: TypesetPage, degradation: Degradation, rng: Random) -> Picture:
    """Take a picture of a page.

    Args:
        page: Page to show.
        degradation: Parameters of the picture.
        rng: Random number generator for all choices that the parameters leave open.
    """
    samples = sample_staves(page.drawing)
    if degradation.capture == "none":
        return _clean(page, samples)
    gain_px = degradation.ink_gain_px * px_at_300_dpi(samples.staff_space(lambda xy: xy))
    width, height = page.drawing.width, page.drawing.height
    boxes = boxes_xyxy(page.symbols)
    content = np.concatenate((boxes[:, :2].min(0) - gain_px, boxes[:, 2:].max(0) + gain_px))
    warp = warping.draw_warp(degradation, rng, width=width, height=height, content_xyxy=content)
    staff_space = samples.staff_space(warp)
    degradation = replace(degradation, dpi=_sensor_dpi(degradation, dpi_of(staff_space)))
    sheet = Sheet(
        page=_rasterised(_warped(_ink(page.drawing), warp, gain_px), page),
        staff_space=staff_space,
        verso=_draw_verso(page, warp, rng) if degradation.show_through else None,
        paper_xy=warping.draw_paper(warp, degradation.edges, rng, content_xyxy=content),
    )
    rotation = {"rotation": round(samples.rotation(warp), 3)}
    return Picture(
        pixels=degrade(sheet, degradation, np.random.default_rng(rng.getrandbits(64))),
        symbols=_warped(page.symbols, warp, gain_px),
        staff_space=staff_space,
        degradation=degradation.applied() | rotation,
    )


def _clean(page: TypesetPage, samples: StaffSamples) -> Picture:
    return Picture(
        pixels=_rasterised(_ink(page.drawing), page),
        symbols=page.symbols,
        staff_space=samples.staff_space(lambda xy: xy),
        degradation=Degradation().applied(),
    )


def _sensor_dpi(degradation: Degradation, page_dpi: float) -> float:
    """Limit the resolution of the sensor, which is by default that of the page."""
    if not degradation.dpi:
        return page_dpi
    is_low = "low-resolution" in degradation.effects
    return max(MIN_DPI, min(degradation.dpi, (MAX_LOW if is_low else MAX_ZOOM) * page_dpi))


def _ink(drawing: svg.Drawing) -> list[Outline]:
    return [shape.outline for shape in drawing.shapes]


def _warped(outlines: Sequence[Outline], warp: Warp, gain_px: float) -> list[Outline]:
    return [grown(moved, gain_px) for moved in warping.warped(outlines, warp)]


def _rasterised(ink: Sequence[Outline], page: TypesetPage) -> raster.Grey:
    width, height = page.drawing.width, page.drawing.height
    return raster.rasterise(ink, width, height, rasteriser=page.rasteriser)


def _draw_verso(page: TypesetPage, warp: Warp, rng: Random) -> raster.Grey | None:
    """Draw the back of the sheet: another composed page in the same layout, mirrored.

    Returns:
        Black ink on white, shape ``(H, W)``; None if the page could not be typeset.
    """
    width, height = page.drawing.width, page.drawing.height
    verso = pieces.set_piece(Piece(work=0), page.layout, (width, height), "plain", rng)
    if verso is None:
        return None
    ink = _ink(svg.read(verso.svg, page.layout.font))
    mirrored = [outline.moved(lambda xy: (width, 0) + xy * (-1, 1)) for outline in ink]
    return _rasterised(warping.warped(mirrored, warp), page)
