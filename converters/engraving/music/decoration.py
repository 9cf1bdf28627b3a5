"""The decorated style: rare symbols on the notes of a score, and passages between its bars."""

import random
from collections.abc import Sequence

from lxml import etree

from converters.engraving.music.decorations.barlines import add_repeats, mark_bar
from converters.engraving.music.decorations.bars import read_bars
from converters.engraving.music.decorations.clefs import change_clefs
from converters.engraving.music.decorations.graces import grace
from converters.engraving.music.decorations.lanes import Lane, read_lanes
from converters.engraving.music.decorations.lines import LINES
from converters.engraving.music.decorations.marker import Marker
from converters.engraving.music.decorations.marks import MARKS
from converters.engraving.music.decorations.mei import Pen, tag
from converters.engraving.music.decorations.passages import insert_passages, renumber

_KINDS = {grace: 0.12} | LINES | MARKS
"""Functions that decorate the notes of a layer in a bar, with their probabilities at density 1."""


def decorate(mei: str, rng: random.Random, *, density: float = 0.5) -> str:
    """Add marks and passages to a score, so that rare symbols occur.

    The notes of the score stay in order; only their clefs may change. A score without notes is
    returned unchanged.

    Args:
        mei: MEI score, as :func:`converters.engraving.music.composition.compose` or verovio
            writes it.
        rng: Random number generator.
        density: Amount of decoration, from 0 (none) to 1 (a page black with signs).

    Returns:
        The score as MEI, to be typeset with verovio's option ``dynamSingleGlyphs``.

    Raises:
        ValueError: The density is out of range, or the text is not XML.
    """
    if not 0 <= density <= 1:
        raise ValueError(f"density must be from 0 to 1, got {density}")
    root = _parse(mei)
    if density == 0 or next(root.iter(tag("note")), None) is None:
        return mei
    marker = Marker(pen=Pen(root), rng=rng)
    change_clefs(root, read_bars(root), marker, density)
    insert_passages(read_bars(root), marker.pen, rng, density)
    renumber(list(root.iter(tag("measure"))))
    bars = read_bars(root)
    for bar, lanes in zip(bars, read_lanes(bars, rng), strict=True):
        mark_bar(bar, marker, density)
        _mark(lanes, marker, density)
    add_repeats(bars, marker, density)
    return str(etree.tostring(root, encoding="unicode"))


def _mark(lanes: Sequence[Lane], marker: Marker, density: float) -> None:
    for lane in lanes:
        for kind, probability in _KINDS.items():
            if marker.happens(probability * density):
                kind(lane, marker)


def _parse(mei: str) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, huge_tree=True, collect_ids=False)
    try:
        return etree.fromstring(mei.encode(), parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"mei: not XML: {error}") from error
