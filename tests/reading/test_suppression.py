"""Tests of suppression with NumPy: pairs of overlapping boxes, compared with all pairs."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from converters.boxes import Boxes
from reading.suppression import NMS_IOU_THRESH, overlapping_pairs, suppress

Symbol = tuple[int, int, int, int, int]
SYMBOLS = st.lists(
    st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(0, 9)] * 2, st.integers(0, 2)), max_size=20
)
"""Left, top, width, height and label, best first."""


def arrays(symbols: list[Symbol]) -> tuple[Boxes, np.ndarray]:
    rows = np.array(symbols, np.int64).reshape(-1, 5)
    return np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1).astype(float), rows[
        :, 4
    ]


def shared_area(a: Symbol, b: Symbol) -> int:
    sides = [min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
    return max(sides[0], 0) * max(sides[1], 0)


def is_repeat(a: Symbol, b: Symbol) -> bool:
    shared = shared_area(a, b)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return a[4] == b[4] and shared > NMS_IOU_THRESH * union


@settings(deadline=None, max_examples=300)
@given(symbols=SYMBOLS)
@example(symbols=[])
@example(symbols=[(0, 0, 4, 4, 1), (0, 0, 4, 4, 1), (0, 0, 4, 4, 0), (4, 0, 4, 4, 1)])
def test_pairs_that_share_an_area(symbols: list[Symbol]) -> None:
    symbols = [symbol for symbol in symbols if symbol[2] and symbol[3]]
    first, second = overlapping_pairs(*arrays(symbols))
    n = len(symbols)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [
        (i, j)
        for i in range(n)
        for j in range(i + 1, n)
        if symbols[i][4] == symbols[j][4] and shared_area(symbols[i], symbols[j])
    ]


@settings(deadline=None, max_examples=300)
@given(symbols=SYMBOLS)
@example(symbols=[])
def test_repeats_of_better_boxes_are_removed(symbols: list[Symbol]) -> None:
    kept: list[int] = []
    for i, symbol in enumerate(symbols):
        if not any(is_repeat(symbols[better], symbol) for better in kept):
            kept.append(i)
    assert suppress(*arrays(symbols)).tolist() == kept
