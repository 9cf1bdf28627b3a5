"""Task-aligned assignment over candidate pairs.

A candidate pair is a ground-truth box and an anchor point inside it; see
:mod:`training.assigners.candidate_pairs`. Only these points can be assigned to the box.

Selects the same anchor points as Ultralytics' ``TaskAlignedAssigner``, with bit-identical scores,
but without its tables of all anchor points and all boxes, padded to the fullest image.
Only ties between exactly equal metrics may be broken differently;
:mod:`training.assigners.torch_ties` breaks them as Ultralytics does.

Shapes: B images, A anchor points, C classes, G ground-truth boxes of all images, P candidate pairs.

Source: TOOD, https://arxiv.org/abs/2108.07755, section 3.2, as implemented by Ultralytics.
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
from training.assigners.similarity import (
    Similarity,
    SimilarityByClass,
    ciou,
    raise_scores,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseTaskAlignedAssigner(Assigner):
    """Assigns each box the anchor points that predict its class and position best.

    The metric of a pair is ``score^alpha * similarity^beta``. Each box selects the ``topk`` pairs
    with the highest metrics. An anchor point that several boxes select goes to the box most similar
    to the box predicted there, among all boxes that contain the point. A box's best pair gets as
    its target score the highest similarity among the pairs that the box keeps, mapped linearly from
    0..1 to ``min_score``..1; the scores of the others are lower in proportion to their metric.

    The defaults are those of Ultralytics' loss; in training,
    :class:`training.losses.loss_options.LossOptions` replaces these defaults.
    """

    topk: int = 10
    """Maximum number of points that a box selects."""
    topk2: int | None = None
    """Maximum number of points that a box keeps after conflicts; no limit if None or ``topk``."""
    num_classes: int
    alpha: float = 0.5
    beta: float | Tensor = 6.0
    """Exponent of the similarity: one number, or one per class, shape ``(C,)``."""
    eps: float = 1e-9
    """Added to the best metric of a box before dividing by it."""
    small_boxes: SmallBoxes = "ultralytics"
    similarity: Similarity | SimilarityByClass = ciou
    min_score: float = 0.0
    """Score for a similarity just above 0, from which it grows linearly to 1."""

    def __post_init__(self) -> None:
        check_small_boxes(self.small_boxes)
        if min(self.topk, self.topk2 or self.topk, self.num_classes) < 1:
            raise ValueError("topk, topk2 and num_classes: must be 1 or more")

    def reach(self, _strides: Sequence[float]) -> tuple[SmallBoxes, float]:
        """Return limits that make every point inside a box a candidate.

        Returns:
            The arguments ``small_boxes`` and ``radius`` of :func:`candidate_pairs.pairs_inside`;
            small boxes are enlarged, and the distance from the centre is not limited.
        """
        return self.small_boxes, math.inf

    def select(self, pairs: CandidatePairs, metrics: Tensor, k: int) -> Tensor:
        """Mark the k best pairs of each box, shape ``(P,)``."""
        return pairs.stable_topk(metrics, k)

    @torch.no_grad()
    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """Assign the best points of each box; see :class:`Assigner`.

        Pairs whose target score is 0, because their similarity is 0, are not positive.
        """
        check_shape(predictions, len(anchors), self.num_classes)
        strides = [level.stride for level in anchors.levels]
        pairs = CandidatePairs.of(predictions.shape[0], anchors, targets, *self.reach(strides))
        scores = predictions.scores(pairs.images, pairs.points, pairs.labels)
        pred_boxes_xyxy = predictions.boxes_xyxy(pairs.images, pairs.points)
        similarities = pairs.similarities(self.similarity, pred_boxes_xyxy).float()
        beta = self.beta
        if isinstance(beta, Tensor):
            beta = beta.index_select(0, pairs.labels)
        metrics = scores.pow(self.alpha) * similarities.pow(beta)
        if self.min_score:  # for conflicts and target scores, not for the metrics
            similarities = raise_scores(similarities, self.min_score)
        positive = pairs.resolve_conflicts(self.select(pairs, metrics, self.topk), similarities)
        max_per_gt = min(self.topk, self.topk2 or self.topk)
        if self.topk2 not in (None, self.topk):
            positive &= self.select(
                pairs, torch.where(positive, metrics, 0), self.topk2 or self.topk
            )
        target_scores = self._target_scores(metrics, similarities, positive, pairs)
        return pairs.assignment(target_scores != 0, target_scores, target_scores, max_per_gt)

    def _target_scores(
        self, metrics: Tensor, similarities: Tensor, positive: Tensor, pairs: CandidatePairs
    ) -> Tensor:
        """Compute the target score of each pair, 0 if it is not positive, shape ``(P,)``."""
        metrics = torch.where(positive, metrics, 0)
        similarities = torch.where(positive, similarities, 0)
        highest = metrics.new_zeros(2, len(pairs.targets))  # (2, G)
        highest[0].scatter_reduce_(0, pairs.gts, metrics, "amax")
        highest[1].scatter_reduce_(0, pairs.gts, similarities, "amax")
        best_metric, best_similarity = highest.index_select(1, pairs.gts)  # (P,) each
        return metrics.mul_(best_similarity).div_(best_metric + self.eps)
