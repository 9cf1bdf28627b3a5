"""Detection heads whose classes are divided into groups.

``GroupedDetect`` has one box branch, and a class branch for each group whose logits are put back
into the order of all classes: to loss, suppression, validation and export it is a single head.
``SeparateDetect`` has a box branch for each group as well, so that one anchor point can predict a
symbol of each group.

Both are made out of a single head, which they equal at first: its class branch is cloned into
every group, and the rows of the last layer are divided among them.

Shapes: B images, C classes, G groups, A anchor points, R bins of a distance, K channels, H and W
cells of a level.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import CBAM, Conv, DWConv
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.torch_utils import initialize_weights

from training.heads.box_maps import BoxMaps
from training.heads.head_config import HeadConfig

Labels = Sequence[Sequence[int]]
"""The labels of each group; every class is in one of them."""


class Gate(nn.Module):
    """Attention over channels and places that begins as nothing: a new gate changes no output.

    Args:
        channels: K.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = CBAM(channels)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Mix a map with what the attention leaves of it, shape ``(B, K, H, W)``."""
        mixed: Tensor = x + self.share * (self.attention(x) - x)
        return mixed


class ClassTowers(nn.Module):
    """The class branches of all groups at one level.

    Args:
        branch: A single head's, which ends with a convolution to C logits.
        labels: Of each group.
        config: Width and depth of the branches, and their gate.
    """

    places: Tensor

    def __init__(self, branch: nn.Sequential, labels: Labels, config: HeadConfig) -> None:
        super().__init__()
        channels = _convolutions(branch)[0].in_channels
        gate = config.gate == "cbam"
        self.gates = nn.ModuleList(Gate(channels) if gate else nn.Identity() for _ in labels)
        self.towers = nn.ModuleList(_tower(branch, own, config) for own in labels)
        in_turn = torch.tensor([label for own in labels for label in own])
        self.register_buffer("places", in_turn.argsort(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn a level's map into the logits of all classes, shape ``(B, C, H, W)``."""
        branches = zip(self.gates, self.towers, strict=True)
        in_turn = torch.cat([tower(gate(x)) for gate, tower in branches], dim=1)
        return in_turn.index_select(1, self.places)


class BoxBranches(nn.Module):
    """The box branches of all groups at one level.

    Args:
        branch: A single head's.
        n_groups: G.
    """

    def __init__(self, branch: nn.Sequential, n_groups: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(copy.deepcopy(branch) for _ in range(n_groups))

    def forward(self, x: Tensor) -> Tensor:
        """Turn a level's map into logits of the sides, ``(B, G * 4 * R, H, W)``."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class GroupedDetect(Detect):
    """A head with a class branch for each group; make it with :func:`divided`."""

    labels: tuple[tuple[int, ...], ...]
    config: HeadConfig
    gains: Tensor
    """Weight of each class's losses, that of its group, shape ``(C,)``."""

    def divide(self, labels: Labels, config: HeadConfig) -> None:
        """Clone the branches of a single head into every group."""
        self.labels, self.config = tuple(map(tuple, labels)), config
        gains = torch.ones(self.nc)
        for own, group in zip(labels, config.groups, strict=True):
            gains[list(own)] = group.weight
        self.register_buffer("gains", gains, persistent=False)
        for name in ("cv3", "one2one_cv3"):
            branches = getattr(self, name, None)
            if branches is not None:
                towers = nn.ModuleList(ClassTowers(branch, labels, config) for branch in branches)
                setattr(self, name, towers)


class SeparateDetect(GroupedDetect):
    """A head with a box branch for each group, too; make it with :func:`divided`."""

    def divide(self, labels: Labels, config: HeadConfig) -> None:
        """Clone the branches of a single head into every group."""
        super().divide(labels, config)
        group_of = torch.empty(self.nc, dtype=torch.int64)
        for group, own in enumerate(labels):
            group_of[list(own)] = group
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
            x: Map of each level, shape ``(B, K, H, W)``.
            box_head: Box branches of each level; None after fusing.
            cls_head: Class branches of each level.

        Returns:
            ``boxes``, ``(B, G * 4 * R, A)``, outside of training as :class:`BoxMaps`;
            ``scores``, logits ``(B, C, A)``; and ``feats``.
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
        """Give the A best of all groups' predictions, in a single head's form.

        A prediction is an anchor point's box of one group with the scores of that group's classes;
        the others' are 0. There are G times A of them. Those that are left out score less, in
        their best class, than A others: suppression looks at 30,000 at most in any case.

        Returns:
            Box and scores, shape ``(B, 4 + C, A)``.
        """
        of_groups = self._boxes_of_groups(x).flatten(2)  # (B, 4, G * A)
        scores = x["scores"].sigmoid()  # (B, C, A)
        n_images, _, n_points = scores.shape
        best = torch.stack([scores[:, list(own)].amax(dim=1) for own in self.labels], dim=1)
        chosen = best.flatten(1).topk(n_points, dim=1).indices  # (B, A) of G * A
        groups, points = chosen // n_points, chosen % n_points
        boxes = of_groups.gather(2, chosen[:, None].expand(n_images, 4, n_points))
        scores = scores.gather(2, points[:, None].expand_as(scores))
        scores *= self.group_of[None, :, None] == groups[:, None]
        return torch.cat((boxes, scores), dim=1)

    def _boxes_of_groups(self, x: dict[str, Any]) -> Tensor:
        """Decode the boxes of every group, shape ``(B, 4, G, A)``."""
        sides = map(x["boxes"].of_group, range(len(self.labels)))  # (B, 4 * R, A) each, in turn
        return torch.stack([self._get_decode_boxes(x | {"boxes": own}) for own in sides], dim=2)


def divided(head: Detect, labels: Labels, config: HeadConfig) -> GroupedDetect:
    """Make a head of several groups out of a single one, which gives the same outputs.

    Args:
        head: Ultralytics' ``Detect``; its branches are taken over or cloned.
        labels: Of each group, as :meth:`HeadConfig.labels` gives them.
        config: What the branches look like. Towers of another width or depth than the single
            head's are new, and the outputs are not the same.
    """
    kind = SeparateDetect if config.box == "separate" else GroupedDetect
    new = kind.__new__(kind)
    new.__dict__.update(head.__dict__)
    for name in ("_modules", "_buffers", "_parameters"):
        setattr(new, name, dict(getattr(head, name)))
    new.divide(labels, config)
    return new


def box_branches(head: Detect) -> Iterator[Any]:
    """List the box branches of a head, by level and group; then those without suppression.

    Each is an ``nn.Sequential`` that ends with a convolution.
    """
    for name in ("cv2", "one2one_cv2"):
        for level in getattr(head, name, None) or ():
            yield from level.branches if isinstance(level, BoxBranches) else (level,)


def _of_all_levels(branches: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
    """Run a branch on each level, and put what comes out side by side, ``(B, K, A)``."""
    levels = zip(branches, maps, strict=True)
    return torch.cat([branch(level).flatten(2) for branch, level in levels], dim=2)


def clones_towers(branch: nn.Sequential, config: HeadConfig) -> bool:
    """Tell whether the groups' class branches look like a single head's, and can be its clones."""
    return (config.tower_width, config.tower_depth) == (1, len(branch) - 1)


def widen_towers(head: Detect, channels: int) -> None:
    """Make the class branches of a single head new ones of another width.

    Ultralytics chooses the width from the number of classes: that of weights for other classes may
    differ. The last layers keep their bias, and so the frequency at which classes start.

    Args:
        head: Ultralytics' ``Detect``; one of this width is left as it is.
        channels: Of every block.
    """
    for name in ("cv3", "one2one_cv3"):
        for level, branch in enumerate(getattr(head, name, None) or ()):
            if branch[-1].in_channels != channels:
                final = nn.Conv2d(channels, head.nc, 1)
                final.load_state_dict(final.state_dict() | {"bias": branch[-1].bias})
                blocks = _new_blocks(branch, channels, len(branch) - 1)
                getattr(head, name)[level] = nn.Sequential(*blocks, final)


def _tower(branch: nn.Sequential, labels: Sequence[int], config: HeadConfig) -> nn.Sequential:
    """A class branch for some of the classes."""
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


def _new_blocks(branch: nn.Sequential, width: int, depth: int) -> nn.Sequential:
    """Blocks of the kind that a branch has, in another number and width."""
    channels = _convolutions(branch)[0].in_channels
    act = next(part.act for part in branch.modules() if isinstance(part, Conv))
    blocks: list[nn.Module] = []
    for _ in range(depth):
        if isinstance(branch[0], Conv):  # as in YOLOv8
            blocks.append(Conv(channels, width, 3, act=act))
        else:
            depthwise = DWConv(channels, channels, 3, act=act)
            blocks.append(nn.Sequential(depthwise, Conv(channels, width, 1, act=act)))
        channels = width
    made = nn.Sequential(*blocks)
    initialize_weights(made)  # as Ultralytics does with every model
    return made


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]
