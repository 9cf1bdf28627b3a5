"""Sides of stems, from which mirrored images are told."""

import numpy as np
import pytest

from eval.lint.checks.mirrored_images import _stem_sides

HEAD = np.array([[100.0, 100, 118, 114]])
"""Notehead of a font with tall noteheads, for a staff space of 10 px."""


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ([117.0, 75, 118, 107], (1, 0)),  # up, to the right
        ([100.0, 107, 101, 139], (1, 0)),  # down, to the left
        ([100.0, 75, 101, 107], (1, 1)),
        ([117.0, 107, 118, 139], (1, 1)),
        ([117.0, 85, 118, 130], (0, 0)),  # in the middle of a chord
        ([200.0, 75, 201, 107], (0, 0)),  # of another note
    ],
)
def test_stems_and_noteheads(stem: list[float], expected: tuple[int, int]) -> None:
    stems = np.array([stem])
    assert _stem_sides(HEAD, stems, 3.0) == expected
    assert _stem_sides(HEAD[:0], stems, 3.0) == (0, 0)
    assert _stem_sides(HEAD, stems[:0], 3.0) == (0, 0)
