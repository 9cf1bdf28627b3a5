"""Annotations compared with examples worked out by hand and with OpenCV."""

import math

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from class_maps import catalogue
from converters.engraving import annotations
from converters.engraving.outlines import outline
from converters.engraving.symbols import Symbol

SQUARE = np.array([[10, 20], [30, 20], [30, 60], [10, 60.0]])


def symbol(
    points: np.ndarray,
    category: str = "stem",
    position: int | None = None,
    staff: int | None = None,
) -> Symbol:
    ink = outline([points])
    return Symbol(category=category, outline=ink, shapes=(), position=position, staff=staff)


def test_no_symbols_give_no_annotations() -> None:
    assert annotations.rows([], np.empty((0, 4)), 1) == []
    assert not annotations.segmentation([], np.empty((0, 4)), 3, 2).any()
    assert annotations.segmentation([], np.empty((0, 4)), 3, 2).shape == (2, 3)


def test_annotation_of_a_notehead() -> None:
    head = symbol(SQUARE, "noteheadBlackOnLine", position=2, staff=3)
    [(annotation_id, row)] = annotations.rows([head], np.array([[10, 20, 30, 60.0]]), 7)
    assert annotation_id == 700_001
    assert row == {
        "a_bbox": [10, 20, 30, 60],
        "o_bbox": [30, 60, 30, 20, 10, 20, 10, 60],
        "cat_id": ["25"],
        "area": 800,
        "img_id": "7",
        "comments": "instance:#000001;rel_position:-2;staff:3;",
    }


def test_holes_do_not_count_as_ink() -> None:
    hole = (SQUARE[::-1] - (20, 40)) / 2 + (20, 40)
    assert annotations.area(outline([SQUARE])) == 800
    assert annotations.area(outline([SQUARE, hole])) == 600


@given(st.floats(-89, 89), st.floats(5, 40), st.floats(1, 4))
def test_rotated_box_starts_at_the_bottom_right_and_goes_up(
    degrees: float, length: float, width: float
) -> None:
    turn = math.radians(degrees)
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (length / 2, width / 2)
    matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    points = half @ matrix + (100, 200)
    box = [*points.min(0), *points.max(0)]
    result = np.array(annotations.rotated_box(outline([points]), box)).reshape(4, 2)
    gaps = np.linalg.norm(result[:, None] - points, axis=2).min(1)
    assert gaps.max() < 0.01
    assert result.sum(1).argmax() == 0
    (ax, ay), (bx, by), (cx, cy), _ = result
    assert (bx - ax) * (cy - by) - (by - ay) * (cx - bx) < 0  # counter-clockwise, as y points down


def test_rotated_box_is_upright_if_it_would_extend_far() -> None:
    plump = np.array([[0, 0], [100, 30], [130, 130], [30, 100.0]])
    box = [0.0, 0.0, 130.0, 130.0]
    assert annotations.rotated_box(outline([plump]), box) == [130, 130, 130, 0, 0, 0, 0, 130]


def test_segmentation_agrees_with_opencv() -> None:
    result = symbol(SQUARE + 0.01)
    image = annotations.segmentation([result], np.array([[10.01, 20.01, 30.01, 60.01]]), 50, 80)
    [colour] = [c.color for c in catalogue("engraved").categories if c.name == "stem"]
    expected = np.zeros((80, 50), np.uint8)
    cv2.rectangle(expected, (10, 20), (29, 59), colour, cv2.FILLED)
    assert np.array_equal(image, expected)
