"""Loss of the classes, without a table of what every anchor point should have said.

Nearly every target is 0. So the loss of all logits against 0 is summed up first, and the few
positives are corrected by the difference of their own loss to that.

Shapes: B images, C classes, A anchor points, M positives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

ClassLoss = Literal["bce", "focal", "varifocal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassTerm:
    """A loss of a logit x with probability p against a target t.

    Against 0 it is ``against_0 * p^gamma * softplus(x)``.
    """

    gamma: float
    against_0: float
    of_positives: Callable[[Tensor, Tensor, "ClassTerm"], Tensor]
    """From logits, targets and this, ``(M,)`` each: the loss of what is assigned."""

    def total(
        self, logits: Tensor, where: tuple[Tensor, Tensor, Tensor], targets: Tensor, weights: Tensor
    ) -> Tensor:
        """Sum up the loss of all logits.

        Args:
            logits: Shape ``(B, C, A)``, of any floating type.
            where: Image, class and anchor point of each positive, shape ``(M,)`` each.
            targets: Of each positive, shape ``(M,)``.
            weights: Of each class in each image, shape ``(B, C)``.

        Returns:
            A number.
        """
        negatives: Tensor = _Against0.apply(logits, self.gamma)  # (B, C)
        positives = logits[where].float()  # (M,)
        difference = self.of_positives(positives, targets, self) - self.against(positives)
        images, labels, _ = where
        weighted = (difference * weights[images, labels]).sum()
        return (negatives * weights).sum() * self.against_0 + weighted

    def against(self, logits: Tensor) -> Tensor:
        """Loss of each logit against 0, of the same shape."""
        modulation = logits.sigmoid().pow(self.gamma) if self.gamma else 1
        return self.against_0 * modulation * functional.softplus(logits)


class _Against0(torch.autograd.Function):
    """Sums p^gamma * softplus(x) over the anchor points; keeps nothing but the logits."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, gamma: float) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(logits)
        ctx.gamma = gamma
        x = logits.float()
        loss = functional.softplus(x)
        if gamma:
            loss *= x.sigmoid().pow_(gamma)
        return loss.sum(dim=2)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (logits,) = ctx.saved_tensors
        x = logits.float()
        p = x.sigmoid()
        if ctx.gamma:
            own = functional.softplus(x).mul_(1 - p).mul_(ctx.gamma).add_(p)
            p = p.pow_(ctx.gamma).mul_(own)
        return p.mul_(slope[:, :, None]).to(logits.dtype), None


def _bce(logits: Tensor, targets: Tensor, _term: ClassTerm) -> Tensor:
    return functional.softplus(logits) - targets * logits


def _focal(logits: Tensor, targets: Tensor, term: ClassTerm) -> Tensor:
    p = logits.sigmoid()
    wrong = targets * (1 - p) + (1 - targets) * p
    balance = targets * (1 - term.against_0) + (1 - targets) * term.against_0
    return balance * wrong.pow(term.gamma) * (functional.softplus(logits) - targets * logits)


def _varifocal(logits: Tensor, targets: Tensor, _term: ClassTerm) -> Tensor:
    return targets * (functional.softplus(logits) - targets * logits)


CLASS_TERMS: dict[ClassLoss, ClassTerm] = {
    "bce": ClassTerm(gamma=0.0, against_0=1.0, of_positives=_bce),
    "focal": ClassTerm(gamma=1.5, against_0=0.75, of_positives=_focal),
    "varifocal": ClassTerm(gamma=2.0, against_0=0.75, of_positives=_varifocal),
}
"""``bce``, binary cross-entropy; ``focal``, https://arxiv.org/abs/1708.02002, equation 5 with soft
targets; ``varifocal``, https://arxiv.org/abs/2008.13367, equation 2. The constants are those of
Ultralytics' classes of these names."""
