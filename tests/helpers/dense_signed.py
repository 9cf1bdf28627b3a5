"""Ultralytics' dense loss with nearness and bins below 0, to compare the sparse one with."""

from dense_nearness import NearnessAssigner
from torch import Tensor
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.loss import BboxLoss, E2ELoss, v8DetectionLoss

from training.assigners.similarity import EPS
from training.heads.distance_bins import has_bins_below_zero


class SignedBoxLoss(BboxLoss):  # type: ignore[misc]
    """Ultralytics' loss of the boxes for bins that begin below 0.

    Args:
        reg_max: Number of bins, above 1.
        strides: As :func:`training.heads.distance_bins.allow_below_zero` got it.
    """

    def __init__(self, reg_max: int, strides: float) -> None:
        super().__init__(reg_max)
        self.strides = strides

    def forward(
        self,
        pred_dist: Tensor,
        pred_boxes_xyxy: Tensor,
        anchor_points: Tensor,
        target_boxes_xyxy: Tensor,
        *rest: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Compare the boxes as they are, and the distances counted from the first bin.

        Args:
            pred_dist: Logits of the bins, shape ``(B, A, 4 * R)``.
            pred_boxes_xyxy: In strides, shape ``(B, A, 4)``.
            anchor_points: In strides, shape ``(A, 2)``.
            target_boxes_xyxy: In strides, shape ``(B, A, 4)``.
            rest: What else Ultralytics' loss takes.

        Returns:
            Loss of the overlap and loss of the distributions.
        """
        known = pred_dist, pred_boxes_xyxy, anchor_points
        overlap, _ = super().forward(*known, target_boxes_xyxy, *rest)
        # A box with every side moved outwards has the distances that the bins count.
        outwards = target_boxes_xyxy.new_tensor([-1, -1, 1, 1]) * self.strides
        _, distances = super().forward(*known, target_boxes_xyxy + outwards, *rest)
        return overlap, distances


def use_signed(criterion: E2ELoss | v8DetectionLoss, head: Detect) -> None:
    """Make a dense loss count distances as the head's bins do.

    Args:
        criterion: ``v8DetectionLoss``, or ``E2ELoss``, which holds two of them.
        head: Of the model that the loss is for.
    """
    strides = has_bins_below_zero(head)
    for loss in branches_of(criterion):
        if strides:
            loss.bbox_loss = SignedBoxLoss(head.reg_max, strides).to(loss.device)
            loss.proj = loss.proj - strides


def use_nearness(criterion: E2ELoss | v8DetectionLoss) -> None:
    """Give a dense loss the overlap that counts nearness, and the least score.

    Args:
        criterion: ``v8DetectionLoss``, or ``E2ELoss``, which holds two of them.
    """
    for loss in branches_of(criterion):
        old = loss.assigner
        loss.assigner = NearnessAssigner(
            topk=old.topk,
            num_classes=old.num_classes,
            alpha=old.alpha,
            beta=old.beta,
            stride=old.stride,
            eps=EPS,
            topk2=old.topk2,
        )


def branches_of(criterion: E2ELoss | v8DetectionLoss) -> list[v8DetectionLoss]:
    """List the losses of a criterion's branches: one, or two where one needs no suppression."""
    if isinstance(criterion, E2ELoss):
        return [criterion.one2many, criterion.one2one]
    return [criterion]
