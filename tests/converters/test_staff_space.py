"""Staff spaces of pages with rotated, single-line and tablature staves."""

import math
from pathlib import Path

import numpy as np
import pytest
from deepscores import annotation, content, engraved, write
from hypothesis import given
from hypothesis import strategies as st

import class_maps
from class_maps import InputError
from converters import staff_space
from converters.boxes import Boxes
from converters.formats.deepscoresv2 import DeepScoresFile
from converters.page import Page
from converters.prepare import scaling
from converters.tally import Tally

SPACE = 12.0
LINES = {
    "five lines": 4.1,
    "one line": 0.1,
    "six-line tablature": 8.75,
    "four-line tablature": 5.25,
}
"""Heights of staves in staff spaces, from the upper edge of the top line to the lower edge of the
bottom one."""
NOTEHEADS = np.array([[100.0, 50, 115, 50 + 1.05 * SPACE]])


def staves(kinds: list[str], degrees: float = 0.0) -> tuple[Boxes, Boxes]:
    """Return the boxes and the corners of staves of the given kinds."""
    return staff_boxes([LINES[kind] * SPACE for kind in kinds], degrees)


def staff_boxes(heights: list[float], degrees: float = 0.0) -> tuple[Boxes, Boxes]:
    """Return the boxes and the corners of staves of 1500 px, one below the other."""
    turn = math.radians(degrees)
    matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    corners = []
    for i, height in enumerate(heights):
        y0 = 200.0 * (i + 1)
        y1 = y0 + height
        upright = np.array([[1600, y1], [1600, y0], [100, y0], [100, y1]])
        corners.append((upright - 800) @ matrix + 800)
    boxes = [np.concatenate((points.min(0), points.max(0))) for points in corners]
    return np.array(boxes).reshape(-1, 4), np.array(corners).reshape(-1, 4, 2)


@pytest.mark.parametrize("degrees", [0.0, 0.3, 1.0, -2.0, 5.0])
def test_rotation_does_not_change_the_staff_space(degrees: float) -> None:
    measured = staff_space.measure(*staves(["five lines"] * 3, degrees), NOTEHEADS)
    assert measured == pytest.approx(SPACE, rel=1e-6)


@pytest.mark.parametrize(
    "kinds",
    [
        ["five lines", "one line"],
        ["one line", "one line", "one line", "five lines"],
        ["five lines", "six-line tablature"],
        ["six-line tablature", "five lines", "six-line tablature"],
        ["four-line tablature", "four-line tablature", "five lines"],
    ],
)
def test_only_staves_of_five_lines_count(kinds: list[str]) -> None:
    assert staff_space.measure(*staves(kinds), NOTEHEADS) == pytest.approx(SPACE)


@pytest.mark.parametrize("kinds", [[], ["one line"], ["one line"] * 3])
def test_a_page_without_a_staff_of_five_lines_has_no_staff_space(kinds: list[str]) -> None:
    assert staff_space.measure(*staves(kinds), NOTEHEADS) is None


@pytest.mark.parametrize(
    ("height", "space"),
    [
        (82.0, 20.0),  # lines of 2 px, 20 px apart
        (33.0, 8.0),  # lines of 1 px instead of 0.8 px, 8 px apart
    ],
)
def test_the_thickness_of_a_line_does_not_count(height: float, space: float) -> None:
    box = np.array([[100.0, 50, 1500, 50 + height]])
    corners = np.array([[[1500, 50 + height], [1500, 50], [100, 50], [100, 50 + height]]])
    assert staff_space.measure(box, corners, np.empty((0, 4))) == pytest.approx(space)


@given(
    space=st.floats(6, 40),
    thickness=st.floats(0.05, 0.15),
    degrees=st.floats(-2, 2),
)
def test_the_staff_space_of_any_engraver_is_measured_closely(
    space: float, thickness: float, degrees: float
) -> None:
    line = max(thickness * space, 0.9)
    measured = staff_space.measure(*staff_boxes([4 * space + line], degrees), np.empty((0, 4)))
    assert measured == pytest.approx(space, rel=0.015)


def read(path: Path) -> Page:
    file = DeepScoresFile(path)
    name = "engraved" if "engraved" in file._file.annotation_sets else "deepscoresv2"
    class_map = class_maps.load("deepscores")
    [page] = file.pages(class_map.source(name), class_map.labels, Tally())
    return page


def test_the_reader_measures_oriented_boxes(tmp_path: Path) -> None:
    data = content(size=(1700, 900))
    for i, (box, corners) in enumerate(zip(*staves(["five lines", "one line"], 1.0), strict=True)):
        row = annotation("135", box.tolist()) | {"o_bbox": corners.ravel().tolist()}
        data["annotations"][str(i)] = row
    data["images"][0]["ann_ids"] = ["0", "1"]
    assert read(write(tmp_path, data)).staff_space == pytest.approx(SPACE)


def test_the_staff_space_that_the_engraver_recorded_is_used(tmp_path: Path) -> None:
    data = engraved(("135", [0, 20, 200, 21]))
    data["images"][0]["staff_space"] = 9.5
    assert read(write(tmp_path, data)).staff_space == 9.5


@pytest.mark.parametrize("value", [0, -3, 1e300, "x"])
def test_an_invalid_recorded_staff_space(value: object, tmp_path: Path) -> None:
    data = engraved(("135", [0, 20, 200, 88]))
    data["images"][0]["staff_space"] = value
    with pytest.raises(InputError, match=r"images\[0\]\.staff_space: expected"):
        read(write(tmp_path, data))


def test_a_scaled_page_has_a_limited_size() -> None:
    page = Page(
        image=Path("a.png"),  # type: ignore[arg-type]
        width=1200,
        height=900,
        boxes_xyxy=np.empty((0, 4)),
        labels=np.empty(0, np.int64),
        staff_space=0.325,
    )
    with pytest.raises(InputError) as error:
        scaling.scale(page, 12, Path("in/a.png"))
    assert str(error.value) == (
        "in/a.png: scaling its staff space from 0.325 to 12 px would make an image of 44308 x "
        "33231 px; expected at most 20000 px a side"
    )
