import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from blank_pages import CAPTION, GAP, NAMES, has_colour, page, white

from class_maps import InputError
from converters import images
from converters.images import Pixels
from converters.page import Page
from eval.pictures.contact_sheet import compare, contact_sheet
from eval.pictures.drawing import class_colour

PANEL = 200


def panels(sheet: Pixels, n_rows: int) -> Pixels:
    """Return the sheet without its legend."""
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


def test_predictions_below_the_minimum_score_are_omitted() -> None:
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


def test_images_must_match_pages() -> None:
    message = "need one image per page and at least one column, got 0 images, 1 pages, 2 columns"
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
    sheet = compare(reader(tmp_path), truths, predictions, NAMES)
    assert sheet.shape[0] == 2 * (CAPTION + 640 + GAP) + 2 * CAPTION  # b.png has no symbols
    left, right = sheet[: -2 * CAPTION, : 640 + GAP], sheet[: -2 * CAPTION, 640 + GAP :]
    assert has_colour(left, 0)
    assert not has_colour(left, 1)
    assert has_colour(right, 1)
    assert not has_colour(right, 0)
    assert (
        compare(reader(tmp_path), truths, predictions, NAMES, n_images=1).shape[0] < sheet.shape[0]
    )


def reader(folder: Path) -> Callable[[PurePosixPath], Pixels]:
    return lambda name: images.read(folder / name)


def test_compare_of_nothing_is_an_empty_sheet(tmp_path: Path) -> None:
    assert compare(reader(tmp_path), [], [], NAMES).shape[0] == CAPTION


def test_compare_names_an_unreadable_image(tmp_path: Path) -> None:
    truth = page([[10, 10, 20, 20]])
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), white())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: "):
        compare(reader(tmp_path), [truth], [replace(truth, scores=np.array([0.5]))], NAMES)
