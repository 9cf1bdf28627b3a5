"""Boxes that need not contain their anchor point.

A head of Ultralytics predicts how far the four sides of a box lie from its anchor point, 0 to 15
strides, so every box holds its point. A stem 2 px wide holds one only by luck: next to it the best
box is as wide as the distance to the point, and no training makes it narrower. Here the bins stand
for -2 to 13 strides: a side may lie on the other side of the point.

Nothing is added to the model. The bins' values are the weights of ``Detect.dfl``, which are fixed
and stored with the checkpoint, so prediction and export with plain Ultralytics give the same boxes.
Only the loss has to know of it. A head without distributions predicts signed distances already.

Shapes: A anchor points of all images of a batch.
"""

import torch
from torch import Tensor
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.loss import BboxLoss, E2ELoss, v8DetectionLoss

BESIDE = 2.0
"""Strides that a side may lie beyond the anchor point: an anchor point of the finest level, 4 px
apart, is looked for up to 8 px from a symbol's centre, which is two of its strides."""


@torch.no_grad()
def allow_beside(head: Detect, strides: float = BESIDE) -> None:
    """Let the bins of a new head begin below 0.

    Args:
        head: Ultralytics' ``Detect``; one without distributions is left as it is.
        strides: Distance of the first bin, as a number above 0.
    """
    if head.reg_max > 1:
        head.dfl.conv.weight.sub_(strides)


def beside(head: Detect) -> float:
    """Tell how many strides beyond the anchor point a head's first bin stands for."""
    return -float(head.dfl.conv.weight.flatten()[0]) if head.reg_max > 1 else 0.0


class SignedBoxLoss(BboxLoss):
    """Ultralytics' loss of the boxes for bins that begin below 0.

    Args:
        reg_max: Number of bins, above 1.
        strides: As :func:`allow_beside` got it.
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
    """Make a detection loss count distances as the head's bins do.

    Args:
        criterion: ``v8DetectionLoss``, or ``E2ELoss``, which holds two of them.
        head: Of the model that the loss is for.
    """
    for loss in (getattr(criterion, name, None) for name in ("one2many", "one2one")):
        if loss is not None:
            use_signed(loss, head)
    strides = beside(head)
    if strides and hasattr(criterion, "bbox_loss"):
        criterion.bbox_loss = SignedBoxLoss(head.reg_max, strides).to(criterion.device)
        criterion.proj = criterion.proj - strides
