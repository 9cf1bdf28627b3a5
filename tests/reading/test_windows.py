"""Tests of windows: parts of a long symbol in one tile become one piece, and nothing else does."""

from collections.abc import Sequence

import numpy as np
import pytest

from reading.pieces import Pieces
from reading.windows import join_windows

TILE = 320


def pieces(*rows: tuple[Sequence[float], float], label: int = 0, tiles: int = 1) -> Pieces:
    n = len(rows)
    return Pieces(
        boxes_xyxy=np.array([box for box, _ in rows], float).reshape(-1, 4),
        labels=np.full(n, label),
        scores=np.array([score for _, score in rows]),
        tiles=np.arange(n) % tiles,
    )


def joined(*rows: tuple[Sequence[float], float], tiles: int = 1) -> list[list[float]]:
    found: list[list[float]] = join_windows(pieces(*rows, tiles=tiles), TILE).boxes_xyxy.tolist()
    return found


def test_windows_of_a_barline_become_one() -> None:
    found = pieces(
        ([100, 40, 102, 280], 0.7), ([99.5, 70, 102.5, 310], 0.6), ([100, 10, 102, 250], 0.4)
    )
    whole = join_windows(found, TILE)
    assert whole.boxes_xyxy.tolist() == [[100, 10, 102, 310]]
    assert whole.scores.tolist() == [0.7]


def test_windows_of_a_slanted_line_become_one() -> None:
    assert joined(([100, 40, 109, 280], 0.7), ([103, 70, 112, 310], 0.6)) == [[100, 40, 112, 310]]


def test_a_weak_window_does_not_extend_a_line_but_disappears_inside_it() -> None:
    line, inside, beyond = [100, 40, 102, 280], [100, 60, 102, 240], [100, 100, 102, 318]
    assert joined((line, 0.9), (inside, 0.1)) == [line]
    assert joined((line, 0.9), (beyond, 0.1)) == [line]
    assert joined((line, 0.3), (beyond, 0.1)) == [[100, 40, 102, 318]]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param([110, 40, 112, 280], id="beside it"),
        pytest.param([100, 285, 102, 318], id="too short to be a window"),
        pytest.param([100, 180, 102, 220], id="a short line on it"),
        pytest.param([20, 160, 280, 162], id="across it"),
    ],
)
def test_other_symbols_stay(other: list[float]) -> None:
    line: list[float] = [100, 40, 102, 280]
    assert joined((line, 0.7), (other, 0.6)) == [line, other]


def test_staves_are_too_thick_to_be_windows() -> None:
    staves: list[list[float]] = [[0, 40, 200, 92], [60, 40, 260, 92]]
    assert joined((staves[0], 0.7), (staves[1], 0.6)) == staves


def test_windows_of_different_tiles_and_classes_are_not_joined() -> None:
    rows = ([100, 40, 102, 280], 0.7), ([100, 70, 102, 310], 0.6)
    assert joined(*rows, tiles=2) == [list(box) for box, _ in rows]
    classes = np.array([0, 1])
    found = pieces(*rows)
    mixed = Pieces(
        boxes_xyxy=found.boxes_xyxy, labels=classes, scores=found.scores, tiles=found.tiles
    )
    assert join_windows(mixed, TILE).labels.tolist() == [0, 1]


def test_without_pieces() -> None:
    assert joined() == []
