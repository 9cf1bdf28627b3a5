"""Output of a detection head, looked at only where an assigner or a loss asks.

A head gives logits for all classes and distributions for all sides at every anchor point. Most of
the points are background: their boxes are never turned into pixels here.

A head with a box branch for each group of classes predicts a box of each group at every anchor
point. To an assigner each group of each image is an image of its own: image b, group g is the image
b * G + g, and every anchor point can be responsible for a symbol of each group.

Shapes: B images, G groups, 1 of a single head, A anchor points, C classes, R bins of a distance, P
pairs of a box and an anchor point, N places of an image (of B * G) and an anchor point.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from ultralytics.utils.tal import dist2bbox

from training.assigners.assignment import Anchors
from training.assigners.predictions import once_each
from training.heads.box_maps import BoxMaps


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeadOutputs:
    """What Ultralytics' ``Detect`` returns in training, of any floating type."""

    logits: Tensor
    """Of the classes, shape ``(B, C, A)``."""
    sides: Tensor | BoxMaps
    """Logits of the bins for left, top, right and bottom, shape ``(B, G * 4 * R, A)``; of R = 1,
    the distances themselves in strides."""
    bins: Tensor
    """Strides that each bin stands for, shape ``(R,)``."""
    anchors: Anchors
    group_of: Tensor
    """Group of each class, int64, shape ``(C,)``."""
    waits: bool = True
    """Whether shapes may depend on numbers on the device, which the host then waits for."""

    @property
    def n_groups(self) -> int:
        """G."""
        return self.sides.shape[1] // (4 * len(self.bins))

    @property
    def shape(self) -> tuple[int, int, int]:
        """B * G, A and C."""
        n_images, n_classes, n_points = self.logits.shape
        return n_images * self.n_groups, n_points, n_classes

    @torch.no_grad()
    def scores(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Give the probability of one class at each place, float32, shape ``(P,)``."""
        return self.logits[self.images_of(images), labels, points].float().sigmoid_()

    @torch.no_grad()
    def class_costs(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Give the binary cross-entropy over all classes, float32, shape ``(P,)``.

        The cross-entropy against 0 is softplus(x), that against 1 is softplus(x) - x.
        """
        by_point = self.logits.transpose(1, 2)

        def of_no_class(slots: Tensor) -> Tensor:
            images, points = slots // len(self.anchors), slots % len(self.anchors)
            logits = by_point[self.images_of(images), points].float()  # (N, C)
            costs: Tensor = functional.softplus(logits)
            if self.n_groups > 1:  # other groups predict other symbols at the same place
                costs *= self.group_of == (images % self.n_groups)[:, None]
            return costs.sum(dim=1)

        none = once_each(of_no_class, images, points, self.shape, waits=self.waits)
        named = self.logits[self.images_of(images), labels, points].float()
        return none.sub_(named).clamp_(min=0)

    @torch.no_grad()
    def boxes_xyxy(self, images: Tensor, points: Tensor) -> Tensor:
        """Give the predicted box at each place, pixels, float32, shape ``(P, 4)``."""

        def decoded(slots: Tensor) -> Tensor:
            points = slots % len(self.anchors)
            boxes = self.decoded(self.sides_at(slots // len(self.anchors), points), points)
            return boxes * self.anchors.strides[points, None]

        return once_each(decoded, images, points, self.shape, waits=self.waits)

    def images_of(self, images: Tensor) -> Tensor:
        """Give the image that each image of a group belongs to, shape ``(P,)``."""
        return images // self.n_groups if self.n_groups > 1 else images

    def sides_at(self, images: Tensor, points: Tensor) -> Tensor:
        """Give what the head says of the sides at some places, float32, ``(N, 4, R)``."""
        if isinstance(self.sides, BoxMaps):
            found = self.sides.at(images, points)
        else:
            of_groups = self.sides.unflatten(1, (self.n_groups, -1)).flatten(0, 1)
            found = of_groups.transpose(1, 2)[images, points]  # of (B * G, A, 4 * R)
        sides: Tensor = found.float().view(len(images), 4, len(self.bins))
        return sides

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
