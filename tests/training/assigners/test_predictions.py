import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from training.assigners.predictions import PARTS, DensePredictions, check_shape, per_distinct_slot

places = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), max_size=40)
"""Slots of 3 images with 7 anchor points, unsorted and with duplicates."""


def columns_of(rows: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    images, points = torch.tensor(rows, dtype=torch.int64).reshape(-1, 2).T
    return images, points


@given(rows=places)
def test_every_distinct_slot_is_computed_once(rows: list[tuple[int, int]]) -> None:
    asked: list[int] = []

    def compute(slots: Tensor) -> Tensor:
        asked.extend(slots.tolist())
        return torch.stack((slots // 7, slots % 7), dim=1)  # (N, 2)

    images, points = columns_of(rows)
    found = per_distinct_slot(compute, images, points, (3, 7, 99))
    assert torch.equal(found, torch.stack((images, points), dim=1))
    assert asked == sorted({image * 7 + point for image, point in rows})


@pytest.mark.parametrize("n_images", [0, 1])
def test_no_slots(n_images: int) -> None:
    images, points = columns_of([])
    found = per_distinct_slot(
        lambda slots: torch.zeros(len(slots), 5), images, points, (n_images, 4)
    )
    assert found.shape == (0, 5)


def test_a_large_table_is_processed_in_parts() -> None:
    sizes = []

    def compute(slots: Tensor) -> Tensor:
        sizes.append(len(slots))
        return slots

    points = torch.arange(1000).flip(0)
    assert torch.equal(
        per_distinct_slot(compute, torch.zeros_like(points), points, (1, 1000)), points
    )
    assert len(sizes) == PARTS
    assert max(sizes) <= 1000 / PARTS


def tables(n_classes: int = 3, dtype: torch.dtype = torch.float32) -> DensePredictions:
    generator = torch.Generator().manual_seed(5)
    scores = torch.rand(3, 7, n_classes, generator=generator)
    # Exactly 0 or 1, and close enough to be rounded to it in single precision.
    scores[0, ::2, 0], scores[1, ::2, -1], scores[2, 3] = 0, 1, 1e-30
    boxes = torch.rand(3, 7, 4, generator=generator) * 64
    return DensePredictions(table_scores=scores.to(dtype), table_boxes_xyxy=boxes.to(dtype))


EVERYWHERE = torch.cartesian_prod(torch.arange(3), torch.arange(7)).T


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("n_classes", [1, 3, 1000])
def test_class_costs_are_torchs(n_classes: int, dtype: torch.dtype) -> None:
    predictions, (images, points) = tables(n_classes, dtype), EVERYWHERE
    before = predictions.table_scores.clone()
    for label in {0, n_classes // 2, n_classes - 1}:
        wanted = torch.zeros(3, 7, n_classes)
        wanted[..., label] = 1
        expected = functional.binary_cross_entropy(before.float(), wanted, reduction="none")
        costs = predictions.class_costs(images, points, torch.full_like(images, label))
        # Two terms of up to 100 cancel out in the sum.
        torch.testing.assert_close(costs, expected.sum(dim=2).flatten(), rtol=1e-5, atol=5e-5)
        assert costs.dtype == torch.float32
        assert (costs >= 0).all()
    assert torch.equal(predictions.table_scores, before)


def test_a_slot_may_be_read_for_several_classes() -> None:
    predictions, labels = tables(), torch.tensor([2, 0, 2, 1])
    images, points = torch.tensor([1, 1, 0, 1]), torch.tensor([6, 6, 2, 6])
    wanted = functional.one_hot(labels, 3).float()
    expected = functional.binary_cross_entropy(
        predictions.table_scores[images, points], wanted, reduction="none"
    )
    costs = predictions.class_costs(images, points, labels)
    torch.testing.assert_close(costs, expected.sum(dim=1), rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_values_at_slots(dtype: torch.dtype) -> None:
    predictions, (images, points) = tables(dtype=dtype), EVERYWHERE
    assert predictions.shape == (3, 7, 3)
    boxes = predictions.boxes_xyxy(images, points)
    assert torch.equal(boxes.reshape(3, 7, 4), predictions.table_boxes_xyxy.float())
    scores = predictions.scores(images, points, torch.ones_like(images))
    assert torch.equal(scores.reshape(3, 7), predictions.table_scores[..., 1].float())
    assert boxes.dtype == scores.dtype == torch.float32


def test_no_requests() -> None:
    predictions, none = tables(), torch.empty(0, dtype=torch.int64)
    assert predictions.class_costs(none, none, none).shape == (0,)
    assert predictions.scores(none, none, none).shape == (0,)
    assert predictions.boxes_xyxy(none, none).shape == (0, 4)


@pytest.mark.parametrize("shape", [(3, 6, 4), (2, 7, 4), (3, 7, 5), (3, 7)])
def test_tables_of_different_shapes_are_refused(shape: tuple[int, ...]) -> None:
    message = f"predictions: scores have shape (3, 7, 2), but boxes {shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DensePredictions(table_scores=torch.zeros(3, 7, 2), table_boxes_xyxy=torch.zeros(shape))


def test_check_shape() -> None:
    check_shape(tables(), 7, 3)
    for n_points, n_classes in ((8, 3), (7, 2)):
        message = f"7 anchor points and 3 classes; expected {n_points} and {n_classes}$"
        with pytest.raises(ValueError, match=f"^predictions: {message}"):
            check_shape(tables(), n_points, n_classes)
