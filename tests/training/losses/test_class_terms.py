from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from ultralytics.utils.loss import FocalLoss, VarifocalLoss

from settings.training import ClassLoss
from training.losses.class_terms import CLASS_TERMS

NAMES: tuple[ClassLoss, ...] = get_args(ClassLoss)


def dense_bce(logits: Tensor, targets: Tensor, _positive: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def dense_focal(logits: Tensor, targets: Tensor, _positive: Tensor) -> Tensor:
    p = logits.sigmoid()
    p_t = targets * p + (1 - targets) * (1 - p)
    alpha = targets * 0.25 + (1 - targets) * 0.75
    return alpha * (1 - p_t) ** 1.5 * dense_bce(logits, targets, _positive)


def dense_varifocal(logits: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
    weights = torch.where(positive, targets, 0.75 * logits.sigmoid() ** 2)
    return weights * dense_bce(logits, targets, positive)


DENSE: dict[ClassLoss, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "bce": dense_bce,
    "focal": dense_focal,
    "varifocal": dense_varifocal,
}
"""Compute the loss of each logit from logits, targets and a mask, all of the same shape."""


@dataclass(frozen=True, kw_only=True)
class Case:
    logits: Tensor
    where: tuple[Tensor, Tensor, Tensor]
    targets: Tensor
    weights: Tensor

    def tables(self) -> tuple[Tensor, Tensor]:
        """Convert positives to a table of targets and a mask, shape ``(B, C, A)`` each."""
        targets = torch.zeros(self.logits.shape, dtype=torch.float64)
        targets[self.where] = self.targets.double()
        positive = torch.zeros(self.logits.shape, dtype=torch.bool)
        positive[self.where] = True
        return targets, positive

    def sparse(self, name: ClassLoss) -> tuple[Tensor, Tensor]:
        logits = self.logits.clone().requires_grad_()
        total = CLASS_TERMS[name].total(logits, self.where, self.targets, self.weights)
        (slope,) = torch.autograd.grad(total, logits)
        return total.detach(), slope

    def dense(self, name: ClassLoss) -> tuple[Tensor, Tensor]:
        logits = self.logits.double().requires_grad_()
        losses = DENSE[name](logits, *self.tables()) * self.weights[..., None]
        (slope,) = torch.autograd.grad(losses.sum(), logits)
        return losses.sum().detach(), slope


def made(
    shape: tuple[int, int, int], n_positives: int, *, scale: float = 3.0, seed: int = 0
) -> Case:
    """Draw logits up to ``scale``, and positives at different anchor points."""
    generator = torch.Generator().manual_seed(seed)
    n = shape[0] * shape[1] * shape[2]
    slots = torch.randperm(n, generator=generator)[:n_positives]
    where = torch.unravel_index(slots, shape)
    targets = torch.rand(len(slots), generator=generator) * 1.4 - 0.2
    weights = (torch.rand(shape[:2], generator=generator) * 3 - 1).clamp(min=0)
    return Case(
        logits=(torch.rand(shape, generator=generator) * 2 - 1) * scale,
        where=(where[0], where[1], where[2]),
        targets=targets.clamp(0, 1),  # some are exactly 0, some exactly 1
        weights=weights,
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    shape = draw(st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(0, 9)))
    return made(
        shape,
        draw(st.integers(0, 12)),
        scale=draw(st.sampled_from([0.01, 3.0, 30.0, 100.0])),
        seed=draw(st.integers(0, 2**32)),
    )


def alike(found: Tensor, expected: Tensor, share: float = 1e-5) -> None:
    """Compare up to a fraction of the largest element."""
    assert found.isfinite().all()
    most = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(
        found.double(), expected.double(), rtol=share, atol=share * max(most, 1e-20)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 3, 0), (1, 1, 1), (2, 3, 5)])
def test_no_positives(name: ClassLoss, shape: tuple[int, int, int]) -> None:
    case = made(shape, 0)
    for found, expected in zip(case.sparse(name), case.dense(name), strict=True):
        alike(found, expected)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(case=cases())
def test_total_and_gradient_equal_the_dense_formula(name: ClassLoss, case: Case) -> None:
    for found, expected in zip(case.sparse(name), case.dense(name), strict=True):
        alike(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_single_logits_are_right_where_one_is_large(name: ClassLoss) -> None:
    """Check each element, because the tolerance above would hide small ones."""
    logits = torch.tensor([-100.0, -40, -20, -8, -1, 0, 1, 8, 20, 40, 100])
    for x in logits:
        for target in (0.0, 0.3, 1.0):
            one = torch.zeros(1, dtype=torch.int64)
            for chosen in (one, one[:0]):
                case = Case(
                    logits=x.view(1, 1, 1),
                    where=(chosen, chosen, chosen),
                    targets=torch.full((len(chosen),), target),
                    weights=torch.ones(1, 1),
                )
                for found, expected in zip(case.sparse(name), case.dense(name), strict=True):
                    torch.testing.assert_close(
                        found.double(), expected.double(), rtol=1e-4, atol=2e-5
                    )


@pytest.mark.parametrize("name", NAMES)
def test_the_formula_equals_ultralytics(name: ClassLoss) -> None:
    """Compare one class per row, because Ultralytics averages over classes."""
    case = made((3, 4, 20), 30)
    targets, positive = case.tables()
    logits, ones = case.logits.double(), torch.ones(3, 4)
    own = DENSE[name](logits, targets, positive).sum()
    rows, aims = logits.reshape(-1, 1), targets.reshape(-1, 1)
    if name == "varifocal":
        stock = VarifocalLoss()(rows, aims, positive.reshape(-1, 1).double())
    elif name == "focal":
        stock = FocalLoss()(rows.clone(), aims)
    else:
        stock = torch.nn.BCEWithLogitsLoss(reduction="sum")(rows, aims)
    alike(own, stock)
    total = CLASS_TERMS[name].total(case.logits, case.where, case.targets, ones)
    alike(total, stock)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_processed_in_single_precision(
    name: ClassLoss, dtype: torch.dtype
) -> None:
    case = made((2, 3, 50), 20, scale=20.0)
    half = Case(**(vars(case) | {"logits": case.logits.to(dtype)}))
    single = Case(**(vars(case) | {"logits": half.logits.float()}))
    (total, slope), (expected, expected_slope) = half.sparse(name), single.sparse(name)
    assert total == expected
    assert total.dtype == torch.float32
    assert slope.dtype == dtype
    # A nearly correct positive has a small slope, which is rounded only once.
    assert torch.equal(slope, expected_slope.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_the_largest_logits_are_finite(name: ClassLoss, dtype: torch.dtype) -> None:
    case = made((2, 3, 8), 10)
    signs = torch.where(case.logits > 0, 1.0, -1.0)
    huge = Case(**(vars(case) | {"logits": (signs * 60_000).to(dtype)}))
    for found in huge.sparse(name):
        assert found.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_classes_without_weight_have_no_gradient(name: ClassLoss) -> None:
    case = made((2, 3, 8), 20)
    weights = torch.tensor([[1.0, 0, 2], [0, 1, 0]])
    weighted = Case(**(vars(case) | {"weights": weights}))
    _, slope = weighted.sparse(name)
    _, full = Case(**(vars(case) | {"weights": torch.ones(2, 3)})).sparse(name)
    assert not slope[weights == 0].any()
    alike(slope, full * weights[..., None])


@pytest.mark.parametrize("name", NAMES)
def test_only_the_logits_are_saved_for_the_gradient(name: ClassLoss) -> None:
    case = made((2, 3, 400), 5)
    logits = case.logits.clone().requires_grad_()
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        CLASS_TERMS[name].total(logits, case.where, case.targets, case.weights)
    large = [tensor for tensor in kept if tensor.numel() >= logits.numel()]
    assert {tensor.data_ptr() for tensor in large} == {logits.data_ptr()}


@pytest.mark.parametrize("name", NAMES)
def test_a_validation_has_the_same_loss(name: ClassLoss) -> None:
    case = made((2, 3, 8), 10)
    expected, _ = case.sparse(name)
    with torch.inference_mode():
        found = CLASS_TERMS[name].total(case.logits, case.where, case.targets, case.weights)
    assert found == expected
