"""Similarity of ground-truth and predicted boxes, also for thin boxes that do not overlap.

The task-aligned assigner ranks anchor points by ``score^.5 * similarity^6``. Its usual similarity,
CIoU, is 0 as soon as a predicted box misses a stem by the stem's width, or has a different shape.
Then the symbol gets no weight and no gradient, and is never learned. NWD decreases with the
distance of two boxes relative to their size instead. Combined with CIoU it only counts where CIoU
is low.

The similarity also becomes the target score and the weight in the box loss. A dot of 5 px whose
predicted box starts at the size of a notehead has a similarity of 0.04, which is negligible on a
page of noteheads. So the best anchor points of every symbol get a minimum score.

Shapes: P pairs of a ground-truth and a predicted box, C classes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from ultralytics.utils.metrics import bbox_iou

from settings.training import SimilarityName

Similarity = Callable[[Tensor, Tensor], Tensor]
"""Function from ground-truth and predicted boxes in pixels, ``(P, 4)`` each, to non-negative
values, ``(P,)``."""

NWD_WEIGHT = 0.5
"""Factor applied to NWD before taking the maximum with CIoU."""
MIN_SCORE = 0.25
"""Target score of a symbol's best anchor point if the similarity is just above 0."""
DILATION_PX = 4.0
"""Pixels by which :func:`dilated_iou` moves every side outwards: half a cell of stride 8."""
IOU_EPS = 1e-7
"""Added to heights and denominators of the complete IoU, as in Ultralytics."""
EPS = 1e-16
"""Added to the best metric; Ultralytics' 1e-9 exceeds the metrics of an untrained model."""


def iou(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Compute the intersection over union.

    Args:
        gt_boxes_xyxy: Ground-truth boxes in pixels, shape ``(P, 4)``.
        pred_boxes_xyxy: Predicted boxes in pixels, shape ``(P, 4)``.

    Returns:
        Values from 0 to 1, shape ``(P,)``.
    """
    value: Tensor = bbox_iou(gt_boxes_xyxy, pred_boxes_xyxy, xywh=False).squeeze(-1)
    return value.clamp_(0)


def ciou(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Compute :func:`complete_iou`, with negative values clamped to 0.

    Args:
        gt_boxes_xyxy: Ground-truth boxes in pixels, shape ``(P, 4)``.
        pred_boxes_xyxy: Predicted boxes in pixels, shape ``(P, 4)``.

    Returns:
        Values from 0 to 1, shape ``(P,)``.
    """
    return complete_iou(gt_boxes_xyxy, pred_boxes_xyxy).clamp_(0)


def complete_iou(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """Compute the complete IoU, which falls below 0 for distant boxes of different shapes.

    Rounds like Ultralytics' ``bbox_iou``, but computes x and y, and both boxes, in one operation:
    on a GPU, starting an operation on thousands of boxes takes longer than the operation itself.

    Args:
        first_xyxy: Boxes, shape ``(P, 4)``.
        second_xyxy: Boxes to compare them with, shape ``(P, 4)``.

    Returns:
        Values up to 1, shape ``(P,)``.

    Source: Distance-IoU Loss, https://arxiv.org/abs/1911.08287, equations 8 to 11.
    """
    low, high = torch.stack((first_xyxy, second_xyxy)).chunk(2, dim=-1)  # (2, P, 2) each
    width, height = (high - low).unbind(-1)  # (2, P) each
    height = height + IOU_EPS
    (low_1, low_2), (high_1, high_2) = low.unbind(), high.unbind()  # (P, 2) each
    inner_width, inner_height = (high_1.minimum(high_2) - low_1.maximum(low_2)).clamp_(0).unbind(1)
    intersection = inner_width * inner_height  # (P,)
    overlap = intersection / ((width * height).sum(dim=0) - intersection + IOU_EPS)
    diagonal = (high_1.maximum(high_2) - low_1.minimum(low_2)).pow(2).sum(dim=1)  # squared
    # Four times the squared distance of the centres.
    distance = (low_2 + high_2 - low_1 - high_1).pow(2).sum(dim=1)
    angle_1, angle_2 = (width / height).atan().unbind()
    shape = (4 / math.pi**2) * (angle_2 - angle_1).pow(2)
    with torch.no_grad():
        weight = shape / (1 - overlap + shape + IOU_EPS)
    return overlap - (distance / 4 / (diagonal + IOU_EPS) + shape * weight)


def nwd(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Compute the similarity by normalised Wasserstein distance (NWD).

    Args:
        gt_boxes_xyxy: Ground-truth boxes in pixels, shape ``(P, 4)``.
        pred_boxes_xyxy: Predicted boxes in pixels, shape ``(P, 4)``.

    Returns:
        ``exp(-d / k)``, 0 to 1, shape ``(P,)``, where d is the Wasserstein distance of the boxes as
        Gaussians, and k half the diagonal of the ground-truth box.

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


def ciou_nwd(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Compute the larger of CIoU and weighted NWD, which is above 0 for disjoint boxes too.

    Args:
        gt_boxes_xyxy: Ground-truth boxes in pixels, shape ``(P, 4)``.
        pred_boxes_xyxy: Predicted boxes in pixels, shape ``(P, 4)``.

    Returns:
        Values from 0 to 1, shape ``(P,)``.
    """
    weighted = NWD_WEIGHT * nwd(gt_boxes_xyxy, pred_boxes_xyxy)
    complete = ciou(gt_boxes_xyxy, pred_boxes_xyxy)
    return torch.maximum(complete, weighted.to(complete.dtype))


def dilated_iou(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Compute the intersection over union of boxes with every side moved outwards by 4 px.

    Two stems of 1.5 px that are 3 px apart do not overlap, but share more than half of the 9.5 px
    of their dilated boxes.

    Args:
        gt_boxes_xyxy: Ground-truth boxes in pixels, shape ``(P, 4)``.
        pred_boxes_xyxy: Predicted boxes in pixels, shape ``(P, 4)``.

    Returns:
        Values from 0 to 1, shape ``(P,)``.
    """
    gt, pred = (
        torch.cat((boxes[:, :2] - DILATION_PX, boxes[:, 2:] + DILATION_PX), dim=1)
        for boxes in (gt_boxes_xyxy, pred_boxes_xyxy)
    )
    return iou(gt, pred)


SIMILARITIES: dict[SimilarityName, Similarity] = {
    "ciou+nwd": ciou_nwd,
    "ciou": ciou,
    "iou": iou,
    "nwd": nwd,
    "dilated": dilated_iou,
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SimilarityByClass:
    """Separate similarity for each class."""

    measures: tuple[Similarity, ...]
    choice: Tensor
    """Index into ``measures`` for each class, int64, shape ``(C,)``."""

    def at(self, labels: Tensor) -> Similarity:
        """Return the similarity for pairs whose ground truth has these labels, shape ``(P,)``."""

        def by_label(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
            choices = self.choice.index_select(0, labels)
            values = gt_boxes_xyxy.new_zeros(len(gt_boxes_xyxy))
            for index, measure in enumerate(self.measures):
                value = measure(gt_boxes_xyxy, pred_boxes_xyxy).to(values.dtype)
                values = torch.where(choices == index, value, values)
            return values

        return by_label


def raise_scores(similarities: Tensor, min_score: float) -> Tensor:
    """Map similarities in (0, 1] linearly to (``min_score``, 1].

    Args:
        similarities: Values from 0 to 1, any shape ``(...)``.
        min_score: Score of a similarity just above 0.

    Returns:
        Scores, shape ``(...)``; 0 where the similarity is 0.
    """
    return torch.where(similarities > 0, min_score + (1 - min_score) * similarities, similarities)
