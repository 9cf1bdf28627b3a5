"""Output of a detection head, looked at only where an assigner or a loss asks.

A head gives logits for all classes and distributions for all sides at every anchor point. Most of
the points are background: their boxes are never turned into pixels here.

Shapes: B images, A anchor points, C classes, R bins of a distance, P pairs of a box and an anchor
point, N places of an image and an anchor point.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from ultralytics.utils.tal import dist2bbox

from training.assigners.assignment import Anchors
from training.assigners.predictions import once_each


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeadOutputs:
    """What Ultralytics' ``Detect`` returns in training, of any floating type."""

    logits: Tensor
    """Of the classes, shape ``(B, C, A)``."""
    sides: Tensor
    """Logits of the bins for left, top, right and bottom, shape ``(B, 4 * R, A)``; of R = 1, the
    distances themselves in strides."""
    bins: Tensor
    """Strides that each bin stands for, shape ``(R,)``."""
    anchors: Anchors

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, A and C."""
        n_images, n_classes, n_points = self.logits.shape
        return n_images, n_points, n_classes

    @torch.no_grad()
    def scores(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Give the probability of one class at each place, float32, shape ``(P,)``."""
        return self.logits[images, labels, points].float().sigmoid_()

    @torch.no_grad()
    def class_costs(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Give the binary cross-entropy over all classes, float32, shape ``(P,)``.

        The cross-entropy against 0 is softplus(x), that against 1 is softplus(x) - x.
        """
        by_point = self.logits.transpose(1, 2)

        def of_no_class(slots: Tensor) -> Tensor:
            logits = by_point[slots // len(self.anchors), slots % len(self.anchors)]  # (N, C)
            return functional.softplus(logits.float()).sum(dim=1)

        none = once_each(of_no_class, images, points, self.shape)
        return none.sub_(self.logits[images, labels, points].float()).clamp_(min=0)

    @torch.no_grad()
    def boxes_xyxy(self, images: Tensor, points: Tensor) -> Tensor:
        """Give the predicted box at each place, pixels, float32, shape ``(P, 4)``."""

        def decoded(slots: Tensor) -> Tensor:
            points = slots % len(self.anchors)
            boxes = self.decoded(self.sides_at(slots // len(self.anchors), points), points)
            return boxes * self.anchors.strides[points, None]

        return once_each(decoded, images, points, self.shape)

    def sides_at(self, images: Tensor, points: Tensor) -> Tensor:
        """Give what the head says of the sides at some places, float32, ``(N, 4, R)``."""
        found = self.sides.transpose(1, 2)[images, points]
        return found.float().view(len(images), 4, len(self.bins))

    def decoded(self, sides: Tensor, points: Tensor) -> Tensor:
        """Turn distributions of some places into boxes.

        Args:
            sides: Shape ``(N, 4, R)``.
            points: Shape ``(N,)``.

        Returns:
            xyxy in strides of each point's level, shape ``(N, 4)``.
        """
        distances = sides[..., 0] if len(self.bins) == 1 else sides.softmax(dim=2) @ self.bins
        boxes: Tensor = dist2bbox(distances, self.centres(points), xywh=False)
        return boxes

    def centres(self, points: Tensor) -> Tensor:
        """Place some anchor points, in strides of their level, shape ``(N, 2)``."""
        return self.anchors.points_xy[points] / self.anchors.strides[points, None]
