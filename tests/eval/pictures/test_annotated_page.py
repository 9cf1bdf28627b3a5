from dataclasses import replace

import numpy as np
import pytest
from blank_pages import CAPTION, GAP, NAMES, has_colour, page, white

from converters.images import Pixels
from eval.pictures.annotated_page import annotated_page
from eval.pictures.drawing import class_colour, draw_legend

MARGIN = 40


def annotated(boxes: list[list[float]], scale: float = 1, label: int = 0) -> Pixels:
    """Return the picture from the top left corner of the page on, without texts and legend."""
    picture = annotated_page(white(), page(boxes, label), NAMES, scale=scale, texts=False)
    top = CAPTION + MARGIN
    return picture.pixels[top : top + round(50 * scale) + MARGIN, MARGIN:]


def coloured(picture: Pixels, label: int = 0) -> set[tuple[int, int]]:
    """Return ``(x, y)`` of the pixels in the colour of a class."""
    ys, xs = np.nonzero((picture == class_colour(label)).all(axis=-1))
    return set(zip(xs.tolist(), ys.tolist(), strict=True))


def rim(x0: int, y0: int, x1: int, y1: int) -> set[tuple[int, int]]:
    """Return the pixels just outside a box."""
    outer = {(x, y) for x in range(x0 - 1, x1 + 1) for y in range(y0 - 1, y1 + 1)}
    return outer - {(x, y) for x in range(x0, x1) for y in range(y0, y1)}


def test_annotated_page_without_symbols() -> None:
    image = white()
    image[10:20, 30:60] = 0
    picture = annotated_page(image, page([]), NAMES)
    assert (picture.repeated, picture.n_unlabelled) == ((), 0)
    assert (picture.pixels[CAPTION + MARGIN + 15, MARGIN + 40] == 128).all()
    assert not has_colour(picture.pixels, 0)
    assert picture.pixels.shape == (CAPTION + 50 + 2 * MARGIN + CAPTION, 100 + 2 * MARGIN, 3)


@pytest.mark.parametrize(
    ("box", "scale", "frame"),
    [
        pytest.param([20, 10, 30, 40], 1, (20, 10, 30, 40), id="whole pixels"),
        pytest.param([20, 10, 30, 40], 2, (40, 20, 60, 80), id="twice as large"),
        pytest.param([20.3, 10.8, 29.2, 39.5], 1, (20, 10, 30, 40), id="never inside the box"),
        pytest.param([19.96, 9.99, 30.04, 40.01], 1, (20, 10, 30, 40), id="rounding of labels"),
        pytest.param([20, 10, 20, 40], 1, (20, 10, 20, 40), id="no width"),
        pytest.param([20, 10, 20, 10], 1, (20, 10, 20, 10), id="a point"),
        pytest.param([20, 10, 60, 40], 0.1, (2, 1, 6, 4), id="small"),
    ],
)
def test_a_frame_of_one_pixel_right_outside_the_box(
    box: list[float], scale: float, frame: tuple[int, int, int, int]
) -> None:
    picture = annotated([box], scale)[: round(50 * scale), : round(100 * scale)]
    assert coloured(picture) == rim(*frame)


def test_frames_at_the_border_show_on_the_margin() -> None:
    picture = annotated_page(white(), page([[0, 0, 100, 50]]), NAMES, texts=False)
    shown = coloured(picture.pixels[CAPTION : -2 * CAPTION])
    assert shown == rim(MARGIN, MARGIN, MARGIN + 100, MARGIN + 50)


def test_a_duplicate_box_has_two_frames() -> None:
    box = [20.0, 10.0, 30.0, 40.0]
    picture = annotated_page(white(), page([box, [50, 10, 60, 40], box, box]), NAMES, texts=False)
    assert picture.repeated == (2, 3)
    single, double = coloured(annotated([box])), coloured(annotated([box, box]))
    x0, y0, x1, y1 = 20, 10, 30, 40
    assert double - single == rim(x0 - 2, y0 - 2, x1 + 2, y1 + 2)


def test_the_same_box_of_two_classes_has_two_frames_and_is_not_repeated() -> None:
    both = replace(page([[20, 10, 30, 40]] * 2), labels=np.array([0, 1]))
    picture = annotated_page(white(), both, NAMES, texts=False)
    assert picture.repeated == ()
    assert has_colour(picture.pixels[: -3 * CAPTION], 0)
    assert has_colour(picture.pixels[: -3 * CAPTION], 1)


def test_texts_are_written_outside_the_boxes() -> None:
    boxes = [[20.0, 10.0, 50.0, 40.0]]
    without_texts = annotated_page(white(), page(boxes), NAMES, texts=False)
    with_texts = annotated_page(white(), page(boxes), NAMES)
    assert (without_texts.n_unlabelled, with_texts.n_unlabelled) == (0, 0)
    changed = (without_texts.pixels != with_texts.pixels).any(axis=-1)
    assert changed.any()
    top = CAPTION + MARGIN
    assert not changed[top + 9 : top + 41, MARGIN + 19 : MARGIN + 51].any()


def test_boxes_without_room_for_a_text_are_counted() -> None:
    crowd = [[10.0, 10.0, 20.0, 20.0]] * 400
    picture = annotated_page(white(), page(crowd), NAMES)
    assert 0 < picture.n_unlabelled < 400


def test_the_legend_of_an_annotated_page_names_what_is_drawn() -> None:
    legend = annotated_page(white(), page([[10, 10, 20, 20]], 1), NAMES).pixels[-CAPTION:]
    assert has_colour(legend, 1)
    assert not has_colour(legend, 0)


def test_the_legend_numbers_classes_only_if_numbers_are_written() -> None:
    for texts, entry in ((True, "1  stem: 1"), (False, "stem: 1")):
        picture = annotated_page(white(), page([[10, 10, 20, 20]], 1), NAMES, texts=texts).pixels
        expected = draw_legend("1 symbol", [(1, entry)], picture.shape[1])
        assert (picture[-len(expected) :] == expected).all()


def test_a_long_caption_widens_the_picture() -> None:
    narrow = annotated_page(white(), page([]), NAMES)
    wide = annotated_page(white(), page([]), NAMES, caption="w" * 80)
    assert wide.pixels.shape[1] > narrow.pixels.shape[1]
    assert (wide.pixels[: CAPTION - 4, -40:-GAP] < 255).any()
    assert (wide.pixels[:, -GAP // 2 :] == 255).all()
