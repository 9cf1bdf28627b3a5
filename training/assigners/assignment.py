"""Which anchor points could be responsible for which symbol, as flat lists.

A page holds a thousand small symbols, and a map of every box against every anchor point is nearly
empty. A box covers a run of columns and a run of rows of each level's grid, so its cells can be
counted and listed straight from its corners: some ten for a notehead, whatever the page's size.

Shapes: A anchor points, L levels, G ground-truth boxes of all images of a batch, P candidate pairs
of a box and an anchor point, M pairs that were chosen, W cells about a box's side (WINDOW).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

SmallBoxes = Literal["ultralytics", "none"] | Sequence[float]
"""How far around a small box its anchor points are looked for: shorter sides are taken as this
long, about the box's centre. One length in pixels for each level; ``ultralytics``, that of
Ultralytics 8.4.145 and later: the second stride, or the only one, on every level; or ``none``."""

INSIDE = 1e-9
"""Pixels that a point has to lie within a side; Ultralytics' number."""
WINDOW = 4
"""Cells looked at about the place where a side is reckoned to be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """Grid of anchor points, one at the centre of each cell."""

    height: int
    """Cells."""
    width: int
    """Cells."""
    stride: float
    """Pixels per cell."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Anchors:
    """Anchor points of an image: level after level, row after row."""

    points_xy: Tensor
    """Pixels, shape ``(A, 2)``."""
    strides: Tensor
    """Pixels per cell of each point, shape ``(A,)``."""
    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        n = sum(level.height * level.width for level in self.levels)
        if self.points_xy.shape != (n, 2) or self.strides.shape != (n,):
            raise ValueError(
                f"anchor points: the levels have {n} cells, points_xy is of shape "
                f"{tuple(self.points_xy.shape)} and strides of {tuple(self.strides.shape)}"
            )

    def __len__(self) -> int:
        return len(self.strides)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the image, pixels."""
        first = self.levels[0]
        return first.width * first.stride, first.height * first.stride

    @classmethod
    def of_image(
        cls, imgsz: tuple[int, int], strides: Sequence[float], device: torch.device | str = "cpu"
    ) -> "Anchors":
        """Place the anchor points of a network's input.

        Args:
            imgsz: Height and width in pixels, multiples of every stride.
            strides: Pixels per cell of each level, in the head's order.
            device: Where the tensors are to lie.

        Raises:
            ValueError: A side is not a multiple of a stride.
        """
        if any(side % stride for side in imgsz for stride in strides):
            raise ValueError(f"imgsz: {imgsz} is not a multiple of every stride of {list(strides)}")
        height, width = imgsz
        return cls.of_levels(
            [
                Level(height=int(height // stride), width=int(width // stride), stride=stride)
                for stride in strides
            ],
            device,
        )

    @classmethod
    def of_levels(cls, levels: Sequence[Level], device: torch.device | str = "cpu") -> "Anchors":
        """Place the anchor points of grids that are known cell by cell.

        Args:
            levels: In the head's order.
            device: Where the tensors are to lie.
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

    That the images and labels are there is not checked: on a GPU every look costs a wait.
    """

    images: Tensor
    """Image that each box is of, int64, shape ``(G,)``, in any order."""
    labels: Tensor
    """int64, shape ``(G,)``."""
    boxes_xyxy: Tensor
    """Pixels of the network's input, shape ``(G, 4)``; they may lie beyond the image."""

    def __post_init__(self) -> None:
        n = len(self.images)
        shapes = self.images.shape, self.labels.shape, self.boxes_xyxy.shape
        if shapes != ((n,), (n,), (n, 4)):
            raise ValueError(
                "targets: images, labels and boxes_xyxy are of shape "
                + ", ".join(str(tuple(shape)) for shape in shapes)
            )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Assignment:
    """Anchor points that are to predict a box; every other one is background.

    No anchor point of an image is named twice.
    """

    images: Tensor
    """int64, shape ``(M,)``."""
    anchors: Tensor
    """Anchor point, int64, shape ``(M,)``."""
    gts: Tensor
    """Box, as its place in the targets, int64, shape ``(M,)``."""
    scores: Tensor
    """What the point is to predict for the box's class, 0 to 1, float32, shape ``(M,)``."""
    weights: Tensor
    """What the point counts in the loss of the boxes, above 0, float32, shape ``(M,)``."""

    def __len__(self) -> int:
        return len(self.images)


def check_small_boxes(small_boxes: object) -> None:
    """Refuse what is no policy for small boxes.

    Raises:
        ValueError: It is neither a known name nor lengths from 0.
    """
    if isinstance(small_boxes, str):
        known = small_boxes in get_args(get_args(SmallBoxes)[0])
    else:
        known = isinstance(small_boxes, Sequence) and all(side >= 0 for side in small_boxes)
    if not known:
        raise ValueError(
            f'small_boxes: {small_boxes!r} is neither "ultralytics" nor "none" nor lengths from 0, '
            "one for each level"
        )


def least_sides(small_boxes: SmallBoxes, strides: Sequence[float]) -> tuple[float, ...]:
    """Spell out a policy for small boxes.

    Args:
        small_boxes: The policy.
        strides: Pixels per cell of each level, in the head's order.

    Returns:
        Pixels that a box counts as wide and high at least, for each level.

    Raises:
        ValueError: There is not a length for each level, or no such policy.
    """
    check_small_boxes(small_boxes)
    if isinstance(small_boxes, str):
        second = strides[min(1, len(strides) - 1)] if strides else 0.0
        return (second if small_boxes == "ultralytics" else 0.0,) * len(strides)
    if len(small_boxes) != len(strides):
        raise ValueError(f"small_boxes: {len(small_boxes)} lengths for {len(strides)} levels")
    return tuple(small_boxes)


@torch.no_grad()
def candidate_pairs(
    anchors: Anchors,
    targets: Targets,
    small_boxes: SmallBoxes = "ultralytics",
    radius: float = math.inf,
) -> tuple[Tensor, Tensor]:
    """List the anchor points inside each box.

    Time and memory grow with the pairs, not with boxes times anchor points.

    Args:
        anchors: Anchor points of every image of the batch.
        targets: Ground truth.
        small_boxes: How far around a small box to look.
        radius: Strides from its centre, to each side, up to which to look in a large one.

    Returns:
        Box and anchor point of each pair, int64, shape ``(P,)`` each: box after box, and the
        points of a box in their order.
    """
    device = targets.boxes_xyxy.device
    (left, n_columns), (top, n_rows) = _covered(
        anchors, targets.boxes_xyxy, small_boxes, radius
    )  # (G, L) each
    sizes = [(level.width, level.height * level.width) for level in anchors.levels]
    widths, cells = torch.tensor(sizes, dtype=torch.int64, device=device).reshape(-1, 2).T  # (L,)
    first_of_level = cells.cumsum(0) - cells  # (L,)
    first = (first_of_level + top * widths + left).flatten()  # (G * L,)
    # From the last cell of a row to the first of the next are the level's width less the box's.
    skips = (widths - n_columns).flatten()
    runs, within = ragged_arange((n_columns * n_rows).flatten())  # (P,) each
    rows = within.div(n_columns.flatten().index_select(0, runs), rounding_mode="floor")
    points = within.add_(first.index_select(0, runs)).add_(rows.mul_(skips.index_select(0, runs)))
    return runs.div(max(len(anchors.levels), 1), rounding_mode="floor"), points


@torch.no_grad()
def candidate_counts(
    anchors: Anchors, boxes_xyxy: Tensor, small_boxes: SmallBoxes = "ultralytics"
) -> Tensor:
    """Count the pairs that :func:`candidate_pairs` would list, without listing them.

    Args:
        anchors: Anchor points of an image.
        boxes_xyxy: Pixels, shape ``(G, 4)``.
        small_boxes: How far around a small box to look.

    Returns:
        Anchor points of each level inside each box, int64, shape ``(G, L)``.
    """
    (_, n_columns), (_, n_rows) = _covered(anchors, boxes_xyxy, small_boxes, math.inf)
    return n_columns * n_rows


def ragged_arange(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Count from 0 in each of several runs.

    Args:
        counts: Length of each run, int64, shape ``(N,)``.

    Returns:
        Run of each element, and its place in the run, shape ``(sum of counts,)`` each.
    """
    runs = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    starts = counts.cumsum(0) - counts  # (N,)
    return runs, torch.arange(len(runs), device=counts.device) - starts.index_select(0, runs)


def _covered(
    anchors: Anchors, boxes_xyxy: Tensor, small_boxes: SmallBoxes, radius: float
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Columns and rows inside each box: the first, and how many, shape ``(G, L)`` each."""
    strides = [level.stride for level in anchors.levels]
    least = least_sides(small_boxes, strides)
    most = [2 * radius * stride for stride in strides]
    boxes = boxes_xyxy.float()
    return (
        _spans(anchors.levels, boxes[:, 0::2], least, most, "width"),
        _spans(anchors.levels, boxes[:, 1::2], least, most, "height"),
    )


def _spans(
    levels: Sequence[Level],
    low_high: Tensor,
    least: Sequence[float],
    most: Sequence[float],
    side: Literal["width", "height"],
) -> tuple[Tensor, Tensor]:
    """First cell inside each box along x or y (G, 2), and how many there are, ``(G, L)`` each."""
    strides = low_high.new_tensor([level.stride for level in levels])
    n_cells = strides.new_tensor([getattr(level, side) for level in levels], dtype=torch.int64)
    # Rounded as Ultralytics does it: a point on a side is inside or not by the last bit.
    low, high = low_high[:, :1], low_high[:, 1:]  # (G, 1) each
    centre, size = (low + high) / 2, high - low
    sides = torch.where(size < strides.new_tensor(least), strides.new_tensor(least), size)
    half = torch.minimum(sides, strides.new_tensor(most)) / 2  # (G, L)
    low, high = centre - half, centre + half
    cells = _cells_about(low, strides, n_cells)  # (G, L, W)
    points = (cells + 0.5) * strides[:, None]
    begin = cells[..., 0] + (points - low[..., None] <= INSIDE).sum(dim=-1)  # (G, L)
    cells = _cells_about(high, strides, n_cells)
    points = (cells + 0.5) * strides[:, None]
    end = cells[..., 0] + (high[..., None] - points > INSIDE).sum(dim=-1)
    begin, end = torch.minimum(begin, n_cells), torch.minimum(end, n_cells)
    # The sides of an infinite box are no numbers; no point is inside.
    known = ~(low.isnan() | high.isnan())
    return begin, (end - begin).clamp(min=0) * known


def _cells_about(side: Tensor, strides: Tensor, n_cells: Tensor) -> Tensor:
    """List the cells about a side, int64, shape ``(G, L, W)``.

    All points before them are on one side of it and all points after them on the other. In between
    rounding decides, and it is left to the caller to look.
    """
    first = (side / strides - 0.5).floor() - 1  # (G, L)
    # Before the conversion, so that a number beyond all integers stays on its side.
    first = torch.minimum(first.clamp(min=0), n_cells.to(first.dtype)).long()
    # What is no number becomes any integer.
    first = torch.minimum(first.clamp(min=0), n_cells)
    return first[..., None] + torch.arange(WINDOW, device=side.device)
