import json
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbol_sets import NAMES, sized, symbols, symbols_at
from ultralytics.data.augment import RandomPerspective
from ultralytics.utils.instance import Instances

from eval.reports.density_figures import SideSpread
from training.data.augmentation import kept_by_ultralytics
from training.density.sizes import (
    TOLERANCE,
    ClassSizes,
    largest_tile,
    least_scale,
    members,
    sides_of,
    size_rows,
)
from training.grouping.statistics import Symbols

NEARLY = 1 - TOLERANCE
SHARES = ("under_1px", "under_2px", "under_4px", "dropped", "dropped_by_ultralytics")


def test_no_symbols() -> None:
    rows = size_rows(symbols_at([]), NAMES)
    assert [asdict(row) for row in rows] == [
        {"name": name, "count": 0, "width": None, "height": None, **dict.fromkeys(SHARES)}
        for name in NAMES
    ]
    assert least_scale(symbols_at([]), NAMES) == {}
    assert largest_tile(symbols_at([]), symbols_at([]), NAMES) == {}
    assert size_rows(symbols_at([]), []) == ()


def test_worked_by_hand() -> None:
    """21 widths from 1 to 21, so that 5 % is one symbol; heights of 3; a class with a single dot."""
    sides = [(width, 3.0) for width in range(1, 22)] + [(0.01, 0.01)]
    rows = size_rows(sized(sides, [0] * 21 + [2]), NAMES)
    assert rows[0] == ClassSizes(
        name="a",
        count=21,
        width=SideSpread(p5=2, p25=6, p50=11, p75=16, p95=20),
        height=SideSpread(p5=3, p25=3, p50=3, p75=3, p95=3),
        under_1px=0,
        under_2px=1 / 21,
        under_4px=1,
        dropped=0,
        dropped_by_ultralytics=2 / 21,
    )
    assert rows[1].count == 0
    assert [getattr(rows[2], share) for share in SHARES] == [1, 1, 1, 0, 1]
    json.dumps([asdict(row) for row in rows])


def test_symbols_out_of_sight_are_dropped() -> None:
    """Our augmentation keeps boxes with a quarter of each side inside the image."""
    row = size_rows(symbols_at([[-90, 10, 30, 20], [-91, 10, 30, 20], [-9, -9, 99, 99]]), ["a"])[0]
    assert row.dropped == pytest.approx(1 / 3)
    assert row.width is not None
    assert row.width.p50 == 120


def stock_transform(boxes_xyxy: list[list[float]], side: int) -> list[list[float]]:
    """Apply Ultralytics' transform without translation or scaling."""
    labels: dict[str, Any] = {
        "img": np.zeros((side, side, 3), np.uint8),
        "cls": np.zeros((len(boxes_xyxy), 1), np.float32),
        "instances": Instances(
            np.array(boxes_xyxy, np.float32).reshape(-1, 4), bbox_format="xyxy", normalized=False
        ),
    }
    operation = RandomPerspective(translate=0.0, scale=0.0, size=(side, side))
    left: list[list[float]] = operation(labels)["instances"].bboxes.tolist()
    return left


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        pytest.param([10, 10, 12, 40], False, id="2 px"),
        pytest.param([10, 10, 12.5, 40], True, id="2.5 px"),
        pytest.param([0, 10, 256, 12.5], False, id="aspect over 100"),
        pytest.param([0, 10, 245, 12.5], True, id="aspect of 98"),
        pytest.param([-95, 10, 5, 90], False, id="a twentieth in the image"),
        pytest.param([-80, 10, 20, 90], True, id="a fifth in the image"),
        pytest.param([300, 10, 310, 20], False, id="out"),
    ],
)
def test_what_ultralytics_keeps(box: list[float], kept: bool) -> None:
    assert kept_by_ultralytics(np.array([box]), (256, 256)).tolist() == [kept]
    assert (len(stock_transform([box], 256)) == 1) == kept


def test_ultralytics_keeps_nothing_without_boxes() -> None:
    assert kept_by_ultralytics(np.empty((0, 4)), (64, 64)).tolist() == []


@pytest.mark.parametrize(
    ("sides", "factor"),
    [
        pytest.param([8], 0.5, id="large enough"),
        pytest.param([0.01], 400, id="a hundredth of a pixel"),
        pytest.param([0], None, id="no size"),
        pytest.param([1] + [2] * 19, 2, id="one of twenty may be smaller"),
        pytest.param([1] + [2] * 18, 4, id="one of nineteen may not"),
        pytest.param([0] + [2] * 19, 2, id="one of twenty without a size"),
    ],
)
def test_least_scale(sides: list[float], factor: float | None) -> None:
    result = least_scale(sized([(side, 50) for side in sides]), ["stem"])
    assert result == {"stem": None if factor is None else pytest.approx(factor * NEARLY)}


def test_shares_tolerate_rounding() -> None:
    """A tenth of ten symbols is one, although 1 - 0.9 is slightly less than a tenth."""
    result = least_scale(sized([(side, 50) for side in [1] + [2] * 9]), ["stem"], 4, 0.9)
    assert result == {"stem": pytest.approx(2 * NEARLY)}


def test_each_class_has_its_own_factor() -> None:
    result = least_scale(sized([(2, 9), (9, 1), (0, 3)], [0, 1, 2]), NAMES)
    assert result == {"a": pytest.approx(2 * NEARLY), "b": pytest.approx(4 * NEARLY), "c": None}


@pytest.mark.parametrize(("wanted_px", "share"), [(0, 0.5), (4, -0.1), (4, 1.1)])
def test_invalid_arguments(wanted_px: float, share: float) -> None:
    with pytest.raises(ValueError, match=r"(wanted_px|share) is"):
        least_scale(sized([8, 8]), ["a"], wanted_px, share)


@given(symbols(most=60), st.floats(0.5, 20), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_the_factor_is_the_smallest_that_suffices(
    of: Symbols, wanted_px: float, share: float
) -> None:
    result = least_scale(of, NAMES, wanted_px, share)
    for label, name in enumerate(NAMES):
        smaller = sides_of(of)[of.labels == label].min(axis=1)
        factor = result.get(name)
        if factor is not None:
            wanted = wanted_px * NEARLY
            assert (smaller * factor * 1.0001 >= wanted).mean() >= share - 1e-9
            assert share == 0 or (smaller * factor * 0.9999 >= wanted).mean() < share


@pytest.mark.parametrize(
    ("sides", "tile"),
    [
        # Sides at a network input of 640, and in the stored image.
        pytest.param([(2, 4)], 640, id="large enough as stored"),
        pytest.param([(2, 8)], 1280, id="twice as large as wanted"),
        pytest.param([(3.9998, 9)], math.inf, id="large enough but for the digits of its label"),
        pytest.param([(2, 3)], 480, id="too small as stored"),
        pytest.param([(4, 3)], math.inf, id="of a small image, drawn larger"),
        pytest.param([(0, 0)], 0, id="no size"),
        pytest.param([(6, 3)] * 10 + [(2, 10)] * 10, 1600, id="half of them of small images"),
        pytest.param([(1, 3)] + [(2, 8)] * 19, 1280, id="one of twenty may be smaller"),
        pytest.param([(1, 3)] + [(2, 8)] * 18, 480, id="one of nineteen may not"),
    ],
)
def test_largest_tile(sides: list[tuple[float, float]], tile: float) -> None:
    seen, stored = zip(*sides, strict=True)
    result = largest_tile(
        replace(sized([(side, 50) for side in seen]), imgsz=640),
        replace(sized([(side, 50) for side in stored]), imgsz=640),
        ["stem"],
    )
    assert result == {"stem": pytest.approx(tile / NEARLY)}


@given(symbols(most=60))
@settings(max_examples=30, deadline=None)
def test_members(of: Symbols) -> None:
    result = members(of.labels, len(NAMES) + 1)
    assert [own.tolist() for own in result] == [
        np.flatnonzero(of.labels == label).tolist() for label in range(len(NAMES) + 1)
    ]
