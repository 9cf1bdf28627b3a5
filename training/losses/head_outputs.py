"""Output of a detection head, decoded only where an assigner or a loss needs it.

At every anchor point, a head outputs class logits and a distance distribution per box side. Most of
the points are background, whose boxes are never decoded.

A head with a box branch per group of classes predicts one box per group at every anchor point. An
assigner treats each group of each image as a separate image: group g of image b is image b * G + g.
So an anchor point can be assigned to one symbol of each group.

Shapes: B images, G groups of classes (1 for a single head), A anchor points, C classes, R bins of a
distance, P pairs of a box and an anchor point, N slots, each an anchor point of one of the B * G
images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from ultralytics.utils.tal import dist2bbox

from training.assigners.assignment import Anchors
from training.assigners.predictions import per_distinct_slot
from training.heads.box_maps import BoxMaps


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeadOutputs:
    """Output of Ultralytics' ``Detect`` in training, of any floating-point type."""

    logits: Tensor
    """Class logits, shape ``(B, C, A)``."""
    sides: Tensor | BoxMaps
    """Logits of the bins for left, top, right and bottom, shape ``(B, G * 4 * R, A)``; the
    distances in strides if R is 1."""
    bins: Tensor
    """Distance of each bin in strides, shape ``(R,)``."""
    anchors: Anchors
    group_of: Tensor
    """Group of each class, int64, shape ``(C,)``."""
    waits: bool = True
    """Whether some shapes depend on values on the device, which forces a synchronisation."""

    @property
    def n_groups(self) -> int:
        """Number of groups, G."""
        return self.sides.shape[1] // (4 * len(self.bins))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of images times groups (B * G), of anchor points (A) and of classes (C)."""
        n_images, n_classes, n_points = self.logits.shape
        return n_images * self.n_groups, n_points, n_classes

    @torch.no_grad()
    def scores(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Return the probability of each pair's class, float32, shape ``(P,)``."""
        return self.logits[self.images_of(images), labels, points].float().sigmoid_()

    @torch.no_grad()
    def class_costs(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross-entropy, summed over all classes, float32, shape ``(P,)``.

        The cross-entropy for target 0 is softplus(x), for target 1 it is softplus(x) - x.
        """
        by_point = self.logits.transpose(1, 2)

        def background_cost(slots: Tensor) -> Tensor:
            images, points = slots // len(self.anchors), slots % len(self.anchors)
            logits = by_point[self.images_of(images), points].float()  # (N, C)
            costs: Tensor = functional.softplus(logits)
            if self.n_groups > 1:  # other groups may predict other symbols at the same point
                costs *= self.group_of == (images % self.n_groups)[:, None]
            return costs.sum(dim=1)

        costs = per_distinct_slot(background_cost, images, points, self.shape, waits=self.waits)
        logits = self.logits[self.images_of(images), labels, points].float()
        return costs.sub_(logits).clamp_(min=0)

    @torch.no_grad()
    def boxes_xyxy(self, images: Tensor, points: Tensor) -> Tensor:
        """Return the predicted box of each pair in pixels, float32, shape ``(P, 4)``."""

        def distances(slots: Tensor) -> Tensor:
            sides = self.sides_at(slots // len(self.anchors), slots % len(self.anchors))
            return self.distances(sides)

        decoded = per_distinct_slot(distances, images, points, self.shape, waits=self.waits)
        return self.boxes(decoded, points) * self.anchors.strides[points, None]

    def images_of(self, images: Tensor) -> Tensor:
        """Map each index b * G + g back to its image b, shape ``(P,)``."""
        return images // self.n_groups if self.n_groups > 1 else images

    def sides_at(self, images: Tensor, points: Tensor) -> Tensor:
        """Return the logits (or distances) of the sides at slots, float32, ``(N, 4, R)``."""
        if isinstance(self.sides, BoxMaps):
            rows = self.sides.at(images, points)
        else:
            group_sides = self.sides.unflatten(1, (self.n_groups, -1)).flatten(0, 1)
            rows = group_sides.transpose(1, 2)[images, points]  # from (B * G, A, 4 * R)
        sides: Tensor = rows.float().view(len(images), 4, len(self.bins))
        return sides

    def distances(self, sides: Tensor) -> Tensor:
        """Decode distributions to distances.

        Args:
            sides: Logits (or distances) of the sides, shape ``(N, 4, R)``.

        Returns:
            Distances of the sides from the anchor point in strides, shape ``(N, 4)``.
        """
        return sides[..., 0] if len(self.bins) == 1 else sides.softmax(dim=2) @ self.bins

    def boxes(self, distances: Tensor, points: Tensor) -> Tensor:
        """Return boxes xyxy in strides of each point's level, shape ``(N, 4)``.

        Args:
            distances: Distances of the sides in strides, shape ``(N, 4)``.
            points: Anchor point of each row, shape ``(N,)``.
        """
        boxes: Tensor = dist2bbox(distances, self.centres(points), xywh=False)
        return boxes

    def centres(self, points: Tensor) -> Tensor:
        """Return coordinates of anchor points in strides of their level, shape ``(N, 2)``."""
        return self.anchors.points_xy[points] / self.anchors.strides[points, None]
