import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.page import Page
from training.density.report import analyze, suggested_max_det
from training.density.stages import Spread

NAMES = ("stem", "notehead", "clef")


def page(
    image: str, n: int = 0, *, size: tuple[float, float] = (10, 20), label: int = 0, side: int = 640
) -> Page:
    """An image of ``side`` by half as much with ``n`` equal symbols."""
    return Page(
        image=PurePosixPath(image),
        width=side,
        height=side // 2,
        boxes_xyxy=np.tile([5.0, 5.0, 5.0 + size[0], 5.0 + size[1]], (n, 1)),
        labels=np.full(n, label, dtype=np.int64),
    )


@pytest.mark.parametrize(
    ("counts", "symbols"),
    [
        pytest.param([], None, id="no images"),
        pytest.param([0, 0], Spread(mean=0, p50=0, p95=0, p99=0, max=0), id="no symbols"),
        pytest.param([7], Spread(mean=7, p50=7, p95=7, p99=7, max=7), id="one image"),
        pytest.param(
            list(range(1, 101)), Spread(mean=50.5, p50=50, p95=95, p99=99, max=100), id="1 to 100"
        ),
    ],
)
def test_symbols_an_image(counts: list[int], symbols: Spread | None) -> None:
    pages = [page(f"{i}.png", n) for i, n in enumerate(counts)]
    report = analyze(pages, NAMES, imgsz=640, batch=2)
    assert report.symbols == symbols
    assert report.symbols_page is None
    assert (report.n_images, report.n_symbols) == (len(counts), sum(counts))
    assert (report.batch_max is None) == (not counts)
    assert report.suggest.max_det == 300


def test_pages_of_tiles() -> None:
    tiles = [page("a0.png", 3), page("a1.png", 4), page("b0.png", 1)]
    report = analyze(tiles, NAMES, imgsz=640, batch=1, symbols_of_pages=[6, 1])
    assert report.symbols == Spread(mean=8 / 3, p50=3, p95=4, p99=4, max=4)
    assert report.symbols_page == Spread(mean=3.5, p50=1, p95=6, p99=6, max=6)


def test_classes_most_frequent_first_with_sizes_in_training() -> None:
    pages = [
        page("a.png", 1, size=(3, 60), label=0, side=1280),  # halved: 1.5 x 30
        page("b.png", 1, size=(2, 40), label=0, side=640),  # as it is: just not under 2 px
        page("c.png", 3, size=(5, 4), label=1, side=320),  # doubled: 10 x 8
    ]
    rows = [
        (row.name, row.count, row.share, row.median_width_px, row.median_height_px, row.under_2px)
        for row in analyze(pages, NAMES, imgsz=640, batch=1).classes
    ]
    assert rows == [
        ("notehead", 3, 0.6, 10, 8, 0),
        ("stem", 2, 0.4, 1.75, 35, 0.5),
        ("clef", 0, 0, None, None, None),
    ]


def test_median_and_smaller_side() -> None:
    sizes = [(30.0, 1.0), (31.0, 5.0), (90.0, 6.0)]
    pages = [page(f"{i}.png", 1, size=size) for i, size in enumerate(sizes)]
    row = analyze(pages, NAMES, imgsz=640, batch=1).classes[0]
    assert (row.median_width_px, row.median_height_px) == (31, 5)
    assert row.under_2px == pytest.approx(1 / 3)


def test_letterbox_fits_the_longer_side() -> None:
    upright = replace(page("a.png", 1, size=(10, 20), side=1280), width=320, height=1280)
    row = analyze([upright], NAMES, imgsz=640, batch=1).classes[0]
    assert (row.median_width_px, row.median_height_px) == (5, 10)


@pytest.mark.parametrize(
    ("max_symbols", "max_det"), [(0, 300), (200, 300), (201, 400), (606, 1000), (2000, 3000)]
)
def test_suggested_max_det(max_symbols: int, max_det: int) -> None:
    assert suggested_max_det(max_symbols) == max_det


def test_suggestion_follows_the_fullest_image() -> None:
    pages = [page("a.png", 606), page("b.png", 3)]
    assert analyze(pages, NAMES, imgsz=640, batch=1).suggest.max_det == 1000


@given(st.permutations([("a", 3, 0), ("b", 0, 1), ("c", 3, 1), ("d", 2, 2)]))
def test_order_changes_nothing(rows: Sequence[tuple[str, int, int]]) -> None:
    shuffled = [page(image, n, label=label) for image, n, label in rows]
    in_order = [page(image, n, label=label) for image, n, label in sorted(rows)]
    assert analyze(shuffled, NAMES, imgsz=320, batch=2) == analyze(
        in_order, NAMES, imgsz=320, batch=2
    )


def test_to_json() -> None:
    data = analyze([page("a.png", 2)], NAMES, imgsz=640, batch=4).to_json()
    assert json.loads(json.dumps(data)) == data
    assert data["symbols"] == {"mean": 2.0, "p50": 2, "p95": 2, "p99": 2, "max": 2}
    assert data["symbols_page"] is None
    assert data["batch_max"] == {"expected": 2.0, "p999": 2}
    assert data["suggest"] == {"max_det": 300}
    assert data["classes"][0] == {
        "name": "stem",
        "count": 2,
        "share": 1.0,
        "median_width_px": 10.0,
        "median_height_px": 20.0,
        "under_2px": 0.0,
    }


@pytest.mark.parametrize(
    ("imgsz", "batch", "label", "message"),
    [
        pytest.param(0, 1, 0, "imgsz and batch must be at least 1, got 0 and 1", id="imgsz"),
        pytest.param(64, 0, 0, "imgsz and batch must be at least 1, got 64 and 0", id="batch"),
        pytest.param(64, 1, 3, "label 3 is not one of 3 classes: a.png", id="label"),
    ],
)
def test_callers_mistakes(imgsz: int, batch: int, label: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        analyze([page("a.png", 1, label=label)], NAMES, imgsz=imgsz, batch=batch)
