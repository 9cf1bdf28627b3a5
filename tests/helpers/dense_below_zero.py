"""Ultralytics' dense loss with our similarity and bins below 0, to compare the sparse loss with."""

from dense_similarity import SimilarityAssigner
from torch import Tensor
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.loss import BboxLoss, E2ELoss, v8DetectionLoss

from training.assigners.similarity import EPS
from training.heads.distance_bins import strides_below_zero


class BelowZeroBoxLoss(BboxLoss):  # type: ignore[misc]
    """Ultralytics' box loss for distance bins that begin below 0.

    Args:
        reg_max: Number of bins, above 1.
        strides: Strides below 0 of the first bin.
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
        """Compare the boxes unchanged, and the distances counted from the first bin.

        Args:
            pred_dist: Logits of the bins, shape ``(B, A, 4 * R)``.
            pred_boxes_xyxy: Predicted boxes in strides, shape ``(B, A, 4)``.
            anchor_points: Anchor points in strides.
            target_boxes_xyxy: True boxes in strides, shape ``(B, A, 4)``.
            rest: Further arguments of Ultralytics' loss.

        Returns:
            Loss of the IoU, and loss of the distributions.
        """
        common = pred_dist, pred_boxes_xyxy, anchor_points
        iou_loss, _ = super().forward(*common, target_boxes_xyxy, *rest)
        # The distances of a box with every side moved outwards are the ones that the bins encode.
        outwards = target_boxes_xyxy.new_tensor([-1, -1, 1, 1]) * self.strides
        _, distance_loss = super().forward(*common, target_boxes_xyxy + outwards, *rest)
        return iou_loss, distance_loss


def use_bins_below_zero(criterion: E2ELoss | v8DetectionLoss, head: Detect) -> None:
    """Make a dense loss encode distances like the bins of a head.

    Args:
        criterion: ``v8DetectionLoss``, or ``E2ELoss``, which contains two of them.
        head: Head of the model that the loss is for.
    """
    strides = strides_below_zero(head)
    for loss in branches_of(criterion):
        if strides:
            loss.bbox_loss = BelowZeroBoxLoss(head.reg_max, strides).to(loss.device)
            loss.proj = loss.proj - strides


def use_similarity(criterion: E2ELoss | v8DetectionLoss) -> None:
    """Give a dense loss the similarity of omr and its minimum score.

    Args:
        criterion: ``v8DetectionLoss``, or ``E2ELoss``, which contains two of them.
    """
    for loss in branches_of(criterion):
        stock = loss.assigner
        loss.assigner = SimilarityAssigner(
            topk=stock.topk,
            num_classes=stock.num_classes,
            alpha=stock.alpha,
            beta=stock.beta,
            stride=stock.stride,
            eps=EPS,
            topk2=stock.topk2,
        )


def branches_of(criterion: E2ELoss | v8DetectionLoss) -> list[v8DetectionLoss]:
    """List the losses of a criterion: one, or two if a branch of the head needs no NMS."""
    if isinstance(criterion, E2ELoss):
        return [criterion.one2many, criterion.one2one]
    return [criterion]
