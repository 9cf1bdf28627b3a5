"""An overlap that a thin box does not lose at once, for Ultralytics' task-aligned assigner.

The assigner weighs an anchor by ``score^.5 * overlap^6``. Its overlap is CIoU, which is 0 as soon
as a predicted box misses a stem by the stem's own width, or has another shape: such a symbol is
given no weight, no gradient, and is never learnt. The overlap here falls off with the distance
between two boxes in proportion to their size, and gives way to CIoU once that is the larger.

What an anchor is to predict as its score is that overlap, too, and the box is learnt in proportion
to it. A dot of 5 px that starts from a box of a notehead's size has an overlap of .04, and next to
a page of noteheads that is nothing. So the best anchors of every symbol count for a fair part.

Shapes: B images, G boxes of the fullest image, A anchor points, P pairs of a box and an anchor's
prediction.
"""

import torch
from torch import Tensor
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss
from ultralytics.utils.metrics import bbox_iou
from ultralytics.utils.tal import TaskAlignedAssigner

NEARNESS_WEIGHT = 0.5
"""Most that nearness can count: a prediction over this CIoU is ranked by CIoU alone."""
LEAST_SCORE = 0.25
"""Score that the best anchor of a symbol is to predict, however badly its box fits."""
EPS = 1e-16
"""Smallest sum of weights that still counts; Ultralytics' 1e-9 is above what a new model gives."""


def nearness(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Tell how near one box is to another, in position and size.

    Args:
        gt_boxes_xyxy: Pixels, shape ``(P, 4)``.
        pred_boxes_xyxy: Pixels, shape ``(P, 4)``.

    Returns:
        ``exp(-d / k)``, 0 to 1, shape ``(P,)``: d is the Wasserstein distance of the two boxes
        taken as Gaussians, k half the diagonal of the true one.

    Source: A Normalized Gaussian Wasserstein Distance for Tiny Object Detection,
    https://arxiv.org/abs/2110.13389, equations 5 and 8, with k per box.
    """
    gt_low, gt_high = gt_boxes_xyxy.float().chunk(2, dim=-1)  # (P, 2) each
    low, high = pred_boxes_xyxy.float().chunk(2, dim=-1)
    gt_size = gt_high - gt_low
    centre = (gt_low + gt_high - low - high) / 2
    size = (gt_size - (high - low)) / 2
    distance = (centre.square() + size.square()).sum(dim=-1).sqrt()  # (P,)
    half_diagonal = gt_size.square().sum(dim=-1).sqrt() / 2
    return torch.exp(-distance / half_diagonal.clamp(min=1e-6))


def overlap(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Measure how well predictions fit their boxes, above 0 also where they do not touch.

    Args:
        gt_boxes_xyxy: Pixels, shape ``(P, 4)``.
        pred_boxes_xyxy: Pixels, shape ``(P, 4)``.

    Returns:
        The larger of CIoU and the weighted nearness, 0 to 1, shape ``(P,)``.
    """
    ciou = bbox_iou(gt_boxes_xyxy, pred_boxes_xyxy, xywh=False, CIoU=True).squeeze(-1)
    near = NEARNESS_WEIGHT * nearness(gt_boxes_xyxy, pred_boxes_xyxy)
    return torch.maximum(ciou, near.to(ciou.dtype))


class NearnessAssigner(TaskAlignedAssigner):
    """Ultralytics' assigner with :func:`overlap` in place of CIoU, and a least score."""

    def get_box_metrics(self, *args: Tensor, **options: Tensor) -> tuple[Tensor, Tensor]:
        """Rank the pairs as Ultralytics does, and lift their overlaps, in the same order.

        Args:
            args: Those of ``TaskAlignedAssigner``.
            options: Likewise.

        Returns:
            What anchors are chosen by, and what becomes their score, shape ``(B, G, A)`` each; 0
            where an anchor is no candidate.
        """
        metrics, overlaps = super().get_box_metrics(*args, **options)
        lifted = LEAST_SCORE + (1 - LEAST_SCORE) * overlaps
        return metrics, torch.where(overlaps > 0, lifted, overlaps)

    def iou_calculation(self, gt_bboxes: Tensor, pd_bboxes: Tensor) -> Tensor:
        """Call :func:`overlap`."""
        return overlap(gt_bboxes, pd_bboxes)


def use_nearness(criterion: E2ELoss | v8DetectionLoss) -> None:
    """Give a detection loss this assigner, with the settings of the one it has.

    Args:
        criterion: ``v8DetectionLoss``, or ``E2ELoss``, which holds two of them.
    """
    for loss in (getattr(criterion, name, None) for name in ("one2many", "one2one")):
        if loss is not None:
            use_nearness(loss)
    old = getattr(criterion, "assigner", None)
    if old is not None:
        criterion.assigner = NearnessAssigner(
            topk=old.topk,
            topk2=old.topk2,
            num_classes=old.num_classes,
            alpha=old.alpha,
            beta=old.beta,
            stride=old.stride,
            eps=EPS,
        )
