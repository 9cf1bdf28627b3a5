"""Tests of suppression with NumPy, compared with a loop over all pairs of boxes."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from converters.boxes import Boxes
from reading.suppression import NMS_IOU_THRESH, suppress

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


def is_repeat(a: Symbol, b: Symbol) -> bool:
    sides = [min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
    shared = max(sides[0], 0) * max(sides[1], 0)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return a[4] == b[4] and shared > NMS_IOU_THRESH * union


@settings(deadline=None, max_examples=300)
@given(symbols=SYMBOLS)
@example(symbols=[])
@example(symbols=[(0, 0, 4, 4, 1), (0, 0, 4, 4, 1), (0, 0, 4, 4, 0), (4, 0, 4, 4, 1)])
def test_repeats_of_better_boxes_are_removed(symbols: list[Symbol]) -> None:
    kept: list[int] = []
    for i, symbol in enumerate(symbols):
        if not any(is_repeat(symbols[better], symbol) for better in kept):
            kept.append(i)
    assert suppress(*arrays(symbols)).tolist() == kept
