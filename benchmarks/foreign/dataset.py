"""Data sets of foreign pages, in the format of DeepScoresV2."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.foreign import lilypond, svg
from benchmarks.foreign.labels import symbols
from benchmarks.foreign.pieces import ForeignPiece, draw_piece
from benchmarks.foreign.programs import version
from converters import images
from converters.engraving import annotations
from converters.engraving.outlines import boxes_xyxy
from converters.engraving.symbols import Symbol
from converters.files.atomic_folder import MANIFEST, atomic_folder

Engraver = Literal["lilypond", "musescore"]
ENGRAVERS = {"lilypond": lilypond}
IMAGES = "images"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelledPage:
    """A page of a foreign engraver and its labels."""

    page: svg.ForeignPage
    symbols: list[Symbol]
    staff_space: float
    """Distance between staff lines in pixels."""


def label_piece(piece: ForeignPiece, engraver: Engraver) -> list[LabelledPage]:
    """Engrave a piece and label its pages.

    Raises:
        OmrError: The engraver failed.
        ValueError: The engraver cannot engrave the piece.
    """
    module = ENGRAVERS[engraver]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        musicxml = folder / f"piece{piece.number}.musicxml"
        musicxml.write_text(piece.musicxml, encoding="utf-8")
        texts = module.engrave(musicxml, folder)
    pages = [svg.read(text) for text in texts]
    return [_labelled(page, module) for page in pages]


def _labelled(page, module) -> LabelledPage:
    labelled = module.label(page.shapes)
    staff_space = svg.staff_space(page.shapes)
    return LabelledPage(page=page, symbols=symbols(labelled, staff_space), staff_space=staff_space)
