"""Classification loss without a table of target scores.

Nearly all targets are 0. So the loss of all logits for target 0 is summed first, and then the few
positives are corrected by the difference from their own loss.

Shapes: B images, C classes, A anchor points, M positives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from settings.training import ClassLoss


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassTerm:
    """Loss of a logit x, with probability p, for a target t.

    For target 0 it is ``negative_weight * p^gamma * softplus(x)``.
    """

    gamma: float
    negative_weight: float
    positive_loss: Callable[[Tensor, Tensor, "ClassTerm"], tuple[Tensor, Tensor]]
    """Function from logits and targets, ``(M,)`` each, and this term to the loss of the positives
    and its derivative, ``(M,)`` each."""

    def total(
        self,
        logits: Tensor,
        where: tuple[Tensor, Tensor, Tensor],
        targets: Tensor,
        weights: Tensor,
        is_real: Tensor | None = None,
    ) -> Tensor:
        """Sum the loss of all logits.

        Args:
            logits: Class logits, shape ``(B, C, A)``, any floating-point type.
            where: Image, class and anchor point of each positive, shape ``(M,)`` each.
            targets: Target score of each positive, shape ``(M,)``.
            weights: Weight of each class in each image, shape ``(B, C)``.
            is_real: False for padding in the list of positives, shape ``(M,)``; None without
                padding.

        Returns:
            Weighted sum, a scalar.
        """
        total: Tensor = _Total.apply(logits, self, where, targets, weights, is_real)
        return total

    def negative_loss(self, logits: Tensor) -> Tensor:
        """Compute the loss of each logit for target 0, in the same shape."""
        loss = functional.softplus(logits)
        if self.gamma:
            loss *= logits.sigmoid().pow_(self.gamma)
        return loss.mul_(self.negative_weight)

    def negative_slope(self, logits: Tensor) -> Tensor:
        """Compute the derivative of :meth:`negative_loss`, in the same shape."""
        p = logits.sigmoid()
        if self.gamma:
            inner = functional.softplus(logits).mul_(1 - p).mul_(self.gamma).add_(p)
            p = p.pow_(self.gamma).mul_(inner)
        return p.mul_(self.negative_weight)


class _Total(torch.autograd.Function):
    """Sum of the losses of all logits; saves only the logits and small tensors of the positives.

    Negatives and corrections are one function in single precision: summed in half precision, the
    slopes of a positive for target 0 and of its correction would cancel inaccurately.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        logits: Tensor,
        term: ClassTerm,
        where: tuple[Tensor, Tensor, Tensor],
        targets: Tensor,
        weights: Tensor,
        is_real: Tensor | None,
    ) -> Tensor:
        positives, positive_weights = logits[where].float(), weights[where[0], where[1]]  # (M,)
        losses, slopes = term.positive_loss(positives, targets, term)
        if is_real is not None:
            positive_weights = torch.where(is_real, positive_weights, 0.0)
        if ctx.needs_input_grad[0]:
            if is_real is not None:
                slopes = slopes - term.negative_slope(positives)
            ctx.term, ctx.where, ctx.adds = term, where, is_real is not None
            ctx.save_for_backward(logits, weights, slopes * positive_weights)
        difference = losses - term.negative_loss(positives)
        negatives = term.negative_loss(logits.float()).sum(dim=2)  # (B, C)
        return (negatives * weights).sum() + (difference * positive_weights).sum()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        logits, weights, slopes = ctx.saved_tensors
        all_slopes = ctx.term.negative_slope(logits.float()).mul_(weights[:, :, None])
        # Padding may have the index of a positive: its 0 must be added to the slope, not replace
        # it.
        all_slopes.index_put_(ctx.where, slopes, accumulate=ctx.adds)
        return all_slopes.mul_(slope).to(logits.dtype), None, None, None, None, None


def _bce(logits: Tensor, targets: Tensor, _term: ClassTerm) -> tuple[Tensor, Tensor]:
    return functional.softplus(logits) - targets * logits, logits.sigmoid() - targets


def _focal(logits: Tensor, targets: Tensor, term: ClassTerm) -> tuple[Tensor, Tensor]:
    p = logits.sigmoid()
    error = targets * (1 - p) + (1 - targets) * p
    balance = targets * (1 - term.negative_weight) + (1 - targets) * term.negative_weight
    entropy, slope = _bce(logits, targets, term)
    error_slope = term.gamma * error.pow(term.gamma - 1) * (1 - 2 * targets) * p * (1 - p)
    factor = balance * error.pow(term.gamma)
    return factor * entropy, factor * slope + balance * error_slope * entropy


def _varifocal(logits: Tensor, targets: Tensor, term: ClassTerm) -> tuple[Tensor, Tensor]:
    entropy, slope = _bce(logits, targets, term)
    return targets * entropy, targets * slope


CLASS_TERMS: dict[ClassLoss, ClassTerm] = {
    "bce": ClassTerm(gamma=0.0, negative_weight=1.0, positive_loss=_bce),
    "focal": ClassTerm(gamma=1.5, negative_weight=0.75, positive_loss=_focal),
    "varifocal": ClassTerm(gamma=2.0, negative_weight=0.75, positive_loss=_varifocal),
}
"""``bce``: binary cross-entropy. ``focal``: https://arxiv.org/abs/1708.02002, equation 5 with soft
targets. ``varifocal``: https://arxiv.org/abs/2008.13367, equation 2. The constants are taken from
Ultralytics' classes of the same names."""
