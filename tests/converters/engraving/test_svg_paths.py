"""Path data compared with points worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.engraving.svg_paths import TOLERANCE, contours


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", []),
        ("M3 4", []),
        ("M0 0L10 0 10 5z", [([(0, 0), (10, 0), (10, 5)], True)]),
        ("m1 1 2 0v3h-2z", [([(1, 1), (3, 1), (3, 4), (1, 4)], True)]),
        ("M1,1H4V-2", [([(1, 1), (4, 1), (4, -2)], False)]),
        ("M0 0L1 0zl5 5", [([(0, 0), (1, 0)], True), ([(0, 0), (5, 5)], False)]),
        ("M0 0-1-2.5.5.5", [([(0, 0), (-1, -2.5), (0.5, 0.5)], False)]),
        ("M0 0L1e1 0", [([(0, 0), (10, 0)], False)]),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_lines(data: str, expected: list[tuple[list[tuple[float, float]], bool]]) -> None:
    result = [([tuple(p) for p in points.tolist()], closed) for points, closed in contours(data)]
    assert result == expected


def test_unknown_command() -> None:
    with pytest.raises(ValueError, match="path command 'A'"):
        contours("M0 0A1 1 0 0 0 2 2")


numbers = st.floats(-300, 300).map(lambda x: round(x, 2))
handles = st.tuples(*[st.tuples(numbers, numbers)] * 4)


@given(handles)
def test_cubics_stay_within_the_tolerance(corners: tuple[tuple[float, float], ...]) -> None:
    p = np.array(corners)
    text = " ".join(f"{x} {y}" for x, y in corners[1:])
    result = contours(f"M{corners[0][0]} {corners[0][1]}C{text}")
    t = np.linspace(0, 1, 400)[:, None]
    exact = (1 - t) ** 3 * p[0] + 3 * (1 - t) ** 2 * t * p[1] + 3 * (1 - t) * t**2 * p[2]
    exact = exact + t**3 * p[3]
    for point in exact:
        assert _distance(point, result[0][0]) <= TOLERANCE + 1e-6


def _distance(point: np.ndarray, line: np.ndarray) -> float:
    start, step = line[:-1], np.diff(line, axis=0)
    along = ((point - start) * step).sum(1) / np.maximum((step**2).sum(1), 1e-12)
    nearest = start + np.clip(along, 0, 1)[:, None] * step
    return float(np.hypot(*(point - nearest).T).min())


def test_smooth_curves_mirror_the_previous_handle() -> None:
    smooth = contours("M0 0C0 10 10 10 10 0S20-10 20 0Q25 5 30 0T40 0")
    plain = contours("M0 0C0 10 10 10 10 0C10-10 20-10 20 0Q25 5 30 0Q35-5 40 0")
    assert np.allclose(smooth[0][0], plain[0][0])


def test_smooth_curve_after_a_line_has_no_previous_handle() -> None:
    smooth, plain = contours("M0 0L5 0S9 9 20 0"), contours("M0 0L5 0C5 0 9 9 20 0")
    assert np.allclose(smooth[0][0], plain[0][0])
