"""One engraved page, from its number to its pixels and labels.

Every page is drawn from the seed and its own number alone, so that page k of few is page k of many.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from class_maps import OmrError
from converters.boxes import Boxes
from converters.engraving import degradation, raster, scores, smufl, svg, typesetting, warping
from converters.engraving.outlines import boxes_xyxy
from converters.engraving.scores import Piece, Style
from converters.engraving.symbols import Symbol, symbols
from converters.engraving.typesetting import Layout
from converters.images import Pixels
from converters.overlaps import overlapping_pairs

COMPACT = re.compile(
    r"notehead|accidental|key|augmentationDot|rest|timeSig|clef[GFCU]|artic|fermata|dynamic[A-Z]$"
    r"|ornament|fingering|keyboardPedal|strings|tuplet\d|segno|coda|caesura|breathMark"
)
"""Categories of symbols that fill their boxes: two of them have no business in one place."""
MAX_SHARED = 0.4
"""Share of the smaller box that another may cover."""
MIN_FILLED = 0.35
"""Share of its height that a page must be filled to, unless the score has no other."""
ATTEMPTS = 50
"""Tries a page gets: some music does not fit a page, some files cannot be set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PageOptions:
    """Everything that decides what is on a page, besides its number."""

    seed: int = 0
    width: int = 1960
    """Pixels."""
    height: int = 2772
    """Pixels."""
    fonts: tuple[str, ...] = smufl.FONTS
    """Music fonts to choose from."""
    style: Style = "plain"
    degrade: warping.Capture = "none"
    engine: raster.Engine = "numpy"
    """What fills the outlines."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EngravedPage:
    """A page and its labels."""

    pixels: Pixels
    symbols: list[Symbol]
    """With their ink where it is on this page."""
    boxes_xyxy: Boxes
    """Of each symbol, shape ``(N, 4)``."""
    layout: Layout
    piece: Piece
    number: int
    """Which page of the piece it is, from 1."""
    n_collisions: int
    """Pairs of symbols that lie on each other and should not."""
    rejected: Counter[str]
    """Tries that came to nothing, by reason."""


def engrave_page(number: int, pieces: Sequence[Piece], options: PageOptions) -> EngravedPage:
    """Engrave one page.

    Args:
        number: Of the page in the data set, from 0.
        pieces: Scores to choose from; none: the music is made up.
        options: Everything else.

    Raises:
        OmrError: No try came to a page.
    """
    rejected: Counter[str] = Counter()
    for attempt in range(ATTEMPTS):
        rng = random.Random(f"{options.seed}/{number}/{attempt}")
        piece = rng.choice(pieces) if pieces else Piece(work=number + 1)
        page = _attempt(piece, options, rng)
        if isinstance(page, EngravedPage):
            return replace(page, rejected=rejected)
        rejected[page] += 1
    reasons = ", ".join(f"{reason} ({n})" for reason, n in sorted(rejected.items()))
    raise OmrError(
        f"page {number + 1}: none of {ATTEMPTS} tries came to a page: {reasons}; "
        "try a larger --size or other --scores"
    )


def _attempt(piece: Piece, options: PageOptions, rng: random.Random) -> EngravedPage | str:
    """Engrave a page of a piece, or say why it is none."""
    size = options.width, options.height
    layout = typesetting.draw_layout(rng, *size, options.fonts)
    page = scores.set_piece(piece, layout, size, options.style, rng)
    if page is None:
        return "cannot be set"
    drawing = svg.read(page.svg, layout.font)
    found = symbols(drawing)
    boxes = boxes_xyxy([symbol.outline for symbol in found])
    if not any(symbol.position is not None for symbol in found):
        return "no notes"
    if (boxes[:, :2] < 0).any() or (boxes[:, 2:] > size).any():
        return "music that runs off the page"
    if page.n_pages > 1 and boxes[:, 3].max() < MIN_FILLED * size[1]:
        return "hardly anything on a last page"
    ink = [shape.outline for shape in drawing.shapes]
    n_collisions = collisions(found, boxes)
    if options.degrade != "none":
        extent = np.concatenate((boxes[:, :2].min(0), boxes[:, 2:].max(0)))
        warp = warping.draw_warp(
            options.degrade, rng, width=size[0], height=size[1], content_xyxy=extent
        )
        moved = warping.warped([symbol.outline for symbol in found], warp)
        found = [replace(s, outline=o) for s, o in zip(found, moved, strict=True)]
        boxes, ink = boxes_xyxy(moved), warping.warped(ink, warp)
    pixels = raster.rasterise(ink, *size, engine=options.engine)
    noise = np.random.default_rng(rng.getrandbits(64))
    return EngravedPage(
        pixels=degradation.degrade(pixels, options.degrade, noise),
        symbols=found,
        boxes_xyxy=boxes,
        layout=layout,
        piece=piece,
        number=page.number,
        n_collisions=n_collisions,
        rejected=Counter(),
    )


def collisions(found: Sequence[Symbol], boxes: Boxes) -> int:
    """Count pairs of compact symbols of which one covers much of the other's box.

    The letters of one dynamic are set close, and so is what else verovio draws in one group.

    Args:
        found: The symbols of a page before it was bent.
        boxes: Theirs, shape ``(N, 4)``.
    """
    compact = [i for i, symbol in enumerate(found) if COMPACT.match(symbol.category)]
    pairs = overlapping_pairs(boxes[compact], MAX_SHARED, of="smaller").tolist()
    groups = [found[i].shapes[0].group for i in compact]
    return sum(groups[a] is not groups[b] for a, b in pairs)
