"""Engraving of one page, from its number to its pixels and labels.

A page is determined by the seed and its number, so page k is the same in a data set of any size.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from class_maps import OmrError
from converters.boxes import Boxes
from converters.engraving import pieces, raster, smufl, svg, typesetting
from converters.engraving.balance import Balance, Quota, quotas_of_page, unmet
from converters.engraving.captures import Degradation
from converters.engraving.distributions import DegradeOption, draw_degradation
from converters.engraving.outlines import boxes_xyxy
from converters.engraving.pictures import TypesetPage, take_picture
from converters.engraving.pieces import NotationStyle, Piece
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
    degrade: DegradeOption | Degradation = "none"
    """Capture of the pages, or the parameters of every picture."""
    balance: Balance | None = None
    """Least numbers of symbols of the classes of a class map; None for no balance."""
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
    degradation: dict[str, Any]
    """Parameters of the degradation that change something."""
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
    quotas = quotas_of_page(options.balance, number)
    for attempt in range(ATTEMPTS):
        rng = random.Random(f"{options.seed}/{number}/{attempt}")
        piece = rng.choice(choices) if choices else Piece(work=number + 1)
        page = _attempt(piece, options, rng, quotas)
        if isinstance(page, EngravedPage):
            return replace(page, rejected=rejected)
        rejected[page] += 1
    reasons = ", ".join(f"{reason} ({n})" for reason, n in sorted(rejected.items()))
    raise OmrError(
        f"page {number + 1}: all {ATTEMPTS} attempts were rejected: {reasons}; "
        "try a larger --size or other --scores"
    )


def _attempt(
    piece: Piece, options: PageOptions, rng: random.Random, quotas: list[Quota]
) -> EngravedPage | str:
    """Engrave a page of a piece, or return the reason why it is rejected."""
    size = options.width, options.height
    layout = typesetting.draw_layout(rng, *size, options.fonts)
    wanted = {quota.category: quota.least for quota in quotas}
    page = pieces.set_piece(
        piece, layout, size, options.style, rng, transpose=options.transpose, wanted=wanted
    )
    if page is None:
        return "typesetting failed"
    drawing = svg.read(page.svg, layout.font)
    labelled = symbols(drawing)
    boxes = boxes_xyxy([symbol.outline for symbol in labelled])
    if reason := _flaw(labelled, boxes, size, page.n_pages):
        return reason
    if missing := unmet(quotas, Counter(symbol.category for symbol in labelled)):
        return f"too few symbols of {missing[0]}"
    typeset = TypesetPage(
        drawing=drawing,
        symbols=[symbol.outline for symbol in labelled],
        layout=layout,
        rasteriser=options.rasteriser,
    )
    picture = take_picture(typeset, draw_degradation(options.degrade, rng), rng)
    moved = [replace(s, outline=o) for s, o in zip(labelled, picture.symbols, strict=True)]
    return EngravedPage(
        pixels=picture.pixels,
        symbols=moved,
        boxes_xyxy=boxes_xyxy(picture.symbols),
        layout=layout,
        piece=piece,
        number=page.number,
        staff_space=picture.staff_space,
        degradation=picture.degradation,
        n_collisions=collisions(labelled, boxes),
        missing=drawing.missing,
        rejected=Counter(),
    )


def _flaw(labelled: Sequence[Symbol], boxes: Boxes, size: tuple[int, int], n_pages: int) -> str:
    """Find a reason to reject a page; empty if there is none.

    Args:
        labelled: Symbols of the page.
        boxes: Bounding boxes of the symbols in pixels, shape ``(N, 4)``.
        size: Width and height of the page in pixels.
        n_pages: Number of pages of the piece.
    """
    if not any(symbol.position is not None for symbol in labelled):
        return "no notes"
    if (boxes[:, :2] < 0).any() or (boxes[:, 2:] > size).any():
        return "music runs off the page"
    if n_pages > 1 and boxes[:, 3].max() < MIN_FILLED * size[1]:
        return "last page almost empty"
    return ""


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
