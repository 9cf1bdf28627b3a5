"""Pieces for foreign pages: composed by omr from seeds that no other command uses."""

import random
import re
from dataclasses import dataclass

from benchmarks.foreign.musicxml import A4_MM, from_mei
from benchmarks.foreign.svg import HEIGHT, WIDTH
from converters.engraving.music.composition import compose

STAFF_SPACE_PX = (16.0, 24.0)
"""Smallest and largest staff space at 300 dpi in pixels."""
AREA_PER_BAR = 900
"""Approximate area of a bar in square staff spaces, for pages that are not quite full."""
_PARTIAL = re.compile(r'<measure [^>]*metcon="false"')
_MEASURE = re.compile(r"<measure ")


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignPiece:
    """One piece of music for foreign pages."""

    number: int
    """Number of the piece, from 0."""
    staff_space: float
    """Staff space in pixels."""
    musicxml: str


def draw_piece(seed: int, number: int) -> ForeignPiece:
    """Compose a piece.

    The random numbers are those of the string ``foreign/SEED/NUMBER/ATTEMPT``; ``omr engrave``
    composes from ``SEED/NUMBER/ATTEMPT``, so none of its pages shows the same piece. Pieces with
    upbeats in the middle are redrawn, because musicxml2ly cannot convert them.

    Args:
        seed: Seed of the data set.
        number: Number of the piece.
    """
    attempt = 0
    while True:
        rng = random.Random(f"foreign/{seed}/{number}/{attempt}")
        staff_space = rng.uniform(*STAFF_SPACE_PX)
        bars = round(WIDTH * HEIGHT / staff_space**2 / AREA_PER_BAR * rng.uniform(0.6, 1.0))
        mei = compose(rng, bars=max(4, bars))
        if not _has_inner_upbeat(mei):
            text = from_mei(mei, staff_space * A4_MM[0] / WIDTH)
            return ForeignPiece(number=number, staff_space=staff_space, musicxml=text)
        attempt += 1


def _has_inner_upbeat(mei: str) -> bool:
    """Check for incomplete bars other than the first and the last."""
    starts = [match.start() for match in _MEASURE.finditer(mei)]
    partial = {match.start() for match in _PARTIAL.finditer(mei)}
    return not partial <= {starts[0], starts[-1]}
