"""Sources of the music on a page: composed pieces, Bach's chorales, or the user's files."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from converters.engraving import child, music_files, typesetting
from converters.engraving.music.composition import compose
from converters.engraving.music.exercises import compose_exercises
from converters.engraving.score_files import name_of
from converters.engraving.typesetting import PageLayout, SetPage

NotationStyle = Literal["plain", "decorated", "mixed"]
"""Vocabulary of a page: common symbols only, all symbols, or either with equal probability."""

AREA_PER_BAR = 600
"""Approximate area of a four-part bar, in square staff spaces."""
LEAST_FOR_FOUR = 28
"""Least number of bars of exercises on four staves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One piece of music; all of its pages are on the same side of a split."""

    work: int
    """Number of the piece, part of the names of its pages."""
    path: Path | None = None
    """Music file; None for a composed piece."""
    name: str = ""
    """Path of the file relative to the folder that was searched."""
    trusted: bool = True
    """Whether verovio is known to read the file, so that no child process is needed."""


def number_pieces(
    files: Sequence[Path], folder: Path, pitch_hashes: Sequence[str], *, trusted: bool
) -> list[Piece]:
    """Number the files of a folder in order; files with equal hashes are one work.

    Args:
        files: Music files in ``folder``.
        folder: Folder that was searched.
        pitch_hashes: Hash of the pitches of each file.
        trusted: Whether verovio is known to read the files.
    """
    first = {digest: i for i, digest in reversed(list(enumerate(pitch_hashes, 1)))}
    return [
        Piece(
            work=first[digest],
            path=path,
            name=name_of(path, folder),
            trusted=trusted,
        )
        for path, digest in zip(files, pitch_hashes, strict=True)
    ]


def set_piece(
    piece: Piece,
    layout: PageLayout,
    size: tuple[int, int],
    style: NotationStyle,
    rng: random.Random,
    *,
    transpose: bool = False,
    wanted: Mapping[str, int] | None = None,
) -> SetPage | None:
    """Typeset a piece and choose one of its pages; None on failure.

    Args:
        piece: Piece to typeset.
        layout: Layout of the page.
        size: Width and height of the page in pixels.
        style: Vocabulary of the page.
        rng: Random number generator for all other choices.
        transpose: Whether to transpose the user's files at random. Chorales are always transposed,
            composed pieces never.
        wanted: Least numbers of symbols by category, for which exercises are composed; a piece is
            composed if there are none.
    """
    decorated = style == "decorated" or (style == "mixed" and rng.random() < 0.5)
    if piece.path is not None and not piece.trusted:
        seed = rng.getrandbits(32)
        return child.set_page(piece.path, layout, seed, decorated=decorated, transpose=transpose)
    if wanted:
        music = _exercises(layout, size, rng, wanted, decorated=decorated)
        return typesetting.typeset(music, layout, rng, decorated=decorated, number=1)
    is_file = piece.path is not None
    music = music_files.read(piece.path) if piece.path else _composed(layout, size, rng)
    return typesetting.typeset(music, layout, rng, decorated=decorated, transpose=is_file)


def _composed(layout: PageLayout, size: tuple[int, int], rng: random.Random) -> str:
    """Compose a piece that fills between two thirds of a page and one and a half pages."""
    bars = round(_bars_per_page(layout, size) * rng.uniform(0.7, 1.5))
    return compose(rng, bars=max(4, bars))


def _exercises(
    layout: PageLayout,
    size: tuple[int, int],
    rng: random.Random,
    wanted: Mapping[str, int],
    *,
    decorated: bool,
) -> str:
    """Compose exercises that fill most of a page; decorations take their part of it."""
    bars = _bars_per_page(layout, size) * rng.uniform(0.55, 0.75) * (0.6 if decorated else 1.0)
    n_staves = 4 if bars > LEAST_FOR_FOUR and rng.random() < 0.5 else 2
    return compose_exercises(rng, bars=round(bars), n_staves=n_staves, wanted=wanted)


def _bars_per_page(layout: PageLayout, size: tuple[int, int]) -> float:
    return size[0] * size[1] / layout.staff_space**2 / AREA_PER_BAR
