"""Pictures of whole pages: boxes, recorded values and legibility."""

import math
import random
from dataclasses import replace
from functools import cache
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters.engraving import annotations, raster, svg, typesetting
from converters.engraving.captures import Degradation, dpi_of, px_at_300_dpi
from converters.engraving.distributions import DegradeOption, draw_degradation
from converters.engraving.music.composition import compose
from converters.engraving.outlines import Outline, boxes_xyxy, grown, outline
from converters.engraving.pictures import Picture, TypesetPage, take_picture
from converters.engraving.staff_samples import sample_staves
from converters.engraving.symbols import symbols

WIDTH, HEIGHT = 900, 700


@cache
def typeset_page() -> tuple[TypesetPage, list[str]]:
    """Typeset a small page; return it with the categories of its symbols."""
    rng = random.Random(4)
    layout = typesetting.draw_layout(rng, WIDTH, HEIGHT, ["Bravura"])
    page = typesetting.typeset(compose(rng, bars=12), layout, rng)
    assert page is not None
    drawing = svg.read(page.svg, "Bravura")
    labelled = symbols(drawing)
    typeset = TypesetPage(
        drawing=drawing,
        symbols=[symbol.outline for symbol in labelled],
        layout=layout,
        rasteriser="numpy",
    )
    return typeset, [symbol.category for symbol in labelled]


def taken(degradation: Degradation, seed: int = 1) -> Picture:
    return take_picture(typeset_page()[0], degradation, random.Random(seed))


def grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))


@settings(max_examples=15, deadline=None)
@given(option=st.sampled_from(get_args(DegradeOption)), seed=st.integers(0, 2**32))
def test_boxes_stay_on_the_page_and_hold_all_ink_of_their_symbols(
    option: DegradeOption, seed: int
) -> None:
    degradation = draw_degradation(option, random.Random(seed))
    if degradation.capture != "none":  # rotate it so far that the page has to shrink
        degradation = replace(degradation, rotation=random.Random(seed).choice((-9.0, 9.0)))
    picture = taken(degradation, seed)
    boxes = boxes_xyxy(picture.symbols)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (WIDTH, HEIGHT)).all()
    for index in random.Random(seed).sample(range(len(boxes)), 4):
        ink = raster.rasterise([picture.symbols[index]], WIDTH, HEIGHT, rasteriser="numpy") < 250
        rows, columns = np.nonzero(ink)
        x0, y0, x1, y1 = boxes[index]
        assert len(rows)
        assert x0 - 1 < columns.min() < x0 + 1.2
        assert y0 - 1 < rows.min() < y0 + 1.2
        assert x1 - 1.2 < columns.max() + 1 < x1 + 1
        assert y1 - 1.2 < rows.max() + 1 < y1 + 1


def test_noteheads_stay_darker_than_the_paper_around_them() -> None:
    categories = typeset_page()[1]
    heads = [i for i, name in enumerate(categories) if name.startswith("noteheadBlack")]
    dark = []
    for seed in range(30):
        picture = taken(draw_degradation("mixed", random.Random(seed)), seed)
        pixels = cv2.GaussianBlur(grey(picture.pixels), (0, 0), 1).astype(int)
        for x0, y0, x1, y1 in boxes_xyxy([picture.symbols[i] for i in heads]).astype(int).tolist():
            size = y1 - y0
            near = pixels[max(0, y0 - size) : y1 + size, max(0, x0 - size) : x1 + size]
            centre = pixels[(y0 + y1) // 2, (x0 + x1) // 2]
            dark.append(np.quantile(near, 0.8) - centre >= 20)
    assert len(dark) > 500
    assert np.mean(dark) > 0.995


@pytest.mark.parametrize("degrees", [-3.0, -1.1, 0.0, 0.4, 2.2])
def test_recorded_rotation_is_that_of_the_staff_lines(degrees: float) -> None:
    flat = Degradation(capture="scan", rotation=degrees, stretch=0.004, noise=3.0, blur_px=0.5)
    picture = taken(flat)
    assert picture.degradation["rotation"] == pytest.approx(degrees, abs=0.1)
    dark = (picture.pixels < 160).astype(np.uint8)
    step = np.pi / 180 / 20
    limits = np.pi / 2 + np.radians(-5), np.pi / 2 + np.radians(5)
    lines = cv2.HoughLines(dark, 1, step, 300, min_theta=limits[0], max_theta=limits[1])
    assert lines is not None
    measured = np.degrees(np.median(lines[:20, 0, 1])) - 90
    assert picture.degradation["rotation"] == pytest.approx(measured, abs=0.1)


def test_staff_space_is_perpendicular_to_rotated_staves() -> None:
    clean = taken(Degradation())
    for degrees in (-3.0, 3.0):
        rotated = taken(Degradation(capture="scan", rotation=degrees))
        widths = [np.ptp(p.symbols[0].points_xy[:, 0]) for p in (rotated, clean)]
        height = rotated.staff_space * 4 * np.sin(np.radians(3))
        scale = (widths[0] - height) / np.cos(np.radians(3)) / widths[1]  # shrunk to fit
        assert rotated.staff_space == pytest.approx(scale * clean.staff_space, rel=0.002)


def test_staff_space_is_perpendicular_to_slanted_staves() -> None:
    samples = sample_staves(typeset_page()[0].drawing)
    own = samples.staff_space(lambda xy: xy)
    slanted = samples.staff_space(lambda xy: xy @ np.array([[1, 0.2], [0, 1]]))
    assert slanted == pytest.approx(own * math.cos(math.atan(0.2)), rel=1e-6)


def test_sensor_has_at_most_its_resolution() -> None:
    own = dpi_of(taken(Degradation()).staff_space)
    values = {
        wanted: taken(Degradation(capture="scan", dpi=wanted)).degradation["dpi"]
        for wanted in (0.0, 80.0, 2000.0)
    }
    assert values[0.0] == pytest.approx(own, rel=1e-3)
    assert values[80.0] == 80
    assert values[2000.0] == pytest.approx(1.6 * own, rel=1e-3)
    low = Degradation(capture="scan", effects=("low-resolution",), dpi=149.0)
    assert taken(low).degradation["dpi"] == pytest.approx(max(75, min(149, 0.8 * own)), rel=1e-3)


def test_verso_is_another_page() -> None:
    scan = Degradation(capture="scan", show_through=0.3)
    pages = [taken(scan, seed).pixels for seed in (1, 2)]
    front = taken(Degradation(capture="scan")).pixels
    assert not np.array_equal(pages[0], pages[1])
    for page in pages:
        behind = (page < 235) & (front > 250)
        assert 0.01 < behind.mean() < 0.3
        assert clefs_side(behind) == 1


def clefs_side(ink: NDArray[np.bool_]) -> int:
    """Compare the ends of the systems: 0 if there is more ink at the left, 1 at the right."""
    columns = np.flatnonzero(ink.sum(axis=0) > 0.05 * HEIGHT)
    inside = ink[:, columns.min() + 10 : columns.max() - 10]
    return int(inside[:, -60:].sum() > inside[:, :60].sum())


# ---- fat ink -----------------------------------------------------------------------------------


def square(x0: float, y0: float, size: float, *, hole: bool = False) -> NDArray[np.float64]:
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size + (x0, y0)
    return corners[::-1] if hole else corners


def test_growing_by_nothing_returns_the_outline() -> None:
    ink = outline([square(0, 0, 5)])
    assert grown(ink, 0) is ink


def test_holes_shrink_when_ink_grows() -> None:
    ink = grown(outline([square(10, 10, 20), square(15, 15, 10, hole=True)]), 0.5)
    assert ink.points_xy[:4].tolist() == square(9.5, 9.5, 21).tolist()
    assert ink.points_xy[4:].tolist() == square(15.5, 15.5, 9, hole=True).tolist()


def test_sharp_and_repeated_points_move_little() -> None:
    thorn = np.array([[0, 0], [100, 1], [100, 1], [0, 2]], np.float64)
    moved = grown(outline([thorn]), 0.8).points_xy - thorn
    assert np.isfinite(moved).all()
    assert np.hypot(*moved.T).max() <= 1.5 * 0.8 + 1e-9


def test_fat_ink_enlarges_boxes_by_the_recorded_gain() -> None:
    thin, fat = (
        taken(Degradation(capture="scan")),
        taken(Degradation(capture="scan", ink_gain_px=1.0)),
    )
    gain = px_at_300_dpi(taken(Degradation()).staff_space)
    growth = boxes_xyxy(fat.symbols) - boxes_xyxy(thin.symbols)
    expected = np.array([-gain, -gain, gain, gain])
    assert np.median(growth, axis=0) == pytest.approx(expected, abs=0.05)
    assert np.abs(growth - expected).max() < 0.6 * gain
    assert (255 - fat.pixels.astype(float)).sum() > 1.15 * (255 - thin.pixels.astype(float)).sum()
    areas = [sum(map(annotations.area, picture.symbols)) for picture in (fat, thin)]
    assert areas[0] > 1.15 * areas[1]


def test_fat_ink_has_positive_area_everywhere() -> None:
    drawn: list[Outline] = [shape.outline for shape in typeset_page()[0].drawing.shapes]
    assert all(annotations.area(grown(ink, 0.5)) > annotations.area(ink) > 0 for ink in drawn)
