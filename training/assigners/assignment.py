"""Anchor points, ground truth and assignments as flat lists, and the candidates of each box.

A page may contain a thousand small symbols, so a table of all boxes and anchor points is almost
empty. A box covers consecutive columns and rows of each level's grid, so the cells inside it can be
counted and listed from its corners: about ten for a notehead, whatever the size of the page.

Shapes: A anchor points, L levels, G ground-truth boxes of all images of a batch, P candidate pairs
of a box and an anchor point, M positives.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Tensor

SmallBoxes = Literal["ultralytics", "none"] | Sequence[float]
"""Minimum side of a box when its candidates are listed: shorter sides are extended to it, around
the box's centre. Pixels per level; ``ultralytics`` for the rule of Ultralytics 8.4.145 and later,
the second stride (or the only one) on every level; or ``none``."""


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

    Image indices and labels are not range-checked, because the host would wait for the GPU.
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
    them on the device."""

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
    anchors: Tensor
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
    """Copy a few numbers to the device of another tensor, without waiting for it.

    Args:
        values: Numbers, or rows of numbers.
        like: Tensor whose device is used, and whose type if ``dtype`` is None.
        dtype: Type of the new tensor.
    """
    return torch.tensor(values, dtype=dtype or like.dtype).to(like.device, non_blocking=True)


@torch.no_grad()
def candidate_pairs(
    anchors: Anchors,
    targets: Targets,
    small_boxes: SmallBoxes = "ultralytics",
    radius: float = math.inf,
) -> tuple[Tensor, Tensor]:
    """List the anchor points inside each box.

    Time and memory grow with the number of pairs, not with boxes times anchor points.

    Args:
        anchors: Anchor points of every image of the batch.
        targets: Ground truth.
        small_boxes: Minimum side of a box for this search.
        radius: Maximum distance from the box's centre in strides, along x and along y.

    Returns:
        Box and anchor point of each pair, int64, shape ``(P,)`` each, sorted by box and then by
        anchor point.
    """
    sizes = [(level.width, level.height * level.width) for level in anchors.levels]
    sizes_of_levels = on_device(sizes, targets.boxes_xyxy, torch.int64).reshape(-1, 2)  # (L, 2)
    widths, cells = sizes_of_levels.unbind(1)
    begin, n_cells = _cells_inside(anchors.levels, targets.boxes_xyxy, small_boxes, radius)
    n_columns, n_rows = n_cells.unbind(2)  # (G, L) each
    first_of_level = cells.cumsum(0) - cells  # (L,)
    first = (first_of_level + begin[..., 1] * widths + begin[..., 0]).flatten()  # (G * L,)
    # Cells between the last one inside the box in a row and the first one in the next row.
    skips = (widths - n_columns).flatten()
    runs, within = ragged_arange((n_columns * n_rows).flatten(), targets.n_pairs)  # (P,) each
    rows = within.div(n_columns.flatten().index_select(0, runs), rounding_mode="floor")
    points = within.add_(first.index_select(0, runs)).add_(rows.mul_(skips.index_select(0, runs)))
    if targets.n_pairs is not None:  # see ragged_arange
        points.clamp_(0, max(len(anchors) - 1, 0))
    return runs.div(max(len(anchors.levels), 1), rounding_mode="floor"), points


@torch.no_grad()
def candidate_counts(
    levels: Sequence[Level],
    boxes_xyxy: Tensor,
    small_boxes: SmallBoxes = "ultralytics",
    radius: float = math.inf,
) -> Tensor:
    """Count the pairs that :func:`candidate_pairs` would list.

    Args:
        levels: Grids of the anchor points of an image.
        boxes_xyxy: Ground-truth boxes in pixels, shape ``(G, 4)``.
        small_boxes: Minimum side of a box for this search.
        radius: Maximum distance from the box's centre in strides, along x and along y.

    Returns:
        Anchor points inside each box on each level, int64, shape ``(G, L)``.
    """
    _, n_cells = _cells_inside(levels, boxes_xyxy, small_boxes, radius)
    return n_cells[..., 0] * n_cells[..., 1]


def ragged_arange(counts: Tensor, total: int | None = None) -> tuple[Tensor, Tensor]:
    """Concatenate the ranges ``0, 1, ... n - 1`` for several lengths n.

    Args:
        counts: Length of each range, int64, shape ``(N,)``.
        total: Sum of ``counts`` if the host knows it, so that it need not wait for the device. A
            total computed on a CPU may differ slightly, because rounding may differ in the last
            bit: surplus elements repeat the last one, and missing ones are cut off at the end.

    Returns:
        Index of the range that each element belongs to, and the element, shape
        ``(sum of counts,)`` each.
    """
    ends = counts.cumsum(0)  # (N,)
    if total is None:
        runs = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        indices = torch.arange(len(runs), device=counts.device)
    else:
        indices = torch.arange(total, device=counts.device)
        indices = torch.minimum(indices, (ends[-1:] - 1).clamp_(min=0)) if len(counts) else indices
        runs = torch.searchsorted(ends, indices, right=True).clamp_(max=max(len(counts) - 1, 0))
    return runs, indices - (ends - counts).index_select(0, runs)


def _cells_inside(
    levels: Sequence[Level], boxes_xyxy: Tensor, small_boxes: SmallBoxes, radius: float
) -> tuple[Tensor, Tensor]:
    """Compute the first cell inside each box along x and y, and their number, ``(G, L, 2)`` each.

    A point on a side is outside. Ultralytics also excludes points within 1e-9 px of a side, but two
    different coordinates in single precision are never that close. So the cells inside follow from
    rounding the sides' positions in the grid, which double precision does exactly.
    """
    grids = [(level.stride, level.width, level.height) for level in levels]
    table = on_device(grids, boxes_xyxy, torch.float64).reshape(-1, 3)  # (L, 3)
    strides, n_cells = table[:, :1], table[:, 1:]  # (L, 1), (L, 2)
    # In single precision like Ultralytics, because the last bit decides whether a point on a side
    # is inside.
    low, high = boxes_xyxy.float()[:, None].split(2, dim=2)  # (G, 1, 2) each
    centre, sides = (low + high) / 2, high - low
    lengths = min_sides(small_boxes, [level.stride for level in levels])
    if len(set(lengths)) == 1:
        sides = torch.where(sides < lengths[0], lengths[0], sides)
    elif lengths:
        shortest = on_device(lengths, sides)[:, None]  # (L, 1)
        sides = torch.where(sides < shortest, shortest, sides)  # (G, L, 2)
    if math.isfinite(radius):
        sides = torch.minimum(sides, (2 * radius * strides).float())
    half = sides / 2
    begin = ((centre - half).double() / strides + 0.5).floor_()  # (G, L, 2)
    end = ((centre + half).double() / strides - 0.5).ceil_()
    begin, end = begin.clamp_(min=0).minimum(n_cells), end.clamp_(min=0).minimum(n_cells)
    # The sides of an infinite box are NaN: no point is inside.
    n_inside = (end - begin).clamp_(min=0).nan_to_num_(0.0)
    return begin.nan_to_num_(0.0).long(), n_inside.long()
