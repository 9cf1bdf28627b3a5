"""Tests of crops, on pages whose pixels are known."""

from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from converters import images
from converters.images import Pixels
from eval.sheets.crops import BEYOND, FRAME, MOST_PX, SPACE_PX, Crop, cut_crops
from eval.sheets.selection import Box, ChosenSymbol, SourceImage


def symbol(box: Box, *, space: float | None = SPACE_PX, path: str = "page.png") -> ChosenSymbol:
    image = SourceImage(
        source="", split="train", name=PurePosixPath(path), path=Path(path), staff_space=space
    )
    return ChosenSymbol(class_name="head", image=image, box_xyxy=box, reason="random")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """Number of times that each image is decoded; all are white."""
    counts: Counter[Path] = Counter()

    def read(path: Path) -> Pixels:
        counts[path] += 1
        return np.full((100, 100, 3), 255, np.uint8)

    monkeypatch.setattr(images, "read", read)
    return counts


def drawn(box: tuple[int, int, int, int], side: int = 400) -> Pixels:
    """A white page with a black rectangle."""
    x0, y0, x1, y1 = box
    page = np.full((side, side), 255, np.uint8)
    page[y0:y1, x0:x1] = 0
    return page


def only_crop(page: Pixels, chosen: ChosenSymbol) -> Crop:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "read", lambda _path: page)
        [crop] = cut_crops([chosen])
    return crop


@pytest.mark.parametrize(
    ("space", "factor"), [(SPACE_PX, 1), (SPACE_PX / 2, 2), (SPACE_PX * 2, 0.5)]
)
def test_crops_have_equal_staff_space(space: float, factor: float) -> None:
    box = (100, 120, 140, 140)
    crop = only_crop(drawn(box), symbol(box, space=space))
    dark = (crop.pixels == 0).all(axis=2)
    assert dark.sum() == pytest.approx(40 * factor * 20 * factor, rel=0.1)
    assert not crop.is_reduced
    assert crop.pixels.shape[1] == pytest.approx((40 + 3 * space) * factor, abs=2)


def test_the_frame_is_just_outside_the_box() -> None:
    box = (100, 120, 140, 140)
    pixels = only_crop(drawn(box), symbol(box)).pixels
    rows, columns = (pixels == FRAME).all(axis=2).nonzero()
    dark_rows, dark_columns = (pixels == 0).all(axis=2).nonzero()
    assert (rows.min(), rows.max()) == (dark_rows.min() - 1, dark_rows.max() + 1)
    assert (columns.min(), columns.max()) == (dark_columns.min() - 1, dark_columns.max() + 1)
    assert len(dark_rows) == 40 * 20  # no ink is hidden


def test_what_is_beyond_the_image_is_grey() -> None:
    pixels = only_crop(drawn((0, 0, 10, 10)), symbol((0, 0, 10, 10))).pixels
    assert (pixels[0] == BEYOND).all()
    assert (pixels[:, 0] == BEYOND).all()
    assert (pixels[-1, -1] == 255).all()


@pytest.mark.parametrize("box", [(-500.0, -500.0, -490.0, -490.0), (900, 900, 950, 910)])
def test_a_box_outside_of_the_image(box: Box) -> None:
    pixels = only_crop(drawn((0, 0, 1, 1)), symbol(box)).pixels
    inside = pixels[3:-3, 3:-3]
    assert ((inside == BEYOND) | (inside == FRAME)).all()


def test_large_symbols_are_reduced() -> None:
    crop = only_crop(drawn((0, 100, 400, 110)), symbol((0, 100, 400, 110)))
    assert crop.is_reduced
    assert max(crop.pixels.shape) <= MOST_PX + 1


def test_a_box_without_area_and_no_staff_space() -> None:
    crop = only_crop(drawn((0, 0, 1, 1)), symbol((200, 200, 200, 200), space=None))
    assert crop.pixels.size
    assert not crop.is_reduced


def test_each_image_is_decoded_once(decoded: Counter[Path]) -> None:
    paths = ["b.png", "a.png", "b.png", "c.png", "a.png"]
    symbols = [symbol((i, 10, i + 10, 20), path=path) for i, path in enumerate(paths)]
    assert len([*cut_crops(symbols)]) == 5
    assert decoded == dict.fromkeys(map(Path, ["a.png", "b.png", "c.png"]), 1)
