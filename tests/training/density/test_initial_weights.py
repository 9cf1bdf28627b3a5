import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from symbol_sets import sized
from torch import Tensor
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.tal import TaskAlignedAssigner, make_anchors

from class_maps import ConfigError
from converters.formats.datasets import open_dataset
from settings.head_config import BoxBranch, Group, HeadConfig
from training.assigners.assignment import Anchors, Targets
from training.assigners.predictions import DensePredictions
from training.density.initial_weights import (
    ClassInitialWeights,
    InitialWeightAnalysis,
    initial_weights,
    starting_distances,
)
from training.density.sizes import ClassSizes, size_rows
from training.grouping.statistics import symbols_of
from training.losses.assigner_factory import make_assigner
from training.losses.loss_options import LossOptions
from training.models.building import activation_kept
from training.models.zoo import model_file
from training.runs.checkpoint_files import REPORT_FILE
from training.trainer import TrainResult

STRIDES = (8, 16, 32)
SIDES = {"notehead": (9, 8), "stem": (1.4, 26), "clef": (30, 84), "staff": (620, 47)}
NAMES = tuple(SIDES)
N_CLASSES = len(NAMES)


def rows(sides: Sequence[tuple[float, float]], names: Sequence[str]) -> tuple[ClassSizes, ...]:
    """Return the size rows of ten symbols per class."""
    labels = np.arange(len(sides)).repeat(10)
    return size_rows(sized(np.array(sides).reshape(-1, 2)[labels], labels, imgsz=640), names)


ROWS = rows(list(SIDES.values()), NAMES)


def heads_of(box: BoxBranch, **options: str) -> HeadConfig:
    groups = (
        Group(name="small", classes=("stem", "notehead")),
        Group(name="large", classes=("staff", "clef"), **options),  # type: ignore[arg-type]
    )
    return HeadConfig(groups=groups, box=box)


def weights_of(result: InitialWeightAnalysis, name: str) -> ClassInitialWeights:
    return next(row for row in result.classes if row.name == name)


@pytest.mark.parametrize("names", [(), ("stem",), NAMES])
def test_no_symbols(names: tuple[str, ...]) -> None:
    result = initial_weights(rows([], names), STRIDES)
    assert [row.name for row in result.classes] == list(names)
    assert all((r.width, r.height, r.stock, r.ours) == (None,) * 4 for r in result.classes)
    assert (
        result.zero_weight_stock
        == result.zero_weight_ours
        == result.dropped_stock
        == result.dropped_ours
        == ()
    )
    assert result.priors == ()


@pytest.mark.parametrize("name", ["yolo11n", "yolov8n-p2", "yolo26n", "omr-tiny"])
def test_a_narrow_head_starts_as_the_models_do(name: str) -> None:
    with activation_kept():
        head = DetectionModel(model_file(name), nc=N_CLASSES, verbose=False).model[-1]
    reg_max = head.reg_max
    half = starting_distances(head)
    assert half.shape == (1, len(head.stride), 4)
    assert half.flatten().tolist() == pytest.approx([7.5 if reg_max == 16 else 2.0] * half.numel())
    result = initial_weights(ROWS, [int(s) for s in head.stride], reg_max=reg_max)
    start = weights_of(result, "notehead").stock
    assert start is not None
    side = 2 * float(half[0, 0, 0]) * start.stride
    assert (start.width_px, start.height_px) == pytest.approx((side, side))
    level = head.stride.tolist().index(start.stride)
    assert start.overlap is not None
    score = float(head.cv3[level][-1].bias[0].detach().sigmoid())
    assert score == pytest.approx(5 / N_CLASSES / (640 / start.stride) ** 2, rel=0.01)
    assert start.metric == pytest.approx(score**0.5 * start.overlap**6, rel=1e-4)


def test_known_starts() -> None:
    """With a stock head, noteheads and stems get no weight and stems are dropped."""
    result = initial_weights(ROWS, STRIDES)
    assert (result.zero_weight_stock, result.dropped_stock) == (("notehead", "stem"), ("stem",))
    assert (result.zero_weight_ours, result.dropped_ours) == ((), ())
    notehead, stem = weights_of(result, "notehead"), weights_of(result, "stem")
    assert notehead.stock is not None
    assert notehead.stock.iou == pytest.approx(72 / 120**2, rel=1e-4)
    assert notehead.stock.metric is not None
    assert notehead.stock.metric < 1e-15
    assert stem.stock is not None
    assert stem.ours is not None
    assert (stem.stock.dropped, stem.ours.dropped) == (1, 0)
    json.dumps(asdict(result))


def test_classes_that_augmentation_drops() -> None:
    result = initial_weights(
        [replace(row, dropped=0.6, dropped_by_ultralytics=0.4) for row in ROWS], STRIDES
    )
    assert (result.dropped_ours, result.dropped_stock) == (NAMES, ())
    assert (result.zero_weight_ours, result.zero_weight_stock) == ((), ("notehead", "stem"))


@pytest.mark.parametrize("reg_max", [16, 1])
@pytest.mark.parametrize("name", ["notehead", "stem", "clef"])
def test_stock_weight_matches_ultralytics(name: str, reg_max: int) -> None:
    """One symbol, a quarter of a stride up and left of a point, and one level."""
    width, height = SIDES[name]
    start = weights_of(initial_weights(ROWS, (8,), reg_max=reg_max), name).stock
    assert start is not None
    side = start.width_px / 2
    points, _ = make_anchors([torch.zeros(1, 1, 32, 32)], torch.tensor([8]), 0.5)
    points = points * 8
    centre = points[16 * 32 + 16] - 2
    half = torch.tensor([width, height]) / 2
    scores = torch.full((1, len(points), 1), 5 / N_CLASSES / 80**2)
    scores = scores / (1 + scores)  # the sigmoid of its logarithm
    _, _, target_scores, _, _ = TaskAlignedAssigner(
        topk=10, num_classes=1, alpha=0.5, beta=6.0, stride=[8]
    )(
        scores,
        torch.cat((points - side, points + side), dim=1)[None],
        points,
        torch.zeros(1, 1, 1),
        torch.cat((centre - half, centre + half))[None, None],
        torch.ones(1, 1, 1),
    )
    assert start.weight == pytest.approx(float(target_scores.max()), rel=1e-3, abs=1e-20)


@pytest.mark.parametrize(
    "options",
    [
        LossOptions(),
        LossOptions(similarity="ciou"),
        LossOptions(similarity="nwd", beta=2.0, min_score=0.0),
    ],
)
@pytest.mark.parametrize("box", [None, "shared", "separate"])
def test_our_weight_matches_omr_train(options: LossOptions, box: BoxBranch | None) -> None:

    heads = heads_of(box) if box else None
    result = initial_weights(ROWS, (8,), heads=heads, options=options)
    assigner = make_assigner(options, Detect(nc=N_CLASSES, ch=(16,)), 10, None)
    anchors = Anchors.of_image((640, 640), (8,))
    for label, name in enumerate(NAMES):
        start = weights_of(result, name).ours
        assert start is not None
        half = torch.tensor([start.width_px, start.height_px]) / 2
        true = torch.tensor(SIDES[name]) / 2
        centre = anchors.points_xy[40 * 80 + 40] - 2
        score = torch.tensor(5 / N_CLASSES / 80**2).log().sigmoid()
        assigned = assigner.assign(
            DensePredictions(
                table_scores=score.expand(1, len(anchors), N_CLASSES),
                table_boxes_xyxy=torch.cat((anchors.points_xy - half, anchors.points_xy + half), 1)[
                    None
                ],
            ),
            anchors,
            Targets(
                images=torch.tensor([0]),
                labels=torch.tensor([label]),
                boxes_xyxy=torch.cat((centre - true, centre + true))[None],
            ),
        )
        most = float(assigned.scores.max()) if len(assigned) else 0.0
        assert start.weight == pytest.approx(most, rel=1e-3, abs=1e-20)


def test_each_group_has_its_own_priors() -> None:
    shared = initial_weights(ROWS, STRIDES, heads=heads_of("shared"))
    assert shared.priors == initial_weights(ROWS, STRIDES).priors
    assert [prior.group for prior in shared.priors] == [""] * 3
    result = initial_weights(ROWS, STRIDES, heads=heads_of("separate"))
    assert [(prior.group, prior.stride) for prior in result.priors] == [
        (group, stride) for group in ("small", "large") for stride in STRIDES
    ]
    small = {(round(p.width_px, 1), round(p.height_px, 1)) for p in result.priors[:3]}
    assert small == {(9, 8), (1.4, 26)}
    stem = weights_of(result, "stem").ours
    assert stem is not None
    assert (stem.width_px, stem.height_px) == pytest.approx((1.4, 26), abs=0.01)


@pytest.mark.parametrize("name", ["clef", "staff"])
def test_a_class_starts_from_the_boxes_of_its_group(name: str) -> None:
    result = initial_weights(ROWS, STRIDES, heads=heads_of("separate"))
    start = weights_of(result, name).ours
    assert start is not None
    priors = {prior.stride: prior for prior in result.priors if prior.group == "large"}
    prior = priors[start.stride]
    assert (start.width_px, start.height_px) == pytest.approx((prior.width_px, prior.height_px))


def test_a_level_without_an_anchor_point_does_not_count() -> None:
    """The coarsest level starts at the size of the stem but rarely has a point near one."""
    sides = [(9, 8)] * 59 + [(1.4, 26)] * 36 + [(30, 84)] * 56 + [(5, 5)]
    labels = np.arange(4).repeat([59, 36, 56, 1])
    result = initial_weights(size_rows(sized(sides, labels, imgsz=640), NAMES), STRIDES)
    stem, prior = result.classes[1].ours, result.priors[2]
    assert (prior.width_px, prior.height_px) == pytest.approx((1.4, 26), abs=0.5)
    assert stem is not None
    assert stem.stride == 8


def test_a_group_has_its_own_overlap() -> None:
    plain = initial_weights(ROWS, STRIDES, heads=heads_of("separate"))
    other = initial_weights(ROWS, STRIDES, heads=heads_of("separate", similarity="nwd"))
    assert weights_of(plain, "stem").ours == weights_of(other, "stem").ours
    ciou, nwd = weights_of(plain, "clef").ours, weights_of(other, "clef").ours
    assert ciou is not None
    assert nwd is not None
    assert ciou.overlap != nwd.overlap


@pytest.mark.parametrize("assigner", ["simota", "static"])
def test_other_assigners_have_no_such_weight(assigner: str) -> None:
    result = initial_weights(ROWS, STRIDES, options=LossOptions(assigner=assigner))  # type: ignore[arg-type]
    start = weights_of(result, "notehead").ours
    assert start is not None
    assert (start.metric, start.overlap, start.weight) == (None, None, None)
    assert not start.zero_weight
    assert result.zero_weight_ours == ()


def test_without_a_prior_boxes_start_as_stock() -> None:
    result = initial_weights(ROWS, STRIDES, size_prior=False)
    assert result.priors == ()
    for row in result.classes:
        assert row.ours is not None
        assert row.stock is not None
        assert (row.ours.width_px, row.ours.height_px) == pytest.approx(
            (15 * row.ours.stride, 15 * row.ours.stride), abs=1e-3
        )


def test_the_smallest_and_the_largest() -> None:
    """A dot of a hundredth of a pixel starts from a box of 1 px, so their overlap is 0."""
    result = initial_weights(rows([(0.01, 0.01), (3000, 2000)], ("dot", "page")), STRIDES)
    dot, page = result.classes
    assert (result.zero_weight_ours, result.dropped_ours) == (("dot",), ("page",))
    assert dot.ours is not None
    assert dot.ours.metric == 0
    assert page.ours is not None
    assert page.ours.dropped == 1
    assert page.ours.stride == 32


def test_heads_for_other_classes() -> None:
    with pytest.raises(ConfigError, match="heads: not in the data"):
        initial_weights(rows([(9, 8)], ("rest",)), STRIDES, heads=heads_of("shared"))


def test_a_training_draws_the_same_numbers_afterwards() -> None:
    torch.manual_seed(3)
    expected: Tensor = torch.rand(3)
    torch.manual_seed(3)
    initial_weights(ROWS, STRIDES, heads=heads_of("separate"))
    assert torch.equal(torch.rand(3), expected)


def test_priors_are_those_of_a_training(trained: TrainResult, dataset: Path) -> None:
    report = json.loads((trained.last.parent.parent / REPORT_FILE).read_text())
    data = open_dataset(dataset)
    symbols = symbols_of(data.pages("train"), len(data.names), 96)
    result = initial_weights(size_rows(symbols, data.names), STRIDES)
    assert np.allclose(
        [(prior.width_px, prior.height_px) for prior in result.priors], report["priors"], atol=0.05
    )
