"""Which anchor points could be responsible for which symbol, as flat lists.

A page holds a thousand small symbols, and a map of every box against every anchor point is nearly
empty. A box covers a run of columns and a run of rows of each level's grid, so its cells can be
counted and listed straight from its corners: some ten for a notehead, whatever the page's size.

Shapes: A anchor points, L levels, G ground-truth boxes of all images of a batch, P candidate pairs
of a box and an anchor point, M pairs that were chosen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Tensor

SmallBoxes = Literal["ultralytics", "none"] | Sequence[float]
"""How far around a small box its anchor points are looked for: shorter sides are taken as this
long, about the box's centre. One length in pixels for each level; ``ultralytics``, that of
Ultralytics 8.4.145 and later: the second stride, or the only one, on every level; or ``none``."""


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
        return cls.of_levels(levels_of(imgsz, strides), device)

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
    n_pairs: int | None = None
    """Number of candidate pairs, counted where the boxes were in main memory. With it no step of
    an assignment waits for the device: every shape follows from numbers that the host knows. None
    to ask the device."""

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

    Each anchor point of an image occurs once at most. With a known ``n_pairs`` the length of the
    list is one that the host knows, and entries of weight 0 fill it up.
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
    """Weight of the point in the loss of the boxes, above 0, float32, shape ``(M,)``; 0 marks an
    entry that only fills the list."""

    def __len__(self) -> int:
        return len(self.images)

    def without_filling(self) -> "Assignment":
        """Drop the entries of weight 0; waits for the device."""
        kept = (self.weights > 0).nonzero().squeeze(1)
        return Assignment(**{field.name: getattr(self, field.name)[kept] for field in fields(self)})


def levels_of(imgsz: tuple[int, int], strides: Sequence[float]) -> list[Level]:
    """Describe the grids of a network's input, in the order of the strides.

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


def on_device(values: Sequence[object], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Copy a few numbers to where another tensor is, without waiting for the device.

    Args:
        values: Numbers, or rows of numbers.
        like: Tensor whose device is used, and whose type unless ``dtype`` is given.
        dtype: Type of the numbers.
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
    sizes = [(level.width, level.height * level.width) for level in anchors.levels]
    sizes_of_levels = on_device(sizes, targets.boxes_xyxy, torch.int64).reshape(-1, 2)  # (L, 2)
    widths, cells = sizes_of_levels.unbind(1)
    begin, n_cells = _covered(anchors.levels, targets.boxes_xyxy, small_boxes, radius)
    n_columns, n_rows = n_cells.unbind(2)  # (G, L) each
    first_of_level = cells.cumsum(0) - cells  # (L,)
    first = (first_of_level + begin[..., 1] * widths + begin[..., 0]).flatten()  # (G * L,)
    # From the last cell of a row to the first of the next are the level's width less the box's.
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
    """Count the pairs that :func:`candidate_pairs` would list, without listing them.

    Args:
        levels: Grids of the anchor points of an image.
        boxes_xyxy: Pixels, shape ``(G, 4)``.
        small_boxes: How far around a small box to look.
        radius: Strides from its centre, to each side, up to which to look in a large one.

    Returns:
        Anchor points of each level inside each box, int64, shape ``(G, L)``.
    """
    _, n_cells = _covered(levels, boxes_xyxy, small_boxes, radius)
    return n_cells[..., 0] * n_cells[..., 1]


def ragged_arange(counts: Tensor, total: int | None = None) -> tuple[Tensor, Tensor]:
    """Count from 0 in each of several runs.

    Args:
        counts: Length of each run, int64, shape ``(N,)``.
        total: Sum of ``counts`` if the host knows it, which then does not wait for the device. It
            was computed on a CPU, whose rounding may differ in the last bit, so a total that is
            slightly off is accepted: extra elements repeat the last one, missing ones are the last.

    Returns:
        Run of each element, and its place in the run, shape ``(sum of counts,)`` each.
    """
    ends = counts.cumsum(0)  # (N,)
    if total is None:
        runs = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        places = torch.arange(len(runs), device=counts.device)
    else:
        places = torch.arange(total, device=counts.device)
        places = torch.minimum(places, (ends[-1:] - 1).clamp_(min=0)) if len(counts) else places
        runs = torch.searchsorted(ends, places, right=True).clamp_(max=max(len(counts) - 1, 0))
    return runs, places - (ends - counts).index_select(0, runs)


def _covered(
    levels: Sequence[Level], boxes_xyxy: Tensor, small_boxes: SmallBoxes, radius: float
) -> tuple[Tensor, Tensor]:
    """First cell inside each box along x and y, and how many there are, ``(G, L, 2)`` each.

    A point on a side is outside. Ultralytics counts points within 1e-9 px of a side as on it, but
    no two coordinates in single precision are that close. So the cells inside follow from rounding
    the sides' positions in the grid, which double precision does exactly.
    """
    grids = [(level.stride, level.width, level.height) for level in levels]
    table = on_device(grids, boxes_xyxy, torch.float64).reshape(-1, 3)  # (L, 3)
    strides, n_cells = table[:, :1], table[:, 1:]  # (L, 1), (L, 2)
    # In single precision, as Ultralytics does it: a last bit decides about a point on a side.
    low, high = boxes_xyxy.float()[:, None].split(2, dim=2)  # (G, 1, 2) each
    centre, sides = (low + high) / 2, high - low
    least = least_sides(small_boxes, [level.stride for level in levels])
    if len(set(least)) == 1:
        sides = torch.where(sides < least[0], least[0], sides)
    elif least:
        of_levels = on_device(least, sides)[:, None]  # (L, 1)
        sides = torch.where(sides < of_levels, of_levels, sides)  # (G, L, 2)
    if math.isfinite(radius):
        sides = torch.minimum(sides, (2 * radius * strides).float())
    half = sides / 2
    begin = ((centre - half).double() / strides + 0.5).floor_()  # (G, L, 2)
    end = ((centre + half).double() / strides - 0.5).ceil_()
    begin, end = begin.clamp_(min=0).minimum(n_cells), end.clamp_(min=0).minimum(n_cells)
    # The sides of an infinite box are NaN; no point is inside.
    n_inside = (end - begin).clamp_(min=0).nan_to_num_(0.0)
    return begin.nan_to_num_(0.0).long(), n_inside.long()
