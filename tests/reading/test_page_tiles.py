from pathlib import PurePosixPath

import numpy as np
import pytest

from converters.page import Page
from reading.page_tiles import PageTiles

TILES = PurePosixPath("a.png"), PurePosixPath("b.png")


def tile(name: PurePosixPath, *boxes: tuple[float, ...]) -> Page:
    return Page(
        image=name,
        width=64,
        height=64,
        boxes_xyxy=np.array(boxes, float).reshape(-1, 4),
        labels=np.zeros(len(boxes), np.int64),
        scores=np.full(len(boxes), 0.5),
    )


@pytest.mark.parametrize(
    "outside",
    [(), ((30, 10, 30, 20),), ((70, 10, 80, 20),)],
    ids=["empty", "without width", "beyond the tile"],
)
def test_predictions_without_area_are_no_symbols(outside: tuple[tuple[float, ...], ...]) -> None:
    page = PageTiles(
        page=PurePosixPath("page.png"),
        tiles=TILES,
        corners_xy=np.array([[0, 0], [32, 0]]),
        sizes=np.array([[64, 64], [64, 64]]),
        tile_px=64,
        scale_xy=(1.0, 1.0),
        n_symbols=1,
    )
    merged = page.merged([tile(TILES[0], *outside, (40, 10, 50, 20)), tile(TILES[1], *outside)])
    assert (merged.width, merged.height) == (96, 64)
    assert merged.boxes_xyxy.tolist() == [[40, 10, 50, 20]]
