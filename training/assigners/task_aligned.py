"""Task-aligned assignment over the pairs of a box and an anchor point that can matter.

Chooses what Ultralytics' ``TaskAlignedAssigner`` chooses, and gives it the same scores to the last
bit, without its maps of all boxes of the fullest image against all anchor points.

Shapes: B images, A anchor points, C classes, G ground-truth boxes of all images, P candidate pairs.

Source: TOOD, https://arxiv.org/abs/2108.07755, section 3.2, as Ultralytics reads it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.assigners.assignment import Anchors, Assignment, SmallBoxes, Targets
from training.assigners.nearness import Overlap, ciou, lift
from training.assigners.pairs import Pairs
from training.assigners.predictions import DensePredictions, Predictions, check_shape


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseTaskAlignedAssigner:
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
    beta: float = 6.0
    eps: float = 1e-9
    """Added to a box's best metric before it divides."""
    small_boxes: SmallBoxes = "ultralytics"
    overlap: Overlap = ciou
    least_score: float = 0.0
    """Score for an overlap just above 0; that for 1 is 1, and in between it grows evenly."""

    def __post_init__(self) -> None:
        if min(self.topk, self.topk2 or self.topk, self.num_classes) < 1:
            raise ValueError("topk, topk2 and num_classes: must be 1 or more")

    def __call__(
        self, pred_scores: Tensor, pred_boxes_xyxy: Tensor, anchors: Anchors, targets: Targets
    ) -> Assignment:
        """Assign anchor points to the boxes of a batch, from tables of all predictions.

        Args:
            pred_scores: Probabilities, shape ``(B, A, C)``, of any floating type.
            pred_boxes_xyxy: Pixels, shape ``(B, A, 4)``, of any floating type.
            anchors: Anchor points of every image.
            targets: Ground truth.

        Returns:
            What :meth:`assign` returns.

        Raises:
            ValueError: The predictions are not of these shapes.
        """
        dense = DensePredictions(table_scores=pred_scores, table_boxes_xyxy=pred_boxes_xyxy)
        return self.assign(dense, anchors, targets)

    @torch.no_grad()
    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """Assign anchor points to the boxes of a batch.

        Args:
            predictions: Asked for scores and boxes at candidate pairs only.
            anchors: Anchor points of every image.
            targets: Ground truth. Boxes of one image that an anchor point overlaps alike are
                served in their order.

        Returns:
            The positives whose score is not 0, in the order of their boxes.

        Raises:
            ValueError: The predictions are for other anchor points or classes.
        """
        check_shape(predictions, len(anchors), self.num_classes)
        pairs = Pairs.of(predictions.shape[0], anchors, targets, self.small_boxes)
        scores = predictions.scores(pairs.images, pairs.points, pairs.labels)
        overlaps = self.overlap(
            pairs.boxes_xyxy, predictions.boxes_xyxy(pairs.images, pairs.points)
        ).float()
        metrics = scores.pow(self.alpha) * overlaps.pow(self.beta)
        if self.least_score:
            overlaps = lift(overlaps, self.least_score)
        positive = pairs.settled(pairs.best(metrics, self.topk), overlaps)
        if self.topk2 not in (None, self.topk):
            positive &= pairs.best(torch.where(positive, metrics, 0), self.topk2 or self.topk)
        target_scores = self._normalised(metrics, overlaps, positive, pairs)
        return pairs.assignment(target_scores != 0, target_scores, target_scores)

    def _normalised(
        self, metrics: Tensor, overlaps: Tensor, positive: Tensor, pairs: Pairs
    ) -> Tensor:
        """Target score of each pair, 0 where it is no positive, shape ``(P,)``."""
        metrics, overlaps = torch.where(positive, metrics, 0), torch.where(positive, overlaps, 0)
        most = metrics.new_zeros(2, len(pairs.targets))  # (2, G)
        most[0].scatter_reduce_(0, pairs.gts, metrics, "amax")
        most[1].scatter_reduce_(0, pairs.gts, overlaps, "amax")
        best_metric, best_overlap = most.index_select(1, pairs.gts)  # (P,) each
        return metrics.mul_(best_overlap).div_(best_metric + self.eps)
