import functools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import v8DetectionLoss

from training.assigners.assignment import Anchors
from training.heads.distance_bins import bin_values
from training.losses.head_outputs import HeadOutputs

STRIDES = [8, 16, 32]


@functools.cache
def criterion(reg_max: int) -> v8DetectionLoss:
    """Build Ultralytics' loss, for its decoding of boxes."""
    name = {16: "yolo11n", 1: "yolo26n"}[reg_max]
    model = DetectionModel(f"{name}.yaml", nc=3, verbose=False)
    model.args = get_cfg()
    assert model.model[-1].reg_max == reg_max
    return v8DetectionLoss(model)


def outputs_of(
    *,
    n_images: int = 2,
    n_classes: int = 3,
    imgsz: tuple[int, int] = (64, 96),
    reg_max: int = 16,
    first: float = 0.0,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> HeadOutputs:
    generator = torch.Generator().manual_seed(seed)
    anchors = Anchors.of_image(imgsz, STRIDES)
    sides = torch.randn(n_images, 4 * reg_max, len(anchors), generator=generator) * 3
    logits = torch.randn(n_images, n_classes, len(anchors), generator=generator) * 5
    bins = torch.arange(reg_max) + first
    return HeadOutputs(
        logits=logits.to(dtype),
        sides=sides.to(dtype),
        bins=bins,
        anchors=anchors,
        group_of=torch.zeros(logits.shape[1], dtype=torch.int64),
    )


def dense_boxes(outputs: HeadOutputs) -> Tensor:
    """Decode all boxes like Ultralytics, in pixels, shape ``(B, A, 4)``."""
    loss = criterion(len(outputs.bins))
    loss.proj = outputs.bins
    strides = outputs.anchors.strides[:, None]
    assert isinstance(outputs.sides, Tensor)
    sides = outputs.sides.float().transpose(1, 2).contiguous()
    boxes: Tensor = loss.bbox_decode(outputs.anchors.points_xy / strides, sides) * strides
    return boxes


def places(outputs: HeadOutputs, n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Draw images, points and labels, with some duplicate slots."""
    generator = torch.Generator().manual_seed(seed)
    n_images, n_points, n_classes = outputs.shape
    few = max(n // 2, 1)  # few points, so that there are duplicates
    points = torch.randint(0, n_points, (few,), generator=generator)
    return (
        torch.randint(0, n_images, (n,), generator=generator),
        points[torch.randint(0, few, (n,), generator=generator)],
        torch.randint(0, n_classes, (n,), generator=generator),
    )


def same_as_dense(outputs: HeadOutputs, n: int, seed: int = 0) -> None:
    images, points, labels = places(outputs, n, seed)
    scores = outputs.scores(images, points, labels)
    logits = outputs.logits.float().transpose(1, 2)
    torch.testing.assert_close(scores, logits.sigmoid()[images, points, labels], rtol=1e-6, atol=0)
    boxes = outputs.boxes_xyxy(images, points)
    torch.testing.assert_close(boxes, dense_boxes(outputs)[images, points], rtol=1e-6, atol=1e-4)
    one_hot = functional.one_hot(labels, outputs.shape[2]).float()
    chosen = logits[images, points]
    entropy = functional.binary_cross_entropy_with_logits(chosen, one_hot, reduction="none")
    costs = outputs.class_costs(images, points, labels)
    torch.testing.assert_close(costs, entropy.sum(dim=1), rtol=1e-5, atol=1e-5)
    for found, shape in ((scores, (n,)), (boxes, (n, 4)), (costs, (n,))):
        assert found.shape == shape
        assert found.dtype == torch.float32


@pytest.mark.parametrize("reg_max", [1, 16])
@pytest.mark.parametrize("n_images", [1, 2])
def test_no_slots(n_images: int, reg_max: int) -> None:
    same_as_dense(outputs_of(n_images=n_images, reg_max=reg_max), 0)


@pytest.mark.parametrize("reg_max", [1, 16])
def test_no_images(reg_max: int) -> None:
    outputs = outputs_of(n_images=0, reg_max=reg_max)
    none = torch.empty(0, dtype=torch.int64)
    assert outputs.scores(none, none, none).shape == (0,)
    assert outputs.class_costs(none, none, none).shape == (0,)
    assert outputs.boxes_xyxy(none, none).shape == (0, 4)


@settings(max_examples=40)
@given(
    n=st.integers(1, 60),
    n_images=st.integers(1, 3),
    n_classes=st.sampled_from([1, 3, 80]),
    imgsz=st.sampled_from([(32, 32), (64, 96), (96, 32)]),
    reg_max_and_first=st.sampled_from([(16, 0.0), (16, -2.0), (1, 0.0)]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    seed=st.integers(0, 2**32),
)
def test_same_as_ultralytics_decodes_them_all(
    n: int,
    n_images: int,
    n_classes: int,
    imgsz: tuple[int, int],
    reg_max_and_first: tuple[int, float],
    dtype: torch.dtype,
    seed: int,
) -> None:
    reg_max, first = reg_max_and_first
    outputs = outputs_of(
        n_images=n_images,
        n_classes=n_classes,
        imgsz=imgsz,
        reg_max=reg_max,
        first=first,
        dtype=dtype,
        seed=seed,
    )
    same_as_dense(outputs, n, seed)


@pytest.mark.parametrize("reg_max", [1, 16])
def test_all_anchor_points(reg_max: int) -> None:
    outputs = outputs_of(reg_max=reg_max)
    n_images, n_points, _ = outputs.shape
    images, points = torch.meshgrid(torch.arange(n_images), torch.arange(n_points), indexing="ij")
    found = outputs.boxes_xyxy(images.flatten(), points.flatten())
    expected = dense_boxes(outputs).flatten(0, 1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-4)


def test_duplicate_slots_have_the_same_result() -> None:
    outputs = outputs_of()
    images, points, labels = places(outputs, 30)
    images, points, labels = (torch.cat((x, x.flip(0))) for x in (images, points, labels))
    for found in (
        outputs.boxes_xyxy(images, points),
        outputs.class_costs(images, points, labels),
    ):
        assert torch.equal(found[30:], found[:30].flip(0))
    scores = outputs.scores(
        images, points, labels
    )  # the last bit depends on the position in a register
    torch.testing.assert_close(scores[30:], scores[:30].flip(0), rtol=1e-6, atol=0)


def test_bins_from_below_zero_shift_every_side() -> None:
    """Return boxes with a side moved inwards by two strides, on each level."""
    plain, signed = outputs_of(), outputs_of(first=-2.0)
    images, points, _ = places(plain, 50)
    inwards = plain.anchors.strides[points, None] * torch.tensor([2, 2, -2, -2])
    torch.testing.assert_close(
        signed.boxes_xyxy(images, points),
        plain.boxes_xyxy(images, points) + inwards,
        rtol=1e-6,
        atol=1e-4,
    )


def test_sides_have_gradients_at_their_slots_only() -> None:
    outputs = outputs_of()
    assert isinstance(outputs.sides, Tensor)
    sides = outputs.sides.clone().requires_grad_()
    outputs = replace(outputs, sides=sides)
    images, points = torch.tensor([0, 1, 1]), torch.tensor([5, 5, 60])
    found = outputs.boxes(outputs.distances(outputs.sides_at(images, points)), points)
    expected = dense_boxes(outputs)[images, points] / outputs.anchors.strides[points, None]
    torch.testing.assert_close(found, expected)
    weights = torch.arange(12.0).view(3, 4)
    (slope,) = torch.autograd.grad((found * weights).sum(), sides)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), sides)
    torch.testing.assert_close(slope, wanted)
    assert sorted(map(tuple, slope.abs().sum(dim=1).nonzero().tolist())) == [
        (0, 5),
        (1, 5),
        (1, 60),
    ]


def test_logits_beyond_all_bounds_have_finite_costs() -> None:
    outputs = outputs_of(n_classes=80, dtype=torch.float16)
    signs = torch.where(outputs.logits > 0, 1, -1)
    outputs = replace(outputs, logits=signs * torch.tensor(60_000.0, dtype=torch.float16))
    costs = outputs.class_costs(*places(outputs, 40))
    assert costs.isfinite().all()
    assert (costs >= 0).all()


def test_the_bins_of_a_head_are_its_dfl_weights() -> None:
    model = DetectionModel("yolo11n.yaml", nc=3, verbose=False)
    assert bin_values(model.model[-1]).tolist() == criterion(16).proj.tolist() == [*range(16)]
