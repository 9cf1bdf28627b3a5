"""Plain SimOTA that follows the paper, image by image and box by box.

Reference for tests of the sparse assigner, and for its timing. YOLOX and YOLOv7's
``ComputeLossOTA`` have the same structure: a loop over images, tables of all boxes and all anchor
points inside any of them, and a loop over boxes. They also build a table of class costs of all
boxes, anchor points and classes; here one class is processed at a time, which gives the same
results with less memory.

Shapes: B images, A anchor points, C classes, G boxes of one image, F anchor points that are
candidates of at least one box.

Source: YOLOX, https://arxiv.org/abs/2107.08430, section 2.3; OTA,
https://arxiv.org/abs/2103.14259, section 3.3, for the number of points of a box.
"""

import torch
from torch import Tensor
from torch.nn import functional

from training.assigners.assignment import Anchors, Assignment, Targets

EPS = 1e-8
"""Added to an IoU before taking its logarithm, as in YOLOX."""
INSIDE = 1e-9
"""Minimum distance of a point inside a box from its sides, in pixels."""


@torch.no_grad()
def plain_simota(
    pred_scores: Tensor,
    pred_boxes_xyxy: Tensor,
    anchors: Anchors,
    targets: Targets,
    *,
    radius: float = 2.5,
    topk: int = 10,
    max_points: int | None = None,
    iou_weight: float = 3.0,
    min_side: float | None = None,
) -> Assignment:
    """Assign anchor points to the boxes of a batch.

    Args:
        pred_scores: Probabilities, shape ``(B, A, C)``, processed in at least single precision.
        pred_boxes_xyxy: Predicted boxes in pixels, shape ``(B, A, 4)``.
        anchors: Anchor points of every image.
        targets: Ground truth.
        radius: Maximum distance of candidates from a box's centre in strides, along x and y.
        topk: Number of IoUs whose sum is the number of points of a box.
        max_points: Maximum number of points that a box selects and keeps; None for no limit.
        iou_weight: Weight of the IoU cost relative to the class cost.
        min_side: Minimum width and height of a box in pixels when candidates are searched; None for
            Ultralytics' rule, the second stride.

    Returns:
        The positives, sorted by image and anchor point. Scores are IoUs, and all weights are 1.
    """
    if min_side is None:
        levels = anchors.levels
        min_side = levels[min(1, len(levels) - 1)].stride if levels else 0.0
    images, points, gts, scores = [], [], [], []
    for image in range(len(pred_scores)):
        rows = (targets.images == image).nonzero().squeeze(1)  # (G,) boxes of the image
        if not len(rows):
            continue
        gt_boxes_xyxy = targets.boxes_xyxy[rows].float()
        inside = candidates(anchors, gt_boxes_xyxy, radius, min_side)  # (G, A)
        columns = inside.any(dim=0).nonzero().squeeze(1)  # (F,) anchor points
        inside = inside[:, columns]  # (G, F)
        ious = box_iou(gt_boxes_xyxy, pred_boxes_xyxy[image, columns])
        costs = class_costs(pred_scores[image, columns], targets.labels[rows])
        costs = torch.where(inside, costs - iou_weight * (ious + EPS).log(), torch.inf)
        selected = _selected(costs, ious, inside, topk, max_points)
        _resolve_conflicts(selected, costs, max_points)
        selected_columns, boxes = selected.T.nonzero(as_tuple=True)  # (M,) each
        images.append(torch.full_like(boxes, image))
        points.append(columns[selected_columns])
        gts.append(rows[boxes])
        scores.append(ious[boxes, selected_columns])
    none = targets.images.new_empty(0)
    values = torch.cat([pred_boxes_xyxy.new_empty(0), *scores]).float()
    return Assignment(
        images=torch.cat([none, *images]),
        points=torch.cat([none, *points]),
        gts=torch.cat([none, *gts]),
        scores=values,
        weights=torch.ones_like(values),
    )


def _selected(
    costs: Tensor, ious: Tensor, inside: Tensor, topk: int, max_points: int | None
) -> Tensor:
    """Select the cheapest candidates of each box of an image, shape ``(G, F)``."""
    selected = torch.zeros_like(inside)
    for box in range(len(costs)):
        n_inside = int(inside[box].sum())
        highest = ious[box][inside[box]].topk(min(topk, n_inside)).values
        n_selected = max(int(highest.sum()), 1)
        n_selected = min(n_selected, n_inside, n_selected if max_points is None else max_points)
        # A stable sort, because topk may return any of several equal values.
        selected[box, costs[box].sort(stable=True).indices[:n_selected]] = True
    return selected


def _resolve_conflicts(selected: Tensor, costs: Tensor, max_points: int | None) -> None:
    """Leave each point that several boxes select to the cheapest box, in place."""
    contested = (selected.sum(dim=0) > 1).nonzero().squeeze(1)
    cheapest = costs[:, contested].argmin(dim=0)
    selected[:, contested] = False
    selected[cheapest, contested] = True
    for box in range(len(costs) if max_points is not None else 0):  # may have won more
        order = torch.where(selected[box], costs[box], torch.inf).sort(stable=True).indices
        selected[box, order[max_points:]] = False


def candidates(anchors: Anchors, gt_boxes_xyxy: Tensor, radius: float, min_side: float) -> Tensor:
    """Mark the anchor points inside each box and near its centre.

    Args:
        anchors: Anchor points of the image.
        gt_boxes_xyxy: Ground-truth boxes in pixels, shape ``(G, 4)``.
        radius: Maximum distance from a box's centre in strides.
        min_side: Minimum width and height of a box in pixels.

    Returns:
        Whether each point is a candidate, shape ``(G, A)``.
    """
    low, high = gt_boxes_xyxy[:, None, :2], gt_boxes_xyxy[:, None, 2:]  # (G, 1, 2) each
    size = high - low
    size = torch.where(size < min_side, min_side, size)
    half = torch.minimum(size, 2 * radius * anchors.strides[:, None]) / 2  # (G, A, 2)
    centre = (low + high) / 2
    from_low = anchors.points_xy - (centre - half)
    to_high = (centre + half) - anchors.points_xy
    return torch.minimum(from_low, to_high).amin(dim=2) > INSIDE


def box_iou(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Compute the intersection over union of every true and every predicted box.

    Args:
        gt_boxes_xyxy: Ground-truth boxes in pixels, shape ``(G, 4)``.
        pred_boxes_xyxy: Predicted boxes in pixels, shape ``(F, 4)``.

    Returns:
        Values from 0 to 1, shape ``(G, F)``, float64 for float64 predictions, otherwise float32.
    """
    kind = torch.promote_types(pred_boxes_xyxy.dtype, torch.float32)
    gt, pred = gt_boxes_xyxy.to(kind)[:, None], pred_boxes_xyxy.to(kind)[None]
    sides = torch.minimum(gt[..., 2:], pred[..., 2:]) - torch.maximum(gt[..., :2], pred[..., :2])
    common = sides.clamp(min=0).prod(dim=2)  # (G, F)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(dim=2) for boxes in (gt, pred)]
    return torch.where(common > 0, common / (areas[0] + areas[1] - common), 0)


def class_costs(pred_scores: Tensor, gt_labels: Tensor) -> Tensor:
    """Compute the binary cross-entropy, summed over all classes.

    Args:
        pred_scores: Probabilities, shape ``(F, C)``.
        gt_labels: Classes of the ground-truth boxes, int64, shape ``(G,)``.

    Returns:
        Costs, shape ``(G, F)``, of the same type as :func:`box_iou`.
    """
    scores = pred_scores.to(torch.promote_types(pred_scores.dtype, torch.float32))
    costs = scores.new_empty(len(gt_labels), len(scores))
    for label in gt_labels.unique():
        targets = torch.zeros_like(scores)
        targets[:, label] = 1
        cost = functional.binary_cross_entropy(scores, targets, reduction="none").sum(dim=1)  # (F,)
        costs[gt_labels == label] = cost
    return costs
