"""SimOTA as one would write it from the paper: image by image, box by box.

What the sparse assigner is tested against, and a peer to time it beside. YOLOX and YOLOv7's
``ComputeLossOTA`` are laid out alike: a loop over the images, tables of all boxes against all
anchor points that are inside any, a loop over the boxes. They also make a table of class costs of
all boxes, anchor points and classes; here it is one class of true boxes at a time, which decides
the same and needs less memory.

Shapes: B images, A anchor points, C classes, G boxes of one image, F anchor points that are a
candidate of any of them.

Source: YOLOX, https://arxiv.org/abs/2107.08430, section 2.3; OTA,
https://arxiv.org/abs/2103.14259, section 3.3, for the number of points of a box.
"""

import torch
from torch import Tensor
from torch.nn import functional

from training.assigners.assignment import Anchors, Assignment, Targets

NO_OVERLAP = 1e-8
"""Added to an overlap before its logarithm, as YOLOX does."""
INSIDE = 1e-9
"""Pixels that a point has to lie within a side."""


@torch.no_grad()
def plain_simota(
    pred_scores: Tensor,
    pred_boxes_xyxy: Tensor,
    anchors: Anchors,
    targets: Targets,
    *,
    radius: float = 2.5,
    topk: int = 10,
    most: int | None = None,
    iou_weight: float = 3.0,
    least_side: float | None = None,
) -> Assignment:
    """Assign anchor points to the boxes of a batch.

    Args:
        pred_scores: Probabilities, shape ``(B, A, C)``; worked on in their own precision, in
            single precision at least.
        pred_boxes_xyxy: Pixels, shape ``(B, A, 4)``.
        anchors: Anchor points of every image.
        targets: Ground truth.
        radius: Strides from a box's centre, along x and along y, up to which its candidates lie.
        topk: Overlaps that are added up to the number of points that a box takes.
        most: Points that a box takes and keeps at most.
        iou_weight: What the cost of an overlap counts beside that of the classes.
        least_side: Pixels that a box counts as wide and high at least; Ultralytics' second stride
            if None.

    Returns:
        The positives, image after image, in the order of the anchor points. A score is the pair's
        overlap; every positive has a weight of 1.
    """
    if least_side is None:
        levels = anchors.levels
        least_side = levels[min(1, len(levels) - 1)].stride if levels else 0.0
    images, points, gts, scores = [], [], [], []
    for image in range(len(pred_scores)):
        of_image = (targets.images == image).nonzero().squeeze(1)  # (G,)
        if not len(of_image):
            continue
        gt_boxes_xyxy = targets.boxes_xyxy[of_image].float()
        inside = candidates(anchors, gt_boxes_xyxy, radius, least_side)  # (G, A)
        near_any = inside.any(dim=0).nonzero().squeeze(1)  # (F,)
        inside = inside[:, near_any]  # (G, F)
        overlaps = box_iou(gt_boxes_xyxy, pred_boxes_xyxy[image, near_any])
        costs = class_costs(pred_scores[image, near_any], targets.labels[of_image])
        costs = costs - iou_weight * (overlaps + NO_OVERLAP).log()
        costs = torch.where(inside, costs, torch.inf)
        taken = torch.zeros_like(inside)
        for box in range(len(of_image)):
            n_inside = int(inside[box].sum())
            largest = overlaps[box][inside[box]].topk(min(topk, n_inside)).values
            n_wanted = max(int(largest.sum()), 1)
            n_wanted = min(n_wanted, n_inside, n_wanted if most is None else most)
            # A stable sort, for topk may take any of equals.
            taken[box, costs[box].sort(stable=True).indices[:n_wanted]] = True
        contested = (taken.sum(dim=0) > 1).nonzero().squeeze(1)
        cheapest = costs[:, contested].argmin(dim=0)
        taken[:, contested] = False
        taken[cheapest, contested] = True
        for box in range(len(of_image) if most is not None else 0):  # what it has won may be more
            own = torch.where(taken[box], costs[box], torch.inf).sort(stable=True).indices
            taken[box, own[most:]] = False
        columns, boxes = taken.T.nonzero(as_tuple=True)  # (M,) each
        images.append(torch.full_like(columns, image))
        points.append(near_any[columns])
        gts.append(of_image[boxes])
        scores.append(overlaps[boxes, columns])
    none = targets.images.new_empty(0)
    values = torch.cat([pred_boxes_xyxy.new_empty(0), *scores]).float()
    return Assignment(
        images=torch.cat([none, *images]),
        anchors=torch.cat([none, *points]),
        gts=torch.cat([none, *gts]),
        scores=values,
        weights=torch.ones_like(values),
    )


def candidates(anchors: Anchors, gt_boxes_xyxy: Tensor, radius: float, least_side: float) -> Tensor:
    """Tell which anchor points lie in a box and near its centre.

    Args:
        anchors: Anchor points of the image.
        gt_boxes_xyxy: Pixels, shape ``(G, 4)``.
        radius: Strides from a box's centre.
        least_side: Pixels that a box counts as wide and high at least.

    Returns:
        bool, shape ``(G, A)``.
    """
    low, high = gt_boxes_xyxy[:, None, :2], gt_boxes_xyxy[:, None, 2:]  # (G, 1, 2) each
    size = high - low
    size = torch.where(size < least_side, least_side, size)
    half = torch.minimum(size, 2 * radius * anchors.strides[:, None]) / 2  # (G, A, 2)
    centre = (low + high) / 2
    from_low = anchors.points_xy - (centre - half)
    to_high = (centre + half) - anchors.points_xy
    return torch.minimum(from_low, to_high).amin(dim=2) > INSIDE


def box_iou(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Intersection over union of all with all.

    Args:
        gt_boxes_xyxy: Pixels, shape ``(G, 4)``.
        pred_boxes_xyxy: Pixels, shape ``(F, 4)``.

    Returns:
        0 to 1, shape ``(G, F)``, float32 or, of predictions in float64, float64.
    """
    kind = torch.promote_types(pred_boxes_xyxy.dtype, torch.float32)
    gt, pred = gt_boxes_xyxy.to(kind)[:, None], pred_boxes_xyxy.to(kind)[None]
    sides = torch.minimum(gt[..., 2:], pred[..., 2:]) - torch.maximum(gt[..., :2], pred[..., :2])
    common = sides.clamp(min=0).prod(dim=2)  # (G, F)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(dim=2) for boxes in (gt, pred)]
    return torch.where(common > 0, common / (areas[0] + areas[1] - common), 0)


def class_costs(pred_scores: Tensor, gt_labels: Tensor) -> Tensor:
    """Sum of the binary cross-entropy over all classes.

    Args:
        pred_scores: Probabilities, shape ``(F, C)``.
        gt_labels: int64, shape ``(G,)``.

    Returns:
        Shape ``(G, F)``, of the type of :func:`box_iou`.
    """
    scores = pred_scores.to(torch.promote_types(pred_scores.dtype, torch.float32))
    costs = scores.new_empty(len(gt_labels), len(scores))
    for label in gt_labels.unique():
        wanted = torch.zeros_like(scores)
        wanted[:, label] = 1
        cost = functional.binary_cross_entropy(scores, wanted, reduction="none").sum(dim=1)  # (F,)
        costs[gt_labels == label] = cost
    return costs
