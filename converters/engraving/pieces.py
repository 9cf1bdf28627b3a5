"""Where the music of a page comes from: made up, Bach's chorales, or the user's files."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from converters.engraving import child, score_files, typesetting
from converters.engraving.music.composition import compose
from converters.engraving.typesetting import Layout, SetPage

Style = Literal["plain", "decorated", "mixed"]

AREA_PER_BAR = 600
"""Square staff spaces of a page that a bar of four voices takes up, about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One piece of music; its pages never stand on both sides of a split."""

    work: int
    """Its number, in the names of its pages."""
    path: Path | None = None
    """The file; None: it is made up."""
    name: str = ""
    """Of the file, below the folder that it was looked for in."""
    trusted: bool = True
    """Whether verovio is known to read the file, so that no other process has to."""


def pieces(
    files: Sequence[Path], folder: Path, music: Sequence[str], *, trusted: bool
) -> list[Piece]:
    """Number the files of a folder by their order; files of equal ``music`` are one work."""
    first = {text: i for i, text in reversed(list(enumerate(music, 1)))}
    return [
        Piece(
            work=first[text],
            path=path,
            name=path.relative_to(folder).as_posix(),
            trusted=trusted,
        )
        for path, text in zip(files, music, strict=True)
    ]


def set_piece(
    piece: Piece, layout: Layout, size: tuple[int, int], style: Style, rng: random.Random
) -> SetPage | None:
    """Set a piece and choose one of its pages; None where that fails.

    Args:
        piece: What to set.
        layout: How.
        size: Width and height of the page in pixels.
        style: With or without the rest of the vocabulary; mixed: half of the pages.
        rng: Decides on everything else.
    """
    decorated = style == "decorated" or (style == "mixed" and rng.random() < 0.5)
    if piece.path is not None and not piece.trusted:
        return child.set_page(piece.path, layout, rng.getrandbits(32), decorated=decorated)
    is_file = piece.path is not None
    score = score_files.read(piece.path) if piece.path else _made_up(layout, size, rng)
    return typesetting.set_score(score, layout, rng, decorated=decorated, transpose=is_file)


def _made_up(layout: Layout, size: tuple[int, int], rng: random.Random) -> str:
    """A piece that fills between two thirds and one and a half of a page."""
    area = size[0] * size[1] / layout.staff_space**2
    bars = round(area / AREA_PER_BAR * rng.uniform(0.7, 1.5))
    return compose(rng, bars=max(4, bars))
