"""A fixed assignment: the anchor points nearest to a box's centre, whatever is predicted.

The cheapest there is, and what is meant where a training "without OTA" is spoken of: of all that
is shown, the network has no say in which point is responsible.

Source: FCOS, https://arxiv.org/abs/1904.01355, sections 3.2 and 3.3: levels by size, centre
sampling. Unlike there a contested point goes to the nearest centre, not to the smallest box: on a
page nearly all boxes are of a size.

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
    """Gives every box the anchor points of one level that lie about its centre."""

    radius: float = 1.0
    """Strides from the box's centre, along x and along y: of 1, four points."""
    level_size: float = 16.0
    """Strides that the longer side of a level's boxes has at most; the coarsest level takes the
    rest."""
    most: int | None = None
    """Points that a box takes and keeps at most, the nearest first."""

    def __post_init__(self) -> None:
        if min(self.radius, self.level_size, 1 if self.most is None else self.most) <= 0:
            raise ValueError("radius, level_size and most: must be above 0")

    def reach(self, strides: Sequence[float]) -> tuple[SmallBoxes, float]:
        """Look at the centre's neighbourhood, however small or large the box.

        Returns:
            ``small_boxes`` and ``radius``, as :func:`candidate_pairs` takes them.
        """
        return [2 * self.radius * stride for stride in strides], self.radius

    @torch.no_grad()
    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """Take the nearest points of each box; see :class:`Assigner`.

        Of the predictions only the shape is looked at. Scores and weights are 1.
        """
        check_shape(predictions, len(anchors))
        strides = [level.stride for level in anchors.levels]
        pairs = CandidatePairs.of(predictions.shape[0], anchors, targets, *self.reach(strides))
        own_stride = self._strides_of(strides, targets.boxes_xyxy.float())  # (G,)
        of_level = anchors.strides[pairs.points] == own_stride[pairs.gts]  # (P,)
        boxes = pairs.boxes_xyxy
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        distances = (anchors.points_xy[pairs.points] - centres).square_().sum(dim=1)  # (P,)
        taken = pairs.kept(of_level, distances, self.most)
        # A box of another level has no claim to a point.
        nearest = torch.where(of_level, -distances, -math.inf)
        positive = pairs.kept(pairs.settled(taken, nearest), distances, self.most)
        ones = torch.ones_like(distances)
        inside = math.ceil(2 * self.radius) ** 2
        return pairs.assignment(positive, ones, ones, min(inside, self.most or inside))

    def _strides_of(self, strides: list[float], boxes_xyxy: Tensor) -> Tensor:
        """Pixels per cell of the level that each box is for, shape ``(G,)``."""
        sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
        rising = on_device(sorted(strides), sides)  # (L,)
        return rising[torch.bucketize(sides.amax(dim=1), rising[:-1] * self.level_size)]
