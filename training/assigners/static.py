"""Static assignment: the anchor points nearest to a box's centre, independent of predictions.

The cheapest assigner, and what "without OTA" usually means: the network does not influence which
anchor points it is trained on.

Source: FCOS, https://arxiv.org/abs/1904.01355, sections 3.2 and 3.3: levels by size, centre
sampling. In contrast to FCOS a contested point goes to the nearest centre, not to the smallest box,
because nearly all boxes of a page have the same size.

Shapes: A anchor points, L levels, G ground-truth boxes of all images, P candidate pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.assigners.assigner import Assigner
from training.assigners.assignment import Anchors, Assignment, SmallBoxes, Targets, on_device
from training.assigners.candidate_pairs import CandidatePairs
from training.assigners.predictions import Predictions, check_shape


@dataclass(frozen=True, kw_only=True, slots=True)
class StaticAssigner(Assigner):
    """Assigns each box the anchor points of one level around its centre."""

    radius: float = 1.0
    """Maximum distance from the box's centre in strides, along x and y; 1 gives four points."""
    level_size: float = 16.0
    """Maximum longer side, in strides, of boxes assigned to a level; the coarsest level takes all
    larger boxes."""
    max_points: int | None = None
    """Maximum number of points that a box selects and keeps, nearest first; None for no limit."""

    def __post_init__(self) -> None:
        max_points = 1 if self.max_points is None else self.max_points
        if min(self.radius, self.level_size, max_points) <= 0:
            raise ValueError("radius, level_size and max_points: must be above 0")

    def reach(self, strides: Sequence[float]) -> tuple[SmallBoxes, float]:
        """Return the search limits: within the radius, even outside the box.

        Args:
            strides: Pixels per cell of each level, in the order of the head.

        Returns:
            The arguments ``small_boxes`` and ``radius`` of :func:`candidate_pairs.pairs_inside`.
            Every box is enlarged to cover the points within the radius.
        """
        return [2 * self.radius * stride for stride in strides], self.radius

    @torch.no_grad()
    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """Assign the nearest points of each box; see :class:`Assigner`.

        Only the shape of the predictions matters. All scores and weights are 1.
        """
        check_shape(predictions, len(anchors))
        strides = [level.stride for level in anchors.levels]
        pairs = CandidatePairs.of(predictions.shape[0], anchors, targets, *self.reach(strides))
        gt_strides = self._gt_strides(strides, targets.boxes_xyxy.float())  # (G,)
        on_level = anchors.strides[pairs.points] == gt_strides[pairs.gts]  # (P,)
        boxes = pairs.boxes_xyxy
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        distances = (anchors.points_xy[pairs.points] - centres).square_().sum(dim=1)  # (P,)
        selected = pairs.limit_per_gt(on_level, distances, self.max_points)
        # Boxes of other levels cannot win a contested point.
        priorities = torch.where(on_level, -distances, -math.inf)
        positive = pairs.resolve_conflicts(selected, priorities)
        positive = pairs.limit_per_gt(positive, distances, self.max_points)
        ones = torch.ones_like(distances)
        n_inside = math.ceil(2 * self.radius) ** 2
        return pairs.assignment(positive, ones, ones, min(n_inside, self.max_points or n_inside))

    def _gt_strides(self, strides: list[float], boxes_xyxy: Tensor) -> Tensor:
        """Look up the stride of the level that each box belongs to, shape ``(G,)``."""
        sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
        ascending = on_device(sorted(strides), sides)  # (L,)
        return ascending[torch.bucketize(sides.amax(dim=1), ascending[:-1] * self.level_size)]
