"""Task-aligned assignment over the pairs of a box and an anchor point that can matter.

Chooses what Ultralytics' ``TaskAlignedAssigner`` chooses, and gives it the same scores to the last
bit, without its maps of all boxes of the fullest image against all anchor points.

Shapes: B images, A anchor points, C classes, G ground-truth boxes of all images, P candidate pairs.

Source: TOOD, https://arxiv.org/abs/2108.07755, section 3.2, as Ultralytics reads it.
"""

import math
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
from training.assigners.similarity import Overlap, OverlapByClass, ciou, lift


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseTaskAlignedAssigner(Assigner):
    """Gives every box the anchor points that already predict its class and place best.

    A pair's metric is ``score^alpha * overlap^beta``. Each box takes its ``topk`` best pairs. An
    anchor point that several boxes take goes to the one of all its candidates that it overlaps
    most. The best point of a box is to predict its overlap, the others less in proportion to
    their metric.
    """

    topk: int = 10
    """Points that a box takes at most."""
    topk2: int | None = None
    """Points that it keeps at most, after the quarrels about them; as many as it has if None or
    equal to ``topk``."""
    num_classes: int
    alpha: float = 0.5
    beta: float | Tensor = 6.0
    """One number, or one for each class, shape ``(C,)``."""
    eps: float = 1e-9
    """Added to a box's best metric before it divides."""
    small_boxes: SmallBoxes = "ultralytics"
    overlap: Overlap | OverlapByClass = ciou
    least_score: float = 0.0
    """Score for an overlap just above 0; that for 1 is 1, and in between it grows evenly."""

    def __post_init__(self) -> None:
        check_small_boxes(self.small_boxes)
        if min(self.topk, self.topk2 or self.topk, self.num_classes) < 1:
            raise ValueError("topk, topk2 and num_classes: must be 1 or more")

    def reach(self, _strides: Sequence[float]) -> tuple[SmallBoxes, float]:
        """Look everywhere inside each box.

        Returns:
            ``small_boxes`` and ``radius``, as :func:`candidate_pairs` takes them.
        """
        return self.small_boxes, math.inf

    @torch.no_grad()
    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """Take the best points of each box; see :class:`Assigner`.

        What has no score, because nothing of it overlaps, is left out.
        """
        check_shape(predictions, len(anchors), self.num_classes)
        strides = [level.stride for level in anchors.levels]
        pairs = CandidatePairs.of(predictions.shape[0], anchors, targets, *self.reach(strides))
        scores = predictions.scores(pairs.images, pairs.points, pairs.labels)
        found = predictions.boxes_xyxy(pairs.images, pairs.points)
        overlaps = pairs.overlaps(self.overlap, found).float()
        beta = self.beta
        if isinstance(beta, Tensor):
            beta = beta.index_select(0, pairs.labels)
        metrics = scores.pow(self.alpha) * overlaps.pow(beta)
        if self.least_score:
            overlaps = lift(overlaps, self.least_score)
        positive = pairs.settled(pairs.best(metrics, self.topk), overlaps)
        if self.topk2 not in (None, self.topk):
            positive &= pairs.best(torch.where(positive, metrics, 0), self.topk2 or self.topk)
        target_scores = self._normalised(metrics, overlaps, positive, pairs)
        most = min(self.topk, self.topk2 or self.topk)
        return pairs.assignment(target_scores != 0, target_scores, target_scores, most)

    def _normalised(
        self, metrics: Tensor, overlaps: Tensor, positive: Tensor, pairs: CandidatePairs
    ) -> Tensor:
        """Target score of each pair, 0 where it is no positive, shape ``(P,)``."""
        metrics, overlaps = torch.where(positive, metrics, 0), torch.where(positive, overlaps, 0)
        most = metrics.new_zeros(2, len(pairs.targets))  # (2, G)
        most[0].scatter_reduce_(0, pairs.gts, metrics, "amax")
        most[1].scatter_reduce_(0, pairs.gts, overlaps, "amax")
        best_metric, best_overlap = most.index_select(1, pairs.gts)  # (P,) each
        return metrics.mul_(best_overlap).div_(best_metric + self.eps)
