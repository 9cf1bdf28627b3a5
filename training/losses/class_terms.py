"""Loss of the classes, without a table of what every anchor point should have said.

Nearly every target is 0. So the loss of all logits against 0 is summed up first, and the few
positives are corrected by the difference of their own loss to that.

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
    """A loss of a logit x with probability p against a target t.

    Against 0 it is ``against_0 * p^gamma * softplus(x)``.
    """

    gamma: float
    against_0: float
    of_positives: Callable[[Tensor, Tensor, "ClassTerm"], tuple[Tensor, Tensor]]
    """From logits, targets and this, ``(M,)`` each: loss of the positives, and its derivative."""

    def total(
        self,
        logits: Tensor,
        where: tuple[Tensor, Tensor, Tensor],
        targets: Tensor,
        weights: Tensor,
        counts: Tensor | None = None,
    ) -> Tensor:
        """Sum up the loss of all logits.

        Args:
            logits: Shape ``(B, C, A)``, of any floating type.
            where: Image, class and anchor point of each positive, shape ``(M,)`` each.
            targets: Of each positive, shape ``(M,)``.
            weights: Of each class in each image, shape ``(B, C)``.
            counts: False for an entry that only fills the list, shape ``(M,)``; None if all count.

        Returns:
            A number.
        """
        total: Tensor = _Total.apply(logits, self, where, targets, weights, counts)
        return total

    def against(self, logits: Tensor) -> Tensor:
        """Loss of each logit against 0, of the same shape."""
        loss = functional.softplus(logits)
        if self.gamma:
            loss *= logits.sigmoid().pow_(self.gamma)
        return loss.mul_(self.against_0)

    def slope_against(self, logits: Tensor) -> Tensor:
        """Derivative of :meth:`against`, of the same shape."""
        p = logits.sigmoid()
        if self.gamma:
            own = functional.softplus(logits).mul_(1 - p).mul_(self.gamma).add_(p)
            p = p.pow_(self.gamma).mul_(own)
        return p.mul_(self.against_0)


class _Total(torch.autograd.Function):
    """Sum of the losses of all logits; keeps the logits and what belongs to the positives only.

    One function for both, in single precision: added up in half precision, the slopes of a
    positive against 0 and of its correction would leave little of their difference.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        logits: Tensor,
        term: ClassTerm,
        where: tuple[Tensor, Tensor, Tensor],
        targets: Tensor,
        weights: Tensor,
        counts: Tensor | None,
    ) -> Tensor:
        positives, of_positives = logits[where].float(), weights[where[0], where[1]]  # (M,)
        losses, slopes = term.of_positives(positives, targets, term)
        if counts is not None:
            of_positives = torch.where(counts, of_positives, 0.0)
        if ctx.needs_input_grad[0]:
            if counts is not None:
                slopes = slopes - term.slope_against(positives)
            ctx.term, ctx.where, ctx.adds = term, where, counts is not None
            ctx.save_for_backward(logits, weights, slopes * of_positives)
        difference = losses - term.against(positives)
        negatives = term.against(logits.float()).sum(dim=2)  # (B, C)
        return (negatives * weights).sum() + (difference * of_positives).sum()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        logits, weights, slopes = ctx.saved_tensors
        of_all = ctx.term.slope_against(logits.float()).mul_(weights[:, :, None])
        # An entry that fills the list may name a positive's place: its 0 must not replace it.
        of_all.index_put_(ctx.where, slopes, accumulate=ctx.adds)
        return of_all.mul_(slope).to(logits.dtype), None, None, None, None, None


def _bce(logits: Tensor, targets: Tensor, _term: ClassTerm) -> tuple[Tensor, Tensor]:
    return functional.softplus(logits) - targets * logits, logits.sigmoid() - targets


def _focal(logits: Tensor, targets: Tensor, term: ClassTerm) -> tuple[Tensor, Tensor]:
    p = logits.sigmoid()
    wrong = targets * (1 - p) + (1 - targets) * p
    balance = targets * (1 - term.against_0) + (1 - targets) * term.against_0
    entropy, slope = _bce(logits, targets, term)
    of_wrong = term.gamma * wrong.pow(term.gamma - 1) * (1 - 2 * targets) * p * (1 - p)
    factor = balance * wrong.pow(term.gamma)
    return factor * entropy, factor * slope + balance * of_wrong * entropy


def _varifocal(logits: Tensor, targets: Tensor, term: ClassTerm) -> tuple[Tensor, Tensor]:
    entropy, slope = _bce(logits, targets, term)
    return targets * entropy, targets * slope


CLASS_TERMS: dict[ClassLoss, ClassTerm] = {
    "bce": ClassTerm(gamma=0.0, against_0=1.0, of_positives=_bce),
    "focal": ClassTerm(gamma=1.5, against_0=0.75, of_positives=_focal),
    "varifocal": ClassTerm(gamma=2.0, against_0=0.75, of_positives=_varifocal),
}
"""``bce``, binary cross-entropy; ``focal``, https://arxiv.org/abs/1708.02002, equation 5 with soft
targets; ``varifocal``, https://arxiv.org/abs/2008.13367, equation 2. The constants are those of
Ultralytics' classes of these names."""
