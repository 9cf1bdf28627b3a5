import re
from base64 import b64decode
from dataclasses import replace

import cv2
import numpy as np
import pytest
from evaluation_samples import empty, full, marked_page

from eval.reports.evaluation import PageErrors
from eval.reports.page_overlays import Mark, MarkedPage, page_overlays

FULL = full()
NAMES = ["<stem>", "clef"]


def test_no_pages_have_no_overlays() -> None:
    assert page_overlays(empty().pages, [], NAMES) == []


def test_a_page_without_errors_is_not_shown() -> None:
    perfect = PageErrors(image="a.png", n_truths=5, n_found=5, n_false=0, n_missed=0)
    assert page_overlays([perfect], [], NAMES) == []


def test_every_kind_of_mark_is_drawn() -> None:
    [overlay] = page_overlays(FULL.pages[:1], [marked_page(FULL, 0, None)], NAMES)
    assert (overlay.width, overlay.height) == (100, 80)
    assert overlay.found == "M9 9H31V41H9z"  # one pixel around 10, 10, 30, 40
    assert overlay.missed == [Mark(x="49", y="9", width="4", height="52", text="clef")]
    [false] = overlay.false
    assert false == Mark(x="57", y="8", width="6", height="54", text="clef, confidence 0.66")
    assert overlay.lists == [("Missed", "clef (1)"), ("False alarms", "clef (1)")]


@pytest.mark.parametrize("shape", [(80, 100), (80, 100, 3), (3000, 3750)])
def test_images_are_small_grey_jpegs(shape: tuple[int, ...]) -> None:
    marked = marked_page(FULL, 0, np.full(shape, 200, dtype=np.uint8))
    [overlay] = page_overlays(FULL.pages[:1], [marked], NAMES)
    match = re.fullmatch("data:image/jpeg;base64,(.+)", overlay.image)
    assert match is not None
    data = np.frombuffer(b64decode(match[1]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.shape == ((1360, 1700) if shape[0] == 3000 else (80, 100))
    assert overlay.problem == ""


def test_pages_keep_their_order_and_missing_ones_are_reported() -> None:
    marked = [marked_page(FULL, 2, None), marked_page(FULL, 0, None)]
    overlays = page_overlays(FULL.pages, marked, NAMES)
    assert [one.errors for one in overlays] == list(FULL.pages)
    assert [one.problem for one in overlays] == [
        "The image is not available.",
        "The boxes are not available.",
        "The image is not available.",
    ]


def test_at_most_twenty_pages_are_shown() -> None:
    pages = [replace(FULL.pages[0], image=f"{i}.png") for i in range(25)]
    assert [one.errors.image for one in page_overlays(pages, [], NAMES)] == [
        f"{i}.png" for i in range(20)
    ]


@pytest.mark.parametrize("mask", ["is_found", "is_right"])
def test_masks_have_one_entry_per_symbol(mask: str) -> None:
    page = marked_page(FULL, 0, None)
    fields = {name: getattr(page, name) for name in MarkedPage.__dataclass_fields__}
    with pytest.raises(ValueError, match=rf"^{mask} must have shape \(2,\), got \(1,\)$"):
        MarkedPage(**fields | {mask: np.array([True])})
