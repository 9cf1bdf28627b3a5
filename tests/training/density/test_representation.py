import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symbol_sets import NAMES, sized, symbols_at
from torchvision.ops import box_iou
from ultralytics.nn.modules.head import Detect

from eval.reports.density_figures import RecallAtIou
from training.assigners.assignment import Anchors, Targets
from training.assigners.candidate_pairs import pairs_inside
from training.density.representation import (
    HeadSetting,
    best_ious,
    head_settings,
    maximum_recall,
)
from training.grouping.statistics import Symbols
from training.heads.distance_bins import allow_below_zero, bin_values

STOCK, SIGNED, STOCK_P2, SIGNED_P2 = head_settings((8, 16, 32))


def stems(width: float, *, imgsz: int = 640, height: float = 30, n: int = 64 * 25) -> Symbols:
    """Return stems spread evenly over the cells of stride 8, centred on a row of points."""
    centres = np.linspace(64, 64 + 64 * 8, n, endpoint=False) + 0.1
    half = width / 2, height / 2
    y = np.full(n, 324.0)
    boxes = np.stack((centres - half[0], y - half[1], centres + half[0], y + half[1]), axis=1)
    return symbols_at(boxes, imgsz=imgsz)


def test_settings() -> None:
    assert head_settings((4, 8, 16, 32)) == head_settings((8, 16, 32))
    assert [(s.name, s.strides, s.low, s.high) for s in head_settings((8, 16, 32))] == [
        ("stock", (8, 16, 32), 0, 15),
        ("signed", (8, 16, 32), -2, 15),
        ("stock, P2", (4, 8, 16, 32), 0, 15),
        ("signed, P2", (4, 8, 16, 32), -2, 15),
    ]
    assert [(s.name, s.low, s.high) for s in head_settings((8, 16), reg_max=1)] == [
        ("free", -math.inf, math.inf),
        ("free, P2", -math.inf, math.inf),
    ]
    assert [s.name for s in head_settings((4,))] == ["stock, P2", "signed, P2"]


def test_ranges_are_those_of_real_heads() -> None:
    head = Detect(nc=1, ch=(16, 16, 16))
    assert bin_values(head)[[0, -1]].tolist() == [STOCK.low, STOCK.high]
    allow_below_zero(head)
    assert bin_values(head)[[0, -1]].tolist() == [SIGNED.low, SIGNED.high]


def test_a_head_without_distance_bins_predicts_negative_distances() -> None:
    """The output of its last convolution is decoded without a clamp."""
    head = Detect(nc=1, reg_max=1, ch=(16,))
    head.stride = torch.tensor([8.0])
    for branch in (head.cv2[0], head.cv3[0]):
        branch[-1].weight.data.zero_()
    head.cv2[0][-1].bias.data = torch.tensor([-1.5, 0.5, 40.0, 0.25])  # left, top, right, bottom
    decoded, _ = head.eval()([torch.zeros(1, 16, 1, 1)])
    x, y, width, height = decoded[0, :4, 0].tolist()  # one cell, its point at 4, 4
    box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    assert box == [4 + 1.5 * 8, 4 - 0.5 * 8, 4 + 40 * 8, 4 + 0.25 * 8]


@pytest.mark.parametrize(
    ("box", "stock", "signed"),
    [
        pytest.param([3, 3, 13, 13], 1, 1, id="holds a point"),
        pytest.param([4, 4, 4, 4], 0, 0, id="no size"),
        # The nearest point of the lower row is at 4: it predicts 4 to 8 in x where 7 to 8 is true.
        pytest.param([7, 0, 8, 30], 1 / 4, 1, id="stem between two points"),
        pytest.param([7.7, 7.7, 7.9, 7.9], 0.2**2 / 3.9**2, 1, id="dot between four points"),
        pytest.param([8, 8, 8, 8.1], 0, 0, id="no point near enough"),
        pytest.param([300, 9, 310, 19], 0, 0, id="out of the image"),
        # 15 strides are 120 px to each side of the point at 124, which is nearest to the centre.
        pytest.param([0, 120, 256, 130], 240 / 256, 240 / 256, id="longer than two times 15"),
        pytest.param([-100, 120, 356, 130], 240 / 456, 240 / 456, id="wider than the image"),
    ],
)
def test_worked_by_hand(box: list[float], stock: float, signed: float) -> None:
    of = symbols_at([box], imgsz=256)
    for low, expected in ((0, stock), (-2, signed)):
        one_level = HeadSetting(name="", strides=(8,), low=low, high=15)
        assert best_ious(of, one_level).tolist() == [pytest.approx(expected)]


def test_no_symbols() -> None:
    result = maximum_recall(symbols_at([]), ["a"], [STOCK])
    assert result.overall == {"stock": None}
    assert [asdict(row) for row in result.classes] == [
        {"name": "a", "count": 0, "settings": {"stock": None}}
    ]


def test_input_size_must_be_a_multiple_of_every_stride() -> None:
    with pytest.raises(ValueError, match=r"\(100, 100\) is not a multiple"):
        maximum_recall(sized([8, 8], imgsz=100), ["a"], [STOCK])


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_stems_match_the_formula(width: float) -> None:
    """A point at distance d from the centre predicts a stem too wide by d - w / 2: IoU w / (d + w/2).

    The IoU is at least .5 up to d = 1.5 w, and d is uniform over half a stride, or over half of that
    with a finer level.
    """
    names = {1.5: "iou50", 4 / 3 - 0.5: "iou75", 1 / 0.9 - 0.5: "iou90"}
    for stride in (8, 4):
        kinds = {
            kind: HeadSetting(name=kind, strides=(stride,), low=low, high=15)
            for kind, low in (("stock", 0), ("signed", -2))
        }
        result = maximum_recall(stems(width), ["stem"], list(kinds.values())).classes[0].settings
        assert result["signed"] == RecallAtIou(iou50=1, iou75=1, iou90=1)
        for factor, name in names.items():
            expected = min(factor * width / (stride / 2), 1)
            assert getattr(result["stock"], name) == pytest.approx(expected, abs=0.045)


def test_thin_stems_on_a_full_page() -> None:
    """The stock head represents about a fifth, twice that with P2, all with signed distances."""
    result = maximum_recall(stems(0.5, height=14), NAMES[:1], head_settings((8, 16, 32)))
    at_50 = {name: bound.iou50 for name, bound in result.overall.items() if bound}
    assert 0.15 < at_50["stock"] < 0.35
    assert 0.35 < at_50["stock, P2"] < 0.75
    assert at_50["signed"] == at_50["signed, P2"] == 1
    assert result.classes[0].settings == result.overall
    json.dumps(asdict(result))


def best_by_trial(of: Symbols, setting: HeadSetting) -> list[float]:
    """Try every candidate point with all integer distances."""
    anchors = Anchors.of_image((of.imgsz, of.imgsz), setting.strides)
    boxes = torch.from_numpy(of.boxes_xyxy)
    none = torch.zeros(len(of), dtype=torch.int64)
    pairs = pairs_inside(anchors, Targets(images=none, labels=none, boxes_xyxy=boxes))
    best = [0.0] * len(of)
    for box, point in zip(*(column.tolist() for column in pairs), strict=True):
        x, y = anchors.points_xy[point].tolist()
        stride = anchors.strides[point].item()
        distances = torch.arange(
            setting.low * stride, setting.high * stride + 1, dtype=torch.float64
        )
        grid = torch.cartesian_prod(x - distances, y - distances, x + distances, y + distances)
        grid = grid[(grid[:, :2] < grid[:, 2:]).all(dim=1)]
        best[box] = max(best[box], float(box_iou(boxes[box : box + 1], grid).max()))
    return best


@st.composite
def whole_boxes(draw: st.DrawFn) -> Symbols:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(0, 2))
    low, sides = rng.integers(-4, 20, (n, 2)), rng.integers(1, 14, (n, 2))
    boxes: Any = np.concatenate((low, low + sides), axis=1)
    return symbols_at(boxes, imgsz=16)


@given(
    whole_boxes(),
    st.sampled_from([(4,), (8,), (4, 8)]),
    st.sampled_from([(0, 1), (-1, 1), (0, 2), (-1, 1.5)]),
)
@settings(max_examples=40, deadline=None)
def test_exhaustive_search_finds_nothing_better(
    of: Symbols, strides: Sequence[int], distances: tuple[float, float]
) -> None:
    low, high = distances
    setting = HeadSetting(name="", strides=tuple(strides), low=low, high=high)
    assert best_ious(of, setting).tolist() == pytest.approx(best_by_trial(of, setting))


def test_free_distances_represent_every_box_with_a_point() -> None:
    of = symbols_at([[-300, 31.9, 300, 32], [1, 1, 1.01, 60], [99.0, 99, 120, 120]])
    assert best_ious(of, head_settings((8, 16), reg_max=1)[0]).tolist() == [
        pytest.approx(1),
        pytest.approx(1),
        0,
    ]
