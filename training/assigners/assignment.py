"""Anchor points, ground truth and assignments as flat lists.

Shapes: A anchor points, L levels, G ground-truth boxes of all images of a batch, M positives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Tensor

SmallBoxes = Literal["ultralytics", "none"] | Sequence[float]
"""Minimum side of a box when its candidates are listed: shorter sides are extended to it, around
the box's centre. One length in pixels per level; or ``ultralytics``: the second stride (or the only
one) for every level, as in Ultralytics 8.4.145 and later; or ``none``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """Grid of anchor points, one at the centre of each cell."""

    height: int
    """Number of rows."""
    width: int
    """Number of columns."""
    stride: float
    """Pixels per cell."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Anchors:
    """Anchor points of an image, sorted by level, row and column."""

    points_xy: Tensor
    """Coordinates in pixels, shape ``(A, 2)``."""
    strides: Tensor
    """Stride of each point's level in pixels, shape ``(A,)``."""
    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        n = sum(level.height * level.width for level in self.levels)
        if self.points_xy.shape != (n, 2) or self.strides.shape != (n,):
            raise ValueError(
                f"anchor points: the levels have {n} cells, but points_xy has shape "
                f"{tuple(self.points_xy.shape)} and strides {tuple(self.strides.shape)}"
            )

    def __len__(self) -> int:
        return len(self.strides)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the image in pixels."""
        first = self.levels[0]
        return first.width * first.stride, first.height * first.stride

    @classmethod
    def of_image(
        cls, imgsz: tuple[int, int], strides: Sequence[float], device: torch.device | str = "cpu"
    ) -> "Anchors":
        """Create the anchor points for a network input.

        Args:
            imgsz: Height and width in pixels, multiples of every stride.
            strides: Pixels per cell of each level, in the order of the head.
            device: Device of the tensors.

        Raises:
            ValueError: A side is not a multiple of a stride.
        """
        if any(side % stride for side in imgsz for stride in strides):
            raise ValueError(f"imgsz: {imgsz} is not a multiple of every stride of {list(strides)}")
        return cls.of_levels(levels_of(imgsz, strides), device)

    @classmethod
    def of_levels(cls, levels: Sequence[Level], device: torch.device | str = "cpu") -> "Anchors":
        """Create the anchor points of given grids.

        Args:
            levels: Grids, in the order of the head.
            device: Device of the tensors.
        """
        points, strides = [torch.empty(0, 2, device=device)], [torch.empty(0, device=device)]
        for level in levels:
            x = (torch.arange(level.width, device=device) + 0.5) * level.stride
            y = (torch.arange(level.height, device=device) + 0.5) * level.stride
            rows, columns = torch.meshgrid(y, x, indexing="ij")
            points.append(torch.stack((columns, rows), dim=-1).reshape(-1, 2))
            strides.append(points[-1].new_full((len(points[-1]),), level.stride))
        return cls(points_xy=torch.cat(points), strides=torch.cat(strides), levels=tuple(levels))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Targets:
    """Ground truth of a batch, without padding.

    Image indices and labels are not range-checked, because checking would force a GPU
    synchronisation.
    """

    images: Tensor
    """Image index of each box, int64, shape ``(G,)``, in any order."""
    labels: Tensor
    """Class of each box, int64, shape ``(G,)``."""
    boxes_xyxy: Tensor
    """Boxes in pixels of the network input, shape ``(G, 4)``; they may exceed the image."""
    n_pairs: int | None = None
    """Number of candidate pairs, counted while the boxes were in main memory. If given, an
    assignment never waits for the device, because the host can compute all shapes. None to count
    the pairs on the device."""

    def __post_init__(self) -> None:
        n = len(self.images)
        shapes = self.images.shape, self.labels.shape, self.boxes_xyxy.shape
        if shapes != ((n,), (n,), (n, 4)):
            raise ValueError(
                "targets: images, labels and boxes_xyxy have shapes "
                + ", ".join(str(tuple(shape)) for shape in shapes)
            )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Assignment:
    """Anchor points that have to predict a box (positives); all others are background.

    Each anchor point of an image occurs at most once. If the targets have ``n_pairs``, the list has
    a fixed length that the host knows, and is padded with entries of weight 0.
    """

    images: Tensor
    """Image index, int64, shape ``(M,)``."""
    points: Tensor
    """Anchor point index, int64, shape ``(M,)``."""
    gts: Tensor
    """Index of the box in the targets, int64, shape ``(M,)``."""
    scores: Tensor
    """Target score for the class of the box, 0 to 1, float32, shape ``(M,)``."""
    weights: Tensor
    """Weight in the box loss, above 0, float32, shape ``(M,)``; 0 marks padding."""

    def __len__(self) -> int:
        return len(self.images)

    def without_padding(self) -> "Assignment":
        """Remove the entries of weight 0; this makes the host wait for the device."""
        real = (self.weights > 0).nonzero().squeeze(1)
        return Assignment(**{field.name: getattr(self, field.name)[real] for field in fields(self)})


def levels_of(imgsz: tuple[int, int], strides: Sequence[float]) -> list[Level]:
    """Compute the grids of a network input, in the order of the strides.

    Args:
        imgsz: Height and width in pixels, multiples of every stride.
        strides: Pixels per cell of each level.
    """
    height, width = imgsz
    return [
        Level(height=int(height // stride), width=int(width // stride), stride=stride)
        for stride in strides
    ]


def check_small_boxes(small_boxes: object) -> None:
    """Check that a value is a valid policy for small boxes.

    Raises:
        ValueError: The value is neither a known name nor a sequence of non-negative lengths.
    """
    if isinstance(small_boxes, str):
        known = small_boxes in get_args(get_args(SmallBoxes)[0])
    else:
        known = isinstance(small_boxes, Sequence) and all(side >= 0 for side in small_boxes)
    if not known:
        raise ValueError(
            f'small_boxes: {small_boxes!r}: expected "ultralytics", "none" or a length from 0 per '
            "level"
        )


def min_sides(small_boxes: SmallBoxes, strides: Sequence[float]) -> tuple[float, ...]:
    """Convert a policy for small boxes to minimum side lengths.

    Args:
        small_boxes: Policy for small boxes.
        strides: Pixels per cell of each level, in the order of the head.

    Returns:
        Minimum width and height of a box in pixels, for each level.

    Raises:
        ValueError: The policy is invalid, or does not have one length per level.
    """
    check_small_boxes(small_boxes)
    if isinstance(small_boxes, str):
        second = strides[min(1, len(strides) - 1)] if strides else 0.0
        return (second if small_boxes == "ultralytics" else 0.0,) * len(strides)
    if len(small_boxes) != len(strides):
        raise ValueError(
            f"small_boxes: {len(small_boxes)} lengths; expected one per level ({len(strides)})"
        )
    return tuple(small_boxes)


def on_device(values: Sequence[object], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Copy a few numbers to the device of another tensor, without waiting for the copy.

    Args:
        values: Numbers, or rows of numbers.
        like: Tensor that determines the device, and the type if ``dtype`` is None.
        dtype: Type of the new tensor.
    """
    return torch.tensor(values, dtype=dtype or like.dtype).to(like.device, non_blocking=True)
