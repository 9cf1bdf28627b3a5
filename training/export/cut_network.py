"""Detection networks without decoding, as they are quantised.

Shapes: B images, S side of the input, C classes, G groups with boxes of their own, R bins of a
distance, K channels, H and W cells of a level, A anchor points.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel

from reading.decoding import Level
from training.heads.distance_bins import bin_values
from training.heads.grouped import ClassTowers, GroupedDetect, SeparateDetect, box_branches

MAX_INT8 = 127
"""Largest weight in int8, in steps; weights are symmetric, with a scale per output channel."""


class RawHead(nn.Module):
    """Branches of a detection head, whose outputs are not decoded.

    Args:
        head: Head whose branches are used.
    """

    def __init__(self, head: Detect) -> None:
        super().__init__()
        _number_as(head, self)
        self.boxes, self.scores = head.cv2, head.cv3

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the box logits and the class logits of each level, ``(B, K, H, W)``."""
        levels = zip(maps, self.boxes, self.scores, strict=True)
        return tuple(
            logits for level, box, score in levels for logits in (box(level), _logits(score, level))
        )


def _logits(branch: nn.Module, level: Tensor) -> Tensor:
    """Compute class logits in the order of :func:`channels`."""
    logits: Tensor = branch.by_group(level) if isinstance(branch, ClassTowers) else branch(level)
    return logits


class SplitConvolution(nn.Module):
    """Convolution as the sum of two, which represent its weights precisely when they are in int8.

    The first has the weights rounded to int8, the second the remainders, whose steps are finer.

    Args:
        convolution: Convolution to split.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.rounded, self.remainder = copy.deepcopy(convolution), copy.deepcopy(convolution)
        weight = convolution.weight.detach()
        step = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / MAX_INT8
        rounded = (weight / step.clamp_min(torch.finfo(step.dtype).tiny)).round() * step
        self.rounded.weight.data, self.remainder.weight.data = rounded, weight - rounded
        self.remainder.bias = None

    def forward(self, maps: Tensor) -> Tensor:
        """Apply the convolution."""
        result: Tensor = self.rounded(maps) + self.remainder(maps)
        return result


class CutNetwork(nn.Module):
    """Network that ends before the decoding; NPUs store channels last.

    Args:
        model: Model for prediction; not changed.
        is_split: Split the last convolutions of the box branches, for int8.
    """

    def __init__(self, model: DetectionModel, *, is_split: bool = False) -> None:
        super().__init__()
        self.model = _fused(model)
        head = self.model.model[-1]
        if is_split:
            for branch in box_branches(head):
                branch[-1] = SplitConvolution(branch[-1])
        self.model.model[-1] = RawHead(head)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return box logits and class logits of each level, ``(B, H, W, K)``.

        Args:
            pixels: RGB values from 0 to 1, shape ``(B, S, S, 3)``.
        """
        return tuple(logits.permute(0, 2, 3, 1) for logits in self.model(_channels_first(pixels)))


class DecodedHead(nn.Module):
    """Detection head that returns boxes and scores apart, because they need different scales.

    Args:
        head: Head with one box for all classes.
    """

    def __init__(self, head: Detect) -> None:
        super().__init__()
        _number_as(head, self)
        self.head = head

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return boxes as centre, width and height, ``(B, 4, A)``, and scores, ``(B, C, A)``."""
        raw = self.head.forward_head(list(maps), **self.head.one2many)
        return self.head._get_decode_boxes(raw), raw["scores"].sigmoid()


class DecodedNetwork(nn.Module):
    """Network with the decoding of its head.

    Args:
        model: Model for prediction; not changed.
    """

    def __init__(self, model: DetectionModel) -> None:
        super().__init__()
        self.model = _fused(model)
        self.model.model[-1] = DecodedHead(self.model.model[-1])

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes and scores of pixels, see :class:`CutNetwork` and :class:`DecodedHead`."""
        boxes, scores = self.model(_channels_first(pixels))
        return boxes, scores


def _number_as(head: Detect, new: nn.Module) -> None:
    """Give a module the number, the inputs and the kind of a head, which Ultralytics reads."""
    for name in ("i", "f", "type"):
        setattr(new, name, getattr(head, name))


def _fused(model: DetectionModel) -> Any:  # noqa: ANN401
    """Copy a model to the CPU, with batch normalisation fused into the convolutions."""
    copied = copy.deepcopy(model).cpu().eval()
    copied.end2end = False  # the branch that needs non-maximum suppression
    copied.fuse(verbose=False)
    return copied


def _channels_first(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2)


def exported_program(network: nn.Module, imgsz: int) -> torch.export.ExportedProgram:
    """Record the computation of a network for one image.

    Args:
        network: Network to record.
        imgsz: Side of its input in pixels.
    """
    pixels = torch.zeros(1, imgsz, imgsz, 3)
    with torch.no_grad():
        network.eval()(pixels)  # Ultralytics' head stores its anchor points in the first call
        return torch.export.export(network, (pixels,))


def levels(head: Detect) -> tuple[Level, ...]:
    """List the outputs of a cut network, which LiteRT numbers in their order."""
    return tuple(
        Level(stride=int(stride), boxes=f"output_{2 * i}", scores=f"output_{2 * i + 1}")
        for i, stride in enumerate(head.stride.tolist())
    )


def bins(head: Detect) -> tuple[float, ...]:
    """Return the values of a head's bins; none for a head that outputs distances."""
    return tuple(bin_values(head).tolist()) if head.reg_max > 1 else ()


def channels(head: Detect) -> tuple[int, ...]:
    """Return the label of each class logit."""
    if isinstance(head, GroupedDetect):
        return tuple(label for group in head.labels for label in group)
    return tuple(range(head.nc))


def box_groups(head: Detect) -> tuple[tuple[int, ...], ...]:
    """Return the labels that each box of a cell belongs to."""
    return head.labels if isinstance(head, SeparateDetect) else (tuple(range(head.nc)),)
