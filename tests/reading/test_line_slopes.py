"""Tests of the measurement of slopes, with drawn staves whose slopes are known."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reading.dewarping import Dewarping, Slopes
from reading.line_slopes import MAX_SLOPE, is_too_steep, measure_slopes, turned_too_far

WIDTH, HEIGHT, SPACE = 900, 700, 12
BARLINES = range(150, 800, 90)


def upright_ink(barlines: range = BARLINES) -> NDArray[np.bool_]:
    """Draw five staves with barlines."""
    ink = np.zeros((HEIGHT, WIDTH), np.bool_)
    for staff in range(5):
        top = 100 + staff * 110
        for line in range(5):
            ink[top + line * SPACE : top + line * SPACE + 2, 60:840] = True
        for x in barlines:
            ink[top : top + 4 * SPACE, x : x + 2] = True
    return ink


def warped_ink(slopes: Slopes, barlines: range = BARLINES) -> NDArray[np.bool_]:
    """Draw the staves so that their lines have the slopes: the reverse of dewarping."""
    ys, xs = np.nonzero(np.kron(upright_ink(barlines), np.ones((2, 2), np.bool_)))
    points = np.stack([xs, ys], axis=1) / 2 + 0.25
    boxes = np.concatenate([points, points], axis=1)
    centred = Dewarping.of(WIDTH, HEIGHT, slopes)
    on_page = centred.back(boxes + np.tile(centred.margins_xy, 2))[:, :2]
    x, y = np.floor(on_page).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < WIDTH) & (y < HEIGHT)
    ink = np.zeros((HEIGHT, WIDTH), np.bool_)
    ink[y[inside], x[inside]] = True
    return ink


SLOPES = {
    "turned": Slopes(across=0.035, down=-0.035),
    "turned most": Slopes(across=-0.08, down=0.08),
    "sheared": Slopes(across=0.02, down=0.01),
    "only barlines": Slopes(down=0.03),
    "perspective": Slopes(across=0.01, across_change=0.03, down=-0.01, down_change=0.03),
    "bent": Slopes(across=-0.01, bend=0.03, down=0.01),
}


@pytest.mark.parametrize("slopes", SLOPES.values(), ids=SLOPES)
def test_slopes_are_measured(slopes: Slopes) -> None:
    measured = measure_slopes(warped_ink(slopes), SPACE)
    assert measured is not None
    remaining = np.array([getattr(measured, n) - getattr(slopes, n) for n in Slopes.__slots__])
    ends = np.abs(remaining) * np.array([WIDTH, WIDTH, WIDTH, HEIGHT, HEIGHT]) / 2
    assert ends.max() <= 2.5, measured


def test_without_barlines_the_page_is_taken_for_turned() -> None:
    measured = measure_slopes(warped_ink(SLOPES["turned"], range(0)), SPACE)
    assert measured is not None
    assert measured.down == -measured.across
    assert measured.down_change == 0


@pytest.mark.parametrize("slope", [0.0, 0.002])
def test_upright_pages_stay(slope: float) -> None:
    assert measure_slopes(warped_ink(Slopes(across=slope, down=-slope)), SPACE) is None


@pytest.mark.parametrize("slope", [MAX_SLOPE + 0.05, -MAX_SLOPE - 0.05])
def test_pages_that_are_turned_too_far_are_reported(slope: float) -> None:
    measured = measure_slopes(warped_ink(Slopes(across=slope, down=-slope)), SPACE)
    assert measured is not None
    assert is_too_steep(measured, WIDTH, HEIGHT)
    assert list(turned_too_far(measured)) == [
        "turned by more than 5 degrees, up to which pages are straightened, so symbols are "
        "missed; turn it upright"
    ]


@pytest.mark.parametrize(
    "slopes",
    [*SLOPES.values(), Slopes(across=MAX_SLOPE, down=-MAX_SLOPE), Slopes(down=0.12)],
    ids=[*SLOPES, "just straightened", "only barlines lean far"],
)
def test_other_slopes_are_not_reported(slopes: Slopes) -> None:
    assert list(turned_too_far(slopes)) == []


def stays(slopes: Slopes | None, width: int = WIDTH, height: int = HEIGHT) -> bool:
    """Return whether a page is left as it is, without a note."""
    if slopes is None:
        return True
    return is_too_steep(slopes, width, height) and not list(turned_too_far(slopes))


@pytest.mark.parametrize("kind", ["blank", "black", "one pixel", "noise", "squares"])
def test_pages_without_staves_stay(kind: str) -> None:
    ink = np.zeros((HEIGHT, WIDTH), np.bool_)
    if kind == "black":
        ink[:] = True
    elif kind == "one pixel":
        ink[300, 400] = True
    elif kind == "noise":
        ink = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.05
    elif kind == "squares":
        for x, y in np.random.default_rng(1).integers(0, 600, (40, 2)):
            ink[y : y + 30, x : x + 30] = True
    assert stays(measure_slopes(ink, SPACE))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2)])
@pytest.mark.parametrize("space", [0.5, 12.0, 500.0])
def test_pages_of_any_size(size: tuple[int, int], space: float) -> None:
    assert stays(measure_slopes(np.ones(size, np.bool_), space), size[1], size[0])


def test_an_upright_page_with_thick_lines_and_leaning_symbols_stays() -> None:
    """On blurred pages, clefs and accidentals become strokes that lean; their mean is no slope."""
    ink = cv2.dilate(upright_ink(range(150, 350, 90)).astype(np.uint8), np.ones((5, 5), np.uint8))
    for top in range(80, 600, 110):
        for x in range(380, 830, 40):
            for y in range(60):
                ink[top + y, x + y // 16 : x + y // 16 + 5] = 1
    assert measure_slopes(ink.astype(np.bool_), SPACE) is None


def test_outliers_among_upright_lines_do_not_count() -> None:
    """Almost half of the strokes lean far, as those of handwriting and of naturals do."""
    ink = warped_ink(SLOPES["turned"])
    for top in range(70, 600, 110):
        for x in range(180, 700, 90):
            for y in range(44):
                ink[top + y, x + y // 8 : x + y // 8 + 3] = True
    measured = measure_slopes(ink, SPACE)
    assert measured is not None
    assert measured.down == pytest.approx(-0.035, abs=0.004)
