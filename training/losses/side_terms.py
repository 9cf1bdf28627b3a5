"""Distances to the sides of boxes, decoded from distributions together with their focal loss.

Shapes: M positives, R bins of a distance.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LAST = 0.01
"""Bins by which a wanted distance stays below the last one, as in Ultralytics."""


def distances_and_losses(sides: Tensor, bins: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Decode distributions to distances, and compute their distribution focal loss (DFL).

    Args:
        sides: Logits of the bins, float32, shape ``(M, 4, R)`` with R of at least 2.
        bins: Distance of each bin in strides, one apart, shape ``(R,)``.
        wanted: Distances of the ground truth in strides, shape ``(M, 4)``.

    Returns:
        Distances in strides, and losses, shape ``(M, 4)`` each.

    Source: Generalized Focal Loss, https://arxiv.org/abs/2006.04388, equation 6.
    """
    distances, losses = _Sides.apply(sides, bins, wanted)
    return distances, losses


class _Sides(torch.autograd.Function):
    """One softmax for distances and losses, of which only the probabilities are saved.

    As separate operations, these would save two tables of all bins, and need four for the gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        sides: Tensor,
        bins: Tensor,
        wanted: Tensor,
    ) -> tuple[Tensor, Tensor]:
        position = (wanted - bins[0]).clamp_(0, len(bins) - 1 - LAST)
        left = position.long()[..., None]  # (M, 4, 1)
        left_weight = left[..., 0] + 1 - position  # (M, 4)
        right_weight = 1 - left_weight
        logs = sides.log_softmax(dim=2)
        left_logs, right_logs = logs.gather(2, left), logs.gather(2, left + 1)
        losses = -(left_logs[..., 0] * left_weight + right_logs[..., 0] * right_weight)
        probabilities = logs.exp_()
        distances = probabilities @ bins
        ctx.save_for_backward(probabilities, distances, bins, left, left_weight, right_weight)
        return distances, losses

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        slope: Tensor,
        loss_slope: Tensor,
    ) -> tuple[Tensor, None, None]:
        probabilities, distances, bins, left, left_weight, right_weight = ctx.saved_tensors
        constant = loss_slope - slope * distances  # (M, 4)
        slopes = torch.addcmul(constant[..., None], slope[..., None], bins).mul_(probabilities)
        slopes.scatter_add_(2, left, (loss_slope * -left_weight)[..., None])
        slopes.scatter_add_(2, left + 1, (loss_slope * -right_weight)[..., None])
        return slopes, None, None
