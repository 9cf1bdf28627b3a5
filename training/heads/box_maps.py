"""Sides of the boxes of all groups, worked out for a group at a time.

A head of G box branches says G times as much of its boxes as a single one: with 16 images of 640 px
and four groups, 155 MB. A prediction keeps a quarter of it, and the loss of a validation looks at a
few points. So outside of training no such table is made: a group's branch runs when its boxes are
decoded, and again, image by image, when a loss asks for some of them.

Shapes: B images, G groups, A anchor points, R bins of a distance, K channels, H and W cells of a
level, N places of an image and an anchor point.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor


class BoxMaps:
    """Stands for a table of sides of shape ``(B, G * 4 * R, A)`` that is never made.

    Args:
        branches: Of each level, an ``nn.ModuleList`` of the groups' branches.
        maps: Of each level, shape ``(B, K, H, W)``.
    """

    def __init__(self, branches: Sequence[Any], maps: Sequence[Tensor]) -> None:
        self.branches, self.maps = branches, maps
        device = maps[0].device.type
        # A loss runs in single precision, and these maps may be in half.
        self.precision = partial(
            torch.autocast,
            device,
            dtype=torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
        )

    @property
    def n_groups(self) -> int:
        """G."""
        return len(self.branches[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, G * 4 * R and A."""
        n_points = sum(level.shape[2] * level.shape[3] for level in self.maps)
        n_sides = sum(branch[-1].out_channels for branch in self.branches[0])
        return len(self.maps[0]), n_sides, n_points

    def of_group(self, group: int, maps: Sequence[Tensor] | None = None) -> Tensor:
        """Give what one group says of the sides, shape ``(B, 4 * R, A)``.

        Args:
            group: Its number.
            maps: Of each level; those of all images if None.
        """
        levels = zip(self.branches, maps or self.maps, strict=True)
        return torch.cat([own[group](level).flatten(2) for own, level in levels], dim=2)

    def at(self, images: Tensor, points: Tensor) -> Tensor:
        """Give what is said of the sides at some places, float32, shape ``(N, 4 * R)``.

        Args:
            images: Image times G plus group, shape ``(N,)``.
            points: Anchor points, shape ``(N,)``.
        """
        n_sides = self.shape[1] // self.n_groups
        found = torch.zeros(len(images), n_sides, device=points.device)
        for number in images.unique().tolist():
            image, group = divmod(number, self.n_groups)
            own = (images == number).nonzero().squeeze(1)
            with self.precision():
                sides = self.of_group(group, [level[image : image + 1] for level in self.maps])
            found[own] = sides[0].T[points[own]].float()
        return found
