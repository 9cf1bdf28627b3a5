"""Engraving of one page, from its number to its pixels and labels.

A page is determined by the seed and its number, so page k is the same in a data set of any size.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from class_maps import OmrError
from converters.boxes import Boxes
from converters.engraving import degradation, pieces, raster, smufl, svg, typesetting, warping
from converters.engraving.outlines import boxes_xyxy
from converters.engraving.pieces import NotationStyle, Piece
from converters.engraving.staves import Staves
from converters.engraving.symbols import Symbol, symbols
from converters.engraving.typesetting import PageLayout
from converters.images import Pixels
from converters.overlaps import overlapping_pairs

COMPACT = re.compile(
    r"notehead|accidental|key|augmentationDot|rest|timeSig|clef[GFCU]|artic|fermata|dynamic[A-Z]$"
    r"|ornament|fingering|keyboardPedal|strings|tuplet\d|segno|coda|caesura|breathMark"
)
"""Categories of compact symbols, which fill their boxes and should not overlap."""
MAX_SHARED = 0.4
"""Largest fraction of the smaller box that another compact symbol may cover."""
MIN_FILLED = 0.35
"""Smallest fraction of its height to which a page must be filled, if the piece has several
pages."""
SAMPLES = 9
"""Number of points of a staff at which its height is measured."""
ATTEMPTS = 50
"""Number of attempts per page: some music does not fit, some files cannot be typeset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PageOptions:
    """Everything that determines a page besides its number."""

    seed: int = 0
    width: int = 1960
    """Width of the page in pixels."""
    height: int = 2772
    """Height of the page in pixels."""
    fonts: tuple[str, ...] = smufl.FONTS
    """Music fonts to choose from."""
    style: NotationStyle = "plain"
    transpose: bool = False
    """Whether to transpose the user's scores at random."""
    degrade: warping.Capture = "none"
    rasteriser: raster.Rasteriser = "blend2d"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EngravedPage:
    """A page and its labels."""

    pixels: Pixels
    symbols: list[Symbol]
    """Symbols with their ink in pixels of this page."""
    boxes_xyxy: Boxes
    """Bounding box of each symbol in pixels, shape ``(N, 4)``."""
    layout: PageLayout
    piece: Piece
    number: int
    """Number of the page within the piece, from 1."""
    staff_space: float
    """Distance in pixels between adjacent lines of its five-line staves, as drawn on this page."""
    n_collisions: int
    """Number of pairs of compact symbols that overlap."""
    missing: Counter[str]
    """Number of characters of texts that are not drawn because the typeface lacks them."""
    rejected: Counter[str]
    """Number of rejected attempts by reason."""


def engrave_page(number: int, choices: Sequence[Piece], options: PageOptions) -> EngravedPage:
    """Engrave one page.

    Args:
        number: Number of the page in the data set, from 0.
        choices: Pieces to choose from; empty to compose one.
        options: Appearance of the page.

    Raises:
        OmrError: All attempts were rejected.
    """
    rejected: Counter[str] = Counter()
    for attempt in range(ATTEMPTS):
        rng = random.Random(f"{options.seed}/{number}/{attempt}")
        piece = rng.choice(choices) if choices else Piece(work=number + 1)
        page = _attempt(piece, options, rng)
        if isinstance(page, EngravedPage):
            return replace(page, rejected=rejected)
        rejected[page] += 1
    reasons = ", ".join(f"{reason} ({n})" for reason, n in sorted(rejected.items()))
    raise OmrError(
        f"page {number + 1}: all {ATTEMPTS} attempts were rejected: {reasons}; "
        "try a larger --size or other --scores"
    )


def _attempt(piece: Piece, options: PageOptions, rng: random.Random) -> EngravedPage | str:
    """Engrave a page of a piece, or return the reason why it is rejected."""
    size = options.width, options.height
    layout = typesetting.draw_layout(rng, *size, options.fonts)
    page = pieces.set_piece(piece, layout, size, options.style, rng, transpose=options.transpose)
    if page is None:
        return "typesetting failed"
    drawing = svg.read(page.svg, layout.font)
    labelled = symbols(drawing)
    boxes = boxes_xyxy([symbol.outline for symbol in labelled])
    if not any(symbol.position is not None for symbol in labelled):
        return "no notes"
    if (boxes[:, :2] < 0).any() or (boxes[:, 2:] > size).any():
        return "music runs off the page"
    if page.n_pages > 1 and boxes[:, 3].max() < MIN_FILLED * size[1]:
        return "last page almost empty"
    ink = [shape.outline for shape in drawing.shapes]
    n_collisions = collisions(labelled, boxes)
    extent = np.concatenate((boxes[:, :2].min(0), boxes[:, 2:].max(0)))
    warp = warping.draw_warp(
        options.degrade, rng, width=size[0], height=size[1], content_xyxy=extent
    )
    if options.degrade != "none":
        moved = warping.warped([symbol.outline for symbol in labelled], warp)
        labelled = [replace(s, outline=o) for s, o in zip(labelled, moved, strict=True)]
        boxes, ink = boxes_xyxy(moved), warping.warped(ink, warp)
    pixels = raster.rasterise(ink, *size, rasteriser=options.rasteriser)
    noise = np.random.default_rng(rng.getrandbits(64))
    return EngravedPage(
        pixels=degradation.degrade(pixels, options.degrade, noise),
        symbols=labelled,
        boxes_xyxy=boxes,
        layout=layout,
        piece=piece,
        number=page.number,
        staff_space=page_staff_space(drawing, warp),
        n_collisions=n_collisions,
        missing=drawing.missing,
        rejected=Counter(),
    )


def page_staff_space(drawing: svg.Drawing, warp: warping.Warp) -> float:
    """Measure the staff space of a page: the line distance of its five-line staves.

    The distance between the outer lines of a staff is measured along the staff after the page is
    warped, because the box of a rotated or bent staff is taller than the staff. On a page without
    five-line staves, the staff space of a full-size staff in the same place is used.

    Args:
        drawing: Page with at least one staff, before it is warped.
        warp: Map from the points of the page to the points of its picture.

    Returns:
        Median in pixels.
    """
    staves = Staves(drawing).all
    full = [staff for staff in staves if staff.is_full]
    tops, bottoms = [], []
    for staff in full or staves:
        top, bottom = staff.lines_y[[0, -1]]
        if not full:
            bottom = top + 4 * drawing.staff_space
        xs = np.linspace(staff.x0, staff.x1, SAMPLES)
        tops.append(np.stack((xs, np.full(SAMPLES, top)), axis=1))
        bottoms.append(np.stack((xs, np.full(SAMPLES, bottom)), axis=1))
    heights = np.hypot(*(warp(np.concatenate(bottoms)) - warp(np.concatenate(tops))).T)
    return float(np.median(heights)) / 4


def collisions(labelled: Sequence[Symbol], boxes: Boxes) -> int:
    """Count pairs of compact symbols where one covers much of the other's box.

    Symbols that verovio draws in the same group may overlap, e.g. the letters of one dynamic.

    Args:
        labelled: Symbols of a page before it is warped.
        boxes: Bounding boxes of the symbols in pixels, shape ``(N, 4)``.
    """
    compact = [i for i, symbol in enumerate(labelled) if COMPACT.match(symbol.category)]
    pairs = overlapping_pairs(boxes[compact], MAX_SHARED, of="smaller").tolist()
    groups = [labelled[i].shapes[0].group for i in compact]
    return sum(groups[a] is not groups[b] for a, b in pairs)
