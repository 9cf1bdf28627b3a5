"""SimOTA: every box decides by itself how many anchor points it takes, and takes the cheapest.

Source: YOLOX, https://arxiv.org/abs/2107.08430, section 2.3, and OTA, whose cost and number of
points it keeps, https://arxiv.org/abs/2103.14259, section 3.3. YOLOv7's ComputeLossOTA decides
alike, among other candidates. All three loop over the images, and over the boxes of each, with a
word to the host for every box. Here all boxes of a batch are decided on at once.

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
from training.assigners.similarity import Overlap, OverlapByClass, iou, lift

NO_OVERLAP = 1e-8
"""Added to an overlap before its logarithm."""
ONE = 2.0**40
"""Overlaps are added up as integers of this unit, so that no order of adding changes the sum."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseSimOTA(Assigner):
    """Gives every box the anchor points that cost it least.

    A pair costs its cross-entropy over all classes plus ``iou_weight`` times -log(overlap).
    Candidates lie in the box, within ``radius`` strides of its centre. A box takes as many points
    as its ``topk`` largest overlaps add up to, rounded down, and one at least. An anchor point
    that several boxes take goes to the one of all its candidates that it costs least.
    """

    num_classes: int
    radius: float = 2.5
    """Strides from the box's centre, along x and along y."""
    topk: int = 10
    """Overlaps that are added up."""
    most: int | None = None
    """Points that a box takes and keeps at most."""
    iou_weight: float = 3.0
    small_boxes: SmallBoxes = "ultralytics"
    overlap: Overlap | OverlapByClass = iou
    least_score: float = 0.0
    """Score for an overlap just above 0; that for 1 is 1, and in between it grows evenly."""

    def __post_init__(self) -> None:
        check_small_boxes(self.small_boxes)
        most = 1 if self.most is None else self.most
        if min(self.topk, most, self.num_classes) < 1 or self.radius <= 0:
            raise ValueError("topk, most, num_classes: must be 1 or more; radius: above 0")

    def reach(self, _strides: Sequence[float]) -> tuple[SmallBoxes, float]:
        """Look inside each box, near its centre.

        Returns:
            ``small_boxes`` and ``radius``, as :func:`candidate_pairs` takes them.
        """
        return self.small_boxes, self.radius

    @torch.no_grad()
    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """Take the cheapest points of each box; see :class:`Assigner`.

        A score is the pair's overlap; every positive has a weight of 1.
        """
        check_shape(predictions, len(anchors), self.num_classes)
        strides = [level.stride for level in anchors.levels]
        pairs = CandidatePairs.of(predictions.shape[0], anchors, targets, *self.reach(strides))
        places = pairs.images, pairs.points
        found = predictions.boxes_xyxy(*places)
        overlaps = pairs.overlaps(self.overlap, found).nan_to_num_(0)
        costs = predictions.class_costs(*places, pairs.labels)
        costs = costs.sub_((overlaps + NO_OVERLAP).log_(), alpha=self.iou_weight).clamp_(min=0)
        wanted = self._wanted(overlaps, pairs)  # (G,)
        positive = pairs.ranks(costs) < wanted.index_select(0, pairs.gts)
        positive = pairs.kept(pairs.settled(positive, -costs), costs, self.most)
        scores = lift(overlaps, self.least_score)
        most = min(self.topk, self.most or self.topk)
        return pairs.assignment(positive, scores, torch.ones_like(scores), most)

    def _wanted(self, overlaps: Tensor, pairs: CandidatePairs) -> Tensor:
        """How many points each box takes, shape ``(G,)``."""
        largest = pairs.ranks(overlaps, descending=True) < self.topk
        sums = pairs.per_box((torch.where(largest, overlaps, 0) * ONE).long())
        return sums.div_(int(ONE), rounding_mode="floor").clamp_(min=1, max=self.most)
