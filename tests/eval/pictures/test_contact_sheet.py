import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest

from class_maps import InputError
from converters.images import Pixels
from converters.page import Page
from eval.pictures.contact_sheet import annotated_page, class_colour, compare, contact_sheet

NAMES = ("notehead", "stem")
CAPTION, GAP, PANEL = 26, 8, 200
MARGIN = 40


def page(boxes: list[list[float]], label: int = 0, image: str = "a.png") -> Page:
    return Page(
        image=PurePosixPath(image),
        width=100,
        height=50,
        boxes_xyxy=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        labels=np.full(len(boxes), label, dtype=np.int64),
    )


def white(side: tuple[int, ...] = (50, 100)) -> Pixels:
    return np.full(side, 255, dtype=np.uint8)


def has_colour(sheet: Pixels, label: int) -> bool:
    return bool((sheet == class_colour(label)).all(axis=-1).any())


def panels(sheet: Pixels, n_rows: int) -> Pixels:
    """The sheet without its legend."""
    return sheet[: n_rows * (CAPTION + PANEL + GAP)]


def sheet_of(*pages: Page, min_score: float = 0.25, columns: int = 2) -> Pixels:
    images = [white()] * len(pages)
    return contact_sheet(images, pages, NAMES, columns=columns, min_score=min_score, panel_px=PANEL)


def test_no_pages_give_an_empty_legend() -> None:
    sheet = sheet_of()
    assert sheet.shape == (CAPTION, 2 * (PANEL + GAP) + GAP, 3)
    assert not has_colour(sheet, 0)


def test_page_without_symbols_shows_its_image() -> None:
    image = white()
    image[10:20, 10:20] = 0
    sheet = contact_sheet([image], [page([])], NAMES, panel_px=PANEL)
    assert (sheet[CAPTION + 30, GAP + 30] == 128).all()  # ink, paled
    assert (sheet[CAPTION + 30, GAP + 100] == 255).all()
    assert not has_colour(sheet, 0)


def test_frame_lies_around_the_box_and_leaves_it_free() -> None:
    sheet = sheet_of(page([[10, 10, 12, 40]]))  # twice as large on the sheet
    panel = sheet[CAPTION:, GAP:]
    red = (panel[:PANEL, :PANEL] == class_colour(0)).all(axis=-1)
    ys, xs = np.nonzero(red)
    assert not red[20:80, 20:24].any()
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (18, 81, 18, 25)


def test_predictions_below_the_score_are_left_out_and_truths_never() -> None:
    truth = page([[10, 10, 20, 20]], label=0)
    weak = replace(page([[10, 10, 20, 20]], label=1), scores=np.array([0.2]))
    sheet = sheet_of(truth, weak)
    assert has_colour(sheet, 0)
    assert not has_colour(sheet, 1)
    assert has_colour(sheet_of(truth, weak, min_score=0.2), 1)


def test_panels_fill_row_by_row() -> None:
    boxes = [[10.0, 10.0, 20.0, 20.0]]
    sheet = panels(sheet_of(page([]), page(boxes, 0), page(boxes, 1), columns=2), 2)
    row, column = CAPTION + PANEL + GAP, PANEL + GAP
    assert has_colour(sheet[:row, column:], 0)
    assert has_colour(sheet[row:, :column], 1)
    assert not has_colour(sheet[:row], 1)
    assert not has_colour(sheet[row:], 0)


def test_grey_and_colour_images_look_the_same() -> None:
    pages = [page([[10, 10, 20, 20]])]
    grey = contact_sheet([white()], pages, NAMES)
    np.testing.assert_array_equal(contact_sheet([white((50, 100, 3))], pages, NAMES), grey)


def test_classes_have_a_colour_each() -> None:
    assert len({class_colour(label) for label in range(100)}) == 100


def test_legend_names_drawn_classes_only() -> None:
    few, many = page([[10, 10, 20, 20]], 0), page([[10, 10, 20, 20]], 1)
    assert not has_colour(sheet_of(few)[CAPTION + PANEL + GAP :], 1)
    assert has_colour(sheet_of(few, many)[CAPTION + PANEL + GAP :], 1)


def test_callers_mistake() -> None:
    message = "need an image a page and a column, got 0, 1, 2"
    with pytest.raises(ValueError, match=f"^{message}$"):
        contact_sheet([], [page([])], NAMES)


def test_compare_puts_truth_left_and_prediction_right(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), white())
    box = [[10.0, 10.0, 20.0, 20.0]]
    truths = [page(box, 0, "a.png"), page([], 0, "b.png"), page(box, 0, "c.png")]
    predictions = [
        replace(page(box, 1, name), scores=np.array([0.9])) for name in ("c.png", "b.png", "a.png")
    ]
    sheet = compare(tmp_path, truths, predictions, NAMES)
    assert sheet.shape[0] == 2 * (CAPTION + 640 + GAP) + 2 * CAPTION  # b.png has no symbols
    left, right = sheet[: -2 * CAPTION, : 640 + GAP], sheet[: -2 * CAPTION, 640 + GAP :]
    assert has_colour(left, 0)
    assert not has_colour(left, 1)
    assert has_colour(right, 1)
    assert not has_colour(right, 0)
    assert compare(tmp_path, truths, predictions, NAMES, n_images=1).shape[0] < sheet.shape[0]


def test_compare_of_nothing_is_an_empty_sheet(tmp_path: Path) -> None:
    assert compare(tmp_path, [], [], NAMES).shape[0] == CAPTION


def test_compare_says_which_image_cannot_be_read(tmp_path: Path) -> None:
    truth = page([[10, 10, 20, 20]])
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), white())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: "):
        compare(tmp_path, [truth], [replace(truth, scores=np.array([0.5]))], NAMES)


def annotated(boxes: list[list[float]], scale: float = 1, label: int = 0) -> Pixels:
    """The picture from the page's left upper corner on, without texts and legend."""
    found = annotated_page(white(), page(boxes, label), NAMES, scale=scale, texts=False)
    top = CAPTION + MARGIN
    return found.pixels[top : top + round(50 * scale) + MARGIN, MARGIN:]


def coloured(picture: Pixels, label: int = 0) -> set[tuple[int, int]]:
    """``(x, y)`` of the pixels in a class's colour."""
    ys, xs = np.nonzero((picture == class_colour(label)).all(axis=-1))
    return set(zip(xs.tolist(), ys.tolist(), strict=True))


def rim(x0: int, y0: int, x1: int, y1: int) -> set[tuple[int, int]]:
    """The pixels right outside a box."""
    outer = {(x, y) for x in range(x0 - 1, x1 + 1) for y in range(y0 - 1, y1 + 1)}
    return outer - {(x, y) for x in range(x0, x1) for y in range(y0, y1)}


def test_annotated_page_without_symbols() -> None:
    image = white()
    image[10:20, 30:60] = 0
    found = annotated_page(image, page([]), NAMES)
    assert (found.repeated, found.n_untold) == ((), 0)
    assert (found.pixels[CAPTION + MARGIN + 15, MARGIN + 40] == 128).all()
    assert not has_colour(found.pixels, 0)
    assert found.pixels.shape == (CAPTION + 50 + 2 * MARGIN + CAPTION, 100 + 2 * MARGIN, 3)


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
    found = annotated_page(white(), page([[0, 0, 100, 50]]), NAMES, texts=False)
    shown = coloured(found.pixels[CAPTION : -2 * CAPTION])
    assert shown == rim(MARGIN, MARGIN, MARGIN + 100, MARGIN + 50)


def test_a_box_twice_has_two_frames() -> None:
    box = [20.0, 10.0, 30.0, 40.0]
    found = annotated_page(white(), page([box, [50, 10, 60, 40], box, box]), NAMES, texts=False)
    assert found.repeated == (2, 3)
    once, twice = coloured(annotated([box])), coloured(annotated([box, box]))
    x0, y0, x1, y1 = 20, 10, 30, 40
    assert twice - once == rim(x0 - 2, y0 - 2, x1 + 2, y1 + 2)


def test_the_same_box_of_two_classes_has_two_frames_and_is_not_repeated() -> None:
    both = replace(page([[20, 10, 30, 40]] * 2), labels=np.array([0, 1]))
    found = annotated_page(white(), both, NAMES, texts=False)
    assert found.repeated == ()
    assert has_colour(found.pixels[: -3 * CAPTION], 0)
    assert has_colour(found.pixels[: -3 * CAPTION], 1)


def test_texts_are_written_outside_the_boxes() -> None:
    boxes = [[20.0, 10.0, 50.0, 40.0]]
    silent = annotated_page(white(), page(boxes), NAMES, texts=False)
    told = annotated_page(white(), page(boxes), NAMES)
    assert (silent.n_untold, told.n_untold) == (0, 0)
    changed = (silent.pixels != told.pixels).any(axis=-1)
    assert changed.any()
    top = CAPTION + MARGIN
    assert not changed[top + 9 : top + 41, MARGIN + 19 : MARGIN + 51].any()


def test_boxes_without_room_for_a_text_are_counted() -> None:
    crowd = [[10.0, 10.0, 20.0, 20.0]] * 400
    found = annotated_page(white(), page(crowd), NAMES)
    assert 0 < found.n_untold < 400


def test_the_legend_of_an_annotated_page_names_what_is_drawn() -> None:
    legend = annotated_page(white(), page([[10, 10, 20, 20]], 1), NAMES).pixels[-CAPTION:]
    assert has_colour(legend, 1)
    assert not has_colour(legend, 0)


def test_a_long_caption_widens_the_picture() -> None:
    narrow = annotated_page(white(), page([]), NAMES)
    wide = annotated_page(white(), page([]), NAMES, caption="w" * 80)
    assert wide.pixels.shape[1] > narrow.pixels.shape[1]
    assert (wide.pixels[: CAPTION - 4, -40:-GAP] < 255).any()
    assert (wide.pixels[:, -GAP // 2 :] == 255).all()
