"""SimOTA: each box takes its cheapest anchor points, as many as its predictions suggest.

Source: YOLOX, https://arxiv.org/abs/2107.08430, section 2.3, and OTA, for the cost and the number
of points, https://arxiv.org/abs/2103.14259, section 3.3. YOLOv7's ComputeLossOTA uses the same rule
with different candidates. Those implementations loop over images and boxes, with one host
synchronisation per box. Here all boxes of a batch are assigned at once.

Shapes: B images, A anchor points, C classes, G ground-truth boxes of all images, P candidate pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.assigners.assigner import Assigner
from training.assigners.assignment import (
    Anchors,
    Assignment,
    SmallBoxes,
    Targets,
    check_small_boxes,
)
from training.assigners.candidate_pairs import CandidatePairs
from training.assigners.predictions import Predictions, check_shape
from training.assigners.similarity import Similarity, SimilarityByClass, iou, raise_scores

EPS = 1e-8
"""Added to a similarity before taking its logarithm."""
UNIT = 2.0**40
"""Fixed-point unit in which similarities are summed, so that the order does not matter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseSimOTA(Assigner):
    """Assigns each box the anchor points with the lowest cost.

    The cost of a pair is its cross-entropy over all classes minus ``iou_weight`` times the
    logarithm of its similarity. Candidates are within the box, and within ``radius`` strides of its
    centre. The number of points of a box is the sum of its ``topk`` highest similarities, rounded
    down, but at least one. An anchor point that several boxes select goes to the box with the
    lowest cost among all boxes of which it is a candidate.
    """

    num_classes: int
    radius: float = 2.5
    """Maximum distance from the box's centre in strides, along x and along y."""
    topk: int = 10
    """Number of similarities that are summed."""
    max_points: int | None = None
    """Maximum number of points that a box selects and keeps; None for no limit."""
    iou_weight: float = 3.0
    small_boxes: SmallBoxes = "ultralytics"
    similarity: Similarity | SimilarityByClass = iou
    min_score: float = 0.0
    """Score for a similarity just above 0, from which it grows linearly to 1."""

    def __post_init__(self) -> None:
        check_small_boxes(self.small_boxes)
        max_points = 1 if self.max_points is None else self.max_points
        if min(self.topk, max_points, self.num_classes) < 1 or self.radius <= 0:
            raise ValueError("topk, max_points, num_classes: must be 1 or more; radius: above 0")

    def reach(self, _strides: Sequence[float]) -> tuple[SmallBoxes, float]:
        """Return how far candidates may be from a box: inside it, and within the radius.

        Returns:
            The arguments ``small_boxes`` and ``radius`` of :func:`candidate_pairs.pairs_inside`.
        """
        return self.small_boxes, self.radius

    @torch.no_grad()
    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """Assign the cheapest points of each box; see :class:`Assigner`.

        The target score is the similarity, and all positives have weight 1.
        """
        check_shape(predictions, len(anchors), self.num_classes)
        strides = [level.stride for level in anchors.levels]
        pairs = CandidatePairs.of(predictions.shape[0], anchors, targets, *self.reach(strides))
        slots = pairs.images, pairs.points
        pred_boxes_xyxy = predictions.boxes_xyxy(*slots)
        similarities = pairs.similarities(self.similarity, pred_boxes_xyxy).nan_to_num_(0)
        costs = predictions.class_costs(*slots, pairs.labels)
        costs = costs.sub_((similarities + EPS).log_(), alpha=self.iou_weight).clamp_(min=0)
        n_points = self._points_per_gt(similarities, pairs)  # (G,)
        positive = pairs.ranks(costs) < n_points.index_select(0, pairs.gts)
        positive = pairs.resolve_conflicts(positive, -costs)
        positive = pairs.limit_per_gt(positive, costs, self.max_points)
        scores = raise_scores(similarities, self.min_score)
        max_per_gt = min(self.topk, self.max_points or self.topk)
        return pairs.assignment(positive, scores, torch.ones_like(scores), max_per_gt)

    def _points_per_gt(self, similarities: Tensor, pairs: CandidatePairs) -> Tensor:
        """Compute the number of points that each box selects, shape ``(G,)``."""
        highest = pairs.ranks(similarities, descending=True) < self.topk
        sums = pairs.sum_per_gt((torch.where(highest, similarities, 0) * UNIT).long())
        return sums.div_(int(UNIT), rounding_mode="floor").clamp_(min=1, max=self.max_points)
