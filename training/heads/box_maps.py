"""Box sides of all groups, computed on demand for one group at a time.

A head with G box branches outputs G times as many box logits as a single head: 155 MB for 16 images
of 640 px and four groups. Prediction keeps a quarter of them, and the validation loss reads them at
a few anchor points only. So outside of training no such table is made: the branch of a group runs
when its boxes are decoded, and again for images with points that a loss reads.

Shapes: B images, G groups, A anchor points, R bins of a distance, K channels, H and W cells of a
level, N slots, each an anchor point of an image.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor


class BoxMaps:
    """Lazy replacement of a table of sides of shape ``(B, G * 4 * R, A)``.

    Args:
        branches: Box branches of all groups, an ``nn.ModuleList`` per level.
        maps: Feature map of each level, shape ``(B, K, H, W)``.
    """

    def __init__(self, branches: Sequence[Any], maps: Sequence[Tensor]) -> None:
        self.branches, self.maps = branches, maps
        device = maps[0].device.type
        # The maps may be in half precision, although the loss disables autocast.
        self.precision = partial(
            torch.autocast,
            device,
            dtype=torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
        )

    @property
    def n_groups(self) -> int:
        """Number of groups, G."""
        return len(self.branches[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape ``(B, G * 4 * R, A)`` of the table of all groups."""
        n_points = sum(level.shape[2] * level.shape[3] for level in self.maps)
        n_sides = sum(branch[-1].out_channels for branch in self.branches[0])
        return len(self.maps[0]), n_sides, n_points

    def of_group(self, group: int, maps: Sequence[Tensor] | None = None) -> Tensor:
        """Compute the sides of one group, shape ``(B, 4 * R, A)``.

        Args:
            group: Index of the group.
            maps: Feature map of each level; None for those of all images.
        """
        levels = zip(self.branches, maps or self.maps, strict=True)
        return torch.cat([groups[group](level).flatten(2) for groups, level in levels], dim=2)

    def at(self, images: Tensor, points: Tensor) -> Tensor:
        """Compute the sides at slots, float32, shape ``(N, 4 * R)``.

        Args:
            images: Image times G plus group, shape ``(N,)``.
            points: Anchor points, shape ``(N,)``.
        """
        n_sides = self.shape[1] // self.n_groups
        rows = torch.zeros(len(images), n_sides, device=points.device)
        for number in images.unique().tolist():
            image, group = divmod(number, self.n_groups)
            indices = (images == number).nonzero().squeeze(1)
            with self.precision():
                sides = self.of_group(group, [level[image : image + 1] for level in self.maps])
            rows[indices] = sides[0].T[points[indices]].float()
        return rows
