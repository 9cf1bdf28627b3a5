"""Overlaps of true and predicted boxes, among them one that a thin box does not lose at once.

The task-aligned assigner weighs an anchor by ``score^.5 * overlap^6``. Its overlap is CIoU, which
is 0 as soon as a predicted box misses a stem by the stem's own width, or has another shape: such a
symbol is given no weight, no gradient, and is never learnt. The overlap here falls off with the
distance between two boxes in proportion to their size, and gives way to CIoU once that is larger.

What an anchor is to predict as its score is that overlap, too, and the box is learnt in proportion
to it. A dot of 5 px that starts from a box of a notehead's size has an overlap of .04, and next to
a page of noteheads that is nothing. So the best anchors of every symbol count for a fair part.

Shapes: P pairs of a true and a predicted box, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from ultralytics.utils.metrics import bbox_iou

Overlap = Callable[[Tensor, Tensor], Tensor]
"""From true and predicted boxes, in pixels, shape ``(P, 4)`` each, to 0 or more, ``(P,)``."""

NEARNESS_WEIGHT = 0.5
"""Most that nearness can count: a prediction over this CIoU is ranked by CIoU alone."""
LEAST_SCORE = 0.25
"""Score that the best anchor of a symbol is to predict, however badly its box fits."""
DILATION_PX = 4.0
"""Pixels by which :func:`dilated_iou` moves every side outwards: half a cell of stride 8."""
EPS = 1e-16
"""Smallest sum of weights that still counts; Ultralytics' 1e-9 is above what a new model gives."""


def iou(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Intersection over union.

    Args:
        gt_boxes_xyxy: Pixels, shape ``(P, 4)``.
        pred_boxes_xyxy: Pixels, shape ``(P, 4)``.

    Returns:
        0 to 1, shape ``(P,)``.
    """
    value: Tensor = bbox_iou(gt_boxes_xyxy, pred_boxes_xyxy, xywh=False).squeeze(-1)
    return value.clamp_(0)


def ciou(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Complete IoU, 0 where it is below.

    Args:
        gt_boxes_xyxy: Pixels, shape ``(P, 4)``.
        pred_boxes_xyxy: Pixels, shape ``(P, 4)``.

    Returns:
        0 to 1, shape ``(P,)``.
    """
    value: Tensor = bbox_iou(gt_boxes_xyxy, pred_boxes_xyxy, xywh=False, CIoU=True).squeeze(-1)
    return value.clamp_(0)


def ciou_nwd(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
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
    near = NEARNESS_WEIGHT * ciou_nwd(gt_boxes_xyxy, pred_boxes_xyxy)
    complete = ciou(gt_boxes_xyxy, pred_boxes_xyxy)
    return torch.maximum(complete, near.to(complete.dtype))


def dilated_iou(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Intersection over union of boxes whose sides are all moved outwards by 4 px.

    Two stems of 1.5 px that lie 3 px apart share nothing, but more than half of 9.5 px.

    Args:
        gt_boxes_xyxy: Pixels, shape ``(P, 4)``.
        pred_boxes_xyxy: Pixels, shape ``(P, 4)``.

    Returns:
        0 to 1, shape ``(P,)``.
    """
    gt, pred = (
        torch.cat((boxes[:, :2] - DILATION_PX, boxes[:, 2:] + DILATION_PX), dim=1)
        for boxes in (gt_boxes_xyxy, pred_boxes_xyxy)
    )
    return iou(gt, pred)


SimilarityName = Literal["ciou+nwd", "ciou", "iou", "nwd", "dilated"]
OVERLAPS: dict[SimilarityName, Overlap] = {
    "ciou+nwd": overlap,
    "ciou": ciou,
    "iou": iou,
    "nwd": ciou_nwd,
    "dilated": dilated_iou,
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OverlapByClass:
    """Measures the boxes of each class in a way of their own."""

    overlaps: tuple[Overlap, ...]
    choice: Tensor
    """Place in ``overlaps`` for each class, int64, shape ``(C,)``."""

    def at(self, labels: Tensor) -> Overlap:
        """Give the measure for pairs whose true boxes are of these classes, shape ``(P,)``."""

        def measured(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
            wanted = self.choice.index_select(0, labels)
            values = gt_boxes_xyxy.new_zeros(len(gt_boxes_xyxy))
            for place, measure in enumerate(self.overlaps):
                value = measure(gt_boxes_xyxy, pred_boxes_xyxy).to(values.dtype)
                values = torch.where(wanted == place, value, values)
            return values

        return measured


def lift(overlaps: Tensor, least: float) -> Tensor:
    """Make a least score of an overlap just above 0; that of 1 stays 1, and between it is even.

    Args:
        overlaps: Any shape ``(...)``.
        least: 0 to 1.

    Returns:
        Shape ``(...)``; 0 where the overlap is 0.
    """
    return torch.where(overlaps > 0, least + (1 - least) * overlaps, overlaps)
