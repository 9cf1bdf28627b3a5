"""Maps of a class's score, with a network whose scores are the darkness of each cell."""

from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.images import Pixels
from reading.dewarping import Dewarping, Slopes
from reading.network import TrainingInput
from reading.page_reader import PreparedPage, ReadingOptions, prepare
from reading.score_map import STEP_PX, score_map

SIDE = 64
NATIVE = ReadingOptions(training=TrainingInput(is_tiled=True, staff_space=None), score_thresh=0.1)


def darkness(tiles: Pixels) -> list[NDArray[np.float32]]:
    """The highest darkness in each cell of 8 px, and a lower level without any."""
    cells = (tiles[..., 0].reshape(len(tiles), 8, 8, 8, 8) == 0).max(axis=(2, 4))
    return [cells.astype(np.float32), np.zeros((len(tiles), 4, 4), np.float32)]


def prepared(image: NDArray[np.uint8], scale: float = 1.0) -> PreparedPage:
    training = TrainingInput(is_tiled=True, staff_space=10 * scale)
    options = replace(NATIVE, training=training, staff_space=10.0) if scale != 1 else NATIVE
    return prepare(PurePosixPath("page.png"), image, SIDE, options)


def page_with_ink(height: int, width: int, box: tuple[int, int, int, int] | None) -> Pixels:
    image = np.full((height, width), 255, np.uint8)
    if box:
        x0, y0, x1, y1 = box
        image[y0:y1, x0:x1] = 0
    return image


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (160, 300, None),
        (1, 1, None),
        (1, 1, (0, 0, 1, 1)),
        (40, 20, (4, 4, 12, 30)),
        (160, 300, (200, 90, 216, 106)),
        (160, 300, (0, 0, 300, 160)),
    ],
    ids=["blank", "white pixel", "black pixel", "smaller than a tile", "one symbol", "black"],
)
@pytest.mark.parametrize("batch", [1, 16])
def test_scores_are_where_the_ink_is(
    height: int, width: int, box: tuple[int, int, int, int] | None, scale: float, batch: int
) -> None:
    page = prepared(page_with_ink(height, width, box), scale)
    scores = score_map(page, darkness, batch=batch)
    step = np.array([width, height]) / scores.shape[::-1]  # of the map, in pixels of the page
    assert (step * page.factors <= STEP_PX).all()
    if box is None:
        assert not scores.any()
        return
    rows, columns = np.nonzero(scores)
    places = (np.stack([columns, rows], axis=1) + 0.5) * step
    reach = 8 / min(page.factors) + step.max()  # a cell is 8 px
    low, high = np.array(box[:2]) - reach, np.array(box[2:]) + reach
    assert ((places >= low) & (places <= high)).all()
    x, y = np.clip(((np.array(box[:2]) + box[2:]) / 2 // step).astype(int), 0, None)
    assert scores[min(y, scores.shape[0] - 1), min(x, scores.shape[1] - 1)] == 1


def test_the_highest_score_of_tiles_and_levels_counts() -> None:
    page = prepared(page_with_ink(64, 90, (0, 0, 90, 64)))
    assert len(page.grid) == 2
    tiles = iter((0.25, 0.5))

    def network(pixels: Pixels) -> list[NDArray[np.float32]]:
        fine = np.full((len(pixels), 8, 8), next(tiles), np.float32)
        coarse = np.zeros((len(pixels), 2, 2), np.float32)
        coarse[:, 0, 0] = 0.375  # of 32 px
        return [fine, coarse]

    scores = score_map(page, network, batch=1)
    second = int(page.grid.corners_xy[1, 0]) // STEP_PX  # may cut a cell of the map
    assert (scores[:8, :6] == 0.375).all()
    assert (scores[9:, :6] == 0.25).all()
    assert (scores[:, second + 1 :] == 0.5).all()


def test_a_page_that_was_made_upright() -> None:
    slopes = Slopes(across=0.05, down=-0.04)
    ys, xs = np.mgrid[:300, :400] + 0.5
    image = page_with_ink(300, 400, None)
    image[np.abs(ys - 150 - slopes.across * (xs - 200)) < 2] = 0
    dewarping = Dewarping.of(400, 300, slopes)
    flat = np.dstack([dewarping.dewarp(image)] * 3)
    page = prepared(flat[..., 0])
    turned = replace(page, width=400, height=300, dewarping=dewarping)
    scores = score_map(turned, lambda tiles: darkness(np.where(tiles < 128, 0, 255)))
    assert scores.shape == (75, 100)
    rows = np.arange(75)[:, None] * STEP_PX + STEP_PX / 2
    columns = np.arange(100) * STEP_PX + STEP_PX / 2
    distance = np.abs(rows - 150 - slopes.across * (columns - 200))
    assert (scores[distance < 2] == 1).all()
    assert not scores[distance > 12].any()
