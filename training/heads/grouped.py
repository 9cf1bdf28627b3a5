"""Detection heads whose classes are divided into groups.

``GroupedDetect`` has one box branch and a class branch per group. The logits are returned in the
order of all classes, so that loss, NMS, validation and export treat it as a single head.
``SeparateDetect`` also has a box branch per group, so that an anchor point can predict a symbol of
each group.

Both are made from a single head and have the same outputs at first: its class branch is cloned for
every group, and the rows of the last layer are divided among the clones.

Shapes: B images, C classes, G groups, A anchor points, R bins of a distance, K channels, H and W
cells of a level.
"""

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import CBAM, Conv, DWConv
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.torch_utils import initialize_weights

from settings.head_config import HeadConfig
from training.heads.box_maps import BoxMaps

GROUP = re.compile(r"\.(towers|branches)\.\d+")
"""Index of a group's branch in the name of a tensor or a layer."""

Labels = Sequence[Sequence[int]]
"""Labels of each group; every class belongs to exactly one group."""


class Gate(nn.Module):
    """Attention over channels and positions, which is initially the identity.

    Args:
        channels: Number of channels, K.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = CBAM(channels)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Interpolate between a map and the attention's output, shape ``(B, K, H, W)``."""
        mixed: Tensor = x + self.share * (self.attention(x) - x)
        return mixed


class ClassTowers(nn.Module):
    """Class branches of all groups at one level.

    Args:
        branch: Class branch of a single head, which ends with a convolution to C logits.
        labels: Labels of each group.
        config: Head config with width, depth and gate of the branches.
    """

    places: Tensor

    def __init__(self, branch: nn.Sequential, labels: Labels, config: HeadConfig) -> None:
        super().__init__()
        channels = _convolutions(branch)[0].in_channels
        gate = config.gate == "cbam"
        self.gates = nn.ModuleList(Gate(channels) if gate else nn.Identity() for _ in labels)
        self.towers = nn.ModuleList(_tower(branch, group, config) for group in labels)
        by_group = torch.tensor([label for group in labels for label in group])
        self.register_buffer("places", by_group.argsort(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of all classes from a level's map, shape ``(B, C, H, W)``."""
        branches = zip(self.gates, self.towers, strict=True)
        by_group = torch.cat([tower(gate(x)) for gate, tower in branches], dim=1)
        return by_group.index_select(1, self.places)


class BoxBranches(nn.Module):
    """Box branches of all groups at one level.

    Args:
        branch: Box branch of a single head.
        n_groups: Number of groups, G.
    """

    def __init__(self, branch: nn.Sequential, n_groups: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(copy.deepcopy(branch) for _ in range(n_groups))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of the sides from a level's map, ``(B, G * 4 * R, H, W)``."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class GroupedDetect(Detect):
    """Head with a class branch per group, made by :func:`divided`."""

    labels: tuple[tuple[int, ...], ...]
    config: HeadConfig
    gains: Tensor
    """Loss weight of each class, taken from its group, shape ``(C,)``."""

    def divide(self, labels: Labels, config: HeadConfig) -> None:
        """Clone the class branches of a single head for every group."""
        self.labels, self.config = tuple(map(tuple, labels)), config
        gains = torch.ones(self.nc)
        for group_labels, group in zip(labels, config.groups, strict=True):
            gains[list(group_labels)] = group.weight
        self.register_buffer("gains", gains, persistent=False)
        for name in ("cv3", "one2one_cv3"):
            branches = getattr(self, name, None)
            if branches is not None:
                towers = nn.ModuleList(ClassTowers(branch, labels, config) for branch in branches)
                setattr(self, name, towers)


class SeparateDetect(GroupedDetect):
    """Head with a class branch and a box branch per group, made by :func:`divided`."""

    def divide(self, labels: Labels, config: HeadConfig) -> None:
        """Clone the class and box branches of a single head for every group."""
        super().divide(labels, config)
        group_of = torch.empty(self.nc, dtype=torch.int64)
        for group, group_labels in enumerate(labels):
            group_of[list(group_labels)] = group
        self.register_buffer("group_of", group_of, persistent=False)
        for name in ("cv2", "one2one_cv2"):
            branches = getattr(self, name, None)
            if branches is not None:
                boxes = nn.ModuleList(BoxBranches(branch, len(labels)) for branch in branches)
                setattr(self, name, boxes)

    def forward_head(
        self,
        x: list[Tensor],
        box_head: nn.ModuleList | None = None,
        cls_head: nn.ModuleList | None = None,
    ) -> dict[str, Any]:
        """Apply the branches to all levels.

        Args:
            x: Feature map of each level, shape ``(B, K, H, W)``.
            box_head: Box branches of each level; None after fusing.
            cls_head: Class branches of each level; None after fusing.

        Returns:
            Dictionary with ``boxes``, ``(B, G * 4 * R, A)``, or :class:`BoxMaps` outside of
            training; ``scores``, logits ``(B, C, A)``; and ``feats``, the feature maps.
        """
        if box_head is None or cls_head is None:
            return {}
        boxes = (
            _of_all_levels(box_head, x)
            if self.training
            else BoxMaps([level.branches for level in box_head], x)
        )
        return {"boxes": boxes, "scores": _of_all_levels(cls_head, x), "feats": x}

    def _inference(self, x: dict[str, Any]) -> Tensor:
        """Return the A best predictions of all groups, in the format of a single head.

        Each of the G times A predictions is an anchor point's box for one group with the scores of
        that group's classes, and 0 for all other classes. A discarded prediction has a lower score
        in its best class than A others; NMS reads at most 30,000 predictions in any case.

        Returns:
            Boxes and scores, shape ``(B, 4 + C, A)``.
        """
        group_boxes = self._boxes_of_groups(x).flatten(2)  # (B, 4, G * A)
        scores = x["scores"].sigmoid()  # (B, C, A)
        n_images, _, n_points = scores.shape
        best = torch.stack([scores[:, list(group)].amax(dim=1) for group in self.labels], dim=1)
        chosen = best.flatten(1).topk(n_points, dim=1).indices  # (B, A) of G * A
        groups, points = chosen // n_points, chosen % n_points
        boxes = group_boxes.gather(2, chosen[:, None].expand(n_images, 4, n_points))
        scores = scores.gather(2, points[:, None].expand_as(scores))
        scores *= self.group_of[None, :, None] == groups[:, None]
        return torch.cat((boxes, scores), dim=1)

    def _boxes_of_groups(self, x: dict[str, Any]) -> Tensor:
        """Decode the boxes of every group, shape ``(B, 4, G, A)``."""
        groups = map(x["boxes"].of_group, range(len(self.labels)))  # (B, 4 * R, A) each, lazily
        return torch.stack(
            [self._get_decode_boxes(x | {"boxes": sides}) for sides in groups], dim=2
        )


def divided(head: Detect, labels: Labels, config: HeadConfig) -> GroupedDetect:
    """Make a head of several groups from a single head, with the same outputs.

    Args:
        head: Ultralytics' ``Detect``, whose branches are reused or cloned.
        labels: Labels of each group, see :meth:`HeadConfig.labels`.
        config: Structure of the branches. Towers with another width or depth than those of the
            single head start untrained, and then the outputs differ.
    """
    kind = SeparateDetect if config.box == "separate" else GroupedDetect
    new = kind.__new__(kind)
    new.__dict__.update(head.__dict__)
    for name in ("_modules", "_buffers", "_parameters"):
        setattr(new, name, dict(getattr(head, name)))
    new.divide(labels, config)
    return new


def box_branches(head: Detect) -> Iterator[Any]:
    """Yield the box branches of a head by level and group, then the NMS-free box branches.

    Each branch is an ``nn.Sequential`` that ends with a convolution.
    """
    for name in ("cv2", "one2one_cv2"):
        for level in getattr(head, name, None) or ():
            yield from level.branches if isinstance(level, BoxBranches) else (level,)


def _of_all_levels(branches: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
    """Apply the branch of each level, and concatenate the outputs, ``(B, K, A)``."""
    levels = zip(branches, maps, strict=True)
    return torch.cat([branch(level).flatten(2) for branch, level in levels], dim=2)


def clones_towers(branch: nn.Sequential, config: HeadConfig) -> bool:
    """Check whether the class branches of a config can be clones of a single head's branch."""
    return (config.tower_width, config.tower_depth) == (1, len(branch) - 1)


def widen_towers(head: Detect, channels: int) -> None:
    """Replace the class branches of a single head with new branches of another width.

    Ultralytics derives the width from the number of classes, so that weights for other classes may
    have another width. The last layers keep their bias, and with it the initial class frequencies.

    Args:
        head: Ultralytics' ``Detect``; unchanged if it already has this width.
        channels: Channels of every block.
    """
    for name in ("cv3", "one2one_cv3"):
        for level, branch in enumerate(getattr(head, name, None) or ()):
            if branch[-1].in_channels != channels:
                final = nn.Conv2d(channels, head.nc, 1)
                final.load_state_dict(final.state_dict() | {"bias": branch[-1].bias})
                blocks = _new_blocks(branch, channels, len(branch) - 1)
                getattr(head, name)[level] = nn.Sequential(*blocks, final)


def use_depthwise_towers(head: Detect) -> None:
    """Replace the class branches of a single head with the depthwise ones since YOLO11.

    Ultralytics chooses them if the model has a block of YOLO11 or later before its head.

    Args:
        head: Ultralytics' ``Detect``; unchanged if its class branches are depthwise.
    """
    for level, branch in enumerate(head.cv3):
        if isinstance(branch[0], Conv):
            blocks = _new_blocks(branch, branch[-1].in_channels, 2, depthwise=True)
            head.cv3[level] = nn.Sequential(*blocks, branch[-1])
            if one2one := getattr(head, "one2one_cv3", None):  # starts as a copy
                one2one[level] = nn.Sequential(*copy.deepcopy(blocks), one2one[level][-1])


def _tower(branch: nn.Sequential, labels: Sequence[int], config: HeadConfig) -> nn.Sequential:
    """Make a class branch for the classes of a group."""
    last = _convolutions(branch)[-1]
    if clones_towers(branch, config):
        blocks = copy.deepcopy(branch[:-1])
    else:
        width = max(8, round(last.in_channels * config.tower_width / 8) * 8)
        blocks = _new_blocks(branch, width, config.tower_depth)
    final = nn.Conv2d(_convolutions(blocks)[-1].out_channels, len(labels), 1)
    rows = list(labels)
    state = final.state_dict() | {"bias": last.bias[rows]}  # type: ignore[index]
    if final.in_channels == last.in_channels:
        state["weight"] = last.weight[rows]
    final.load_state_dict(state)
    return nn.Sequential(*blocks, final)


def _new_blocks(
    branch: nn.Sequential, width: int, depth: int, *, depthwise: bool | None = None
) -> nn.Sequential:
    """Make new blocks with another depth and width, by default of the same kind as a branch's."""
    channels = _convolutions(branch)[0].in_channels
    if depthwise is None:
        depthwise = not isinstance(branch[0], Conv)  # YOLOv8
    act = next(part.act for part in branch.modules() if isinstance(part, Conv))
    blocks: list[nn.Module] = []
    for _ in range(depth):
        if depthwise:
            per_channel = DWConv(channels, channels, 3, act=act)
            blocks.append(nn.Sequential(per_channel, Conv(channels, width, 1, act=act)))
        else:
            blocks.append(Conv(channels, width, 3, act=act))
        channels = width
    new = nn.Sequential(*blocks)
    initialize_weights(new)  # as in every model of Ultralytics
    return new


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]
