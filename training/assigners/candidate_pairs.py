"""Candidate pairs of a batch, and the decisions that assigners make per box and anchor point.

A candidate pair is a ground-truth box and an anchor point that may be assigned to it because it is
inside the box. All other combinations of boxes and points are never compared.

A page may contain a thousand small symbols, so a table of all boxes and anchor points is almost
empty. A box covers consecutive columns and rows of each level's grid, so the cells inside it can be
counted and listed from its corners: about ten for a notehead, whatever the size of the page.

Shapes: B images, A anchor points, L levels, G ground-truth boxes of all images, P candidate pairs,
M positives.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.assigners.assignment import (
    Anchors,
    Assignment,
    Level,
    SmallBoxes,
    Targets,
    min_sides,
    on_device,
)
from training.assigners.similarity import Similarity, SimilarityByClass


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CandidatePairs:
    """Pairs of a box and an anchor point inside it, sorted by box and then by anchor point."""

    gts: Tensor
    """Box of each pair, int64, shape ``(P,)``."""
    points: Tensor
    """Anchor point of each pair, int64, shape ``(P,)``."""
    images: Tensor
    """Image of each pair, int64, shape ``(P,)``."""
    labels: Tensor
    """Class of each pair's box, int64, shape ``(P,)``."""
    bounds: Tensor
    """Index of the first pair of each box, followed by P, int64, shape ``(G + 1,)``."""
    targets: Targets
    n_images: int
    n_points: int

    @classmethod
    def of(
        cls,
        n_images: int,
        anchors: Anchors,
        targets: Targets,
        small_boxes: SmallBoxes,
        radius: float = math.inf,
    ) -> "CandidatePairs":
        """List the pairs of a batch; see :func:`pairs_inside` for the arguments."""
        gts, points = pairs_inside(anchors, targets, small_boxes, radius)
        boxes = torch.arange(len(targets) + 1, device=gts.device)
        return cls(
            gts=gts,
            points=points,
            images=targets.images.index_select(0, gts),
            labels=targets.labels.index_select(0, gts),
            bounds=torch.searchsorted(gts, boxes),
            targets=targets,
            n_images=n_images,
            n_points=len(anchors),
        )

    @property
    def waits(self) -> bool:
        """Whether some shapes depend on values on the device, which forces a synchronisation."""
        return self.targets.n_pairs is None

    @property
    def boxes_xyxy(self) -> Tensor:
        """Ground-truth box of each pair in pixels, float32, shape ``(P, 4)``."""
        return self.targets.boxes_xyxy.float().index_select(0, self.gts)

    def similarities(
        self, measure: Similarity | SimilarityByClass, pred_boxes_xyxy: Tensor
    ) -> Tensor:
        """Compare the ground-truth box of each pair with the predicted box.

        Args:
            measure: Similarity of two boxes, one for all classes or one per class.
            pred_boxes_xyxy: Predicted box of each pair in pixels, shape ``(P, 4)``.

        Returns:
            Similarity of each pair, shape ``(P,)``.
        """
        if isinstance(measure, SimilarityByClass):
            measure = measure.at(self.labels)
        return measure(self.boxes_xyxy, pred_boxes_xyxy)

    def sum_per_gt(self, numbers: Tensor) -> Tensor:
        """Sum integers over the pairs of each box, shape ``(P,)`` to ``(G,)``."""
        return numbers.new_zeros(len(self.targets)).index_add_(0, self.gts, numbers)

    def assignment(
        self, positive: Tensor, scores: Tensor, weights: Tensor, max_per_gt: int
    ) -> Assignment:
        """Make an assignment of the positive pairs.

        Args:
            positive: Whether each pair is positive, shape ``(P,)``.
            scores: Target score of each pair, shape ``(P,)``.
            weights: Weight of each pair, shape ``(P,)``.
            max_per_gt: Maximum number of positives per box.
        """
        if self.waits or not len(self.gts):
            # torch 2.8 and 2.9 cannot count the nonzero elements of an empty tensor on a GPU.
            chosen = positive.nonzero().squeeze(1) if len(self.gts) else self.gts  # (M,)
            return Assignment(
                images=self.images[chosen],
                points=self.points[chosen],
                gts=self.gts[chosen],
                scores=scores[chosen],
                weights=weights[chosen],
            )
        # With a fixed length, and padding, because the host must not wait for the number.
        n_slots = self.n_images * self.n_points
        length = min(len(self.gts), len(self.targets) * max_per_gt, n_slots)
        chosen = torch.nonzero_static(positive, size=length, fill_value=-1).squeeze(1)  # (M,)
        padding = chosen < 0
        chosen = chosen.clamp_(min=0)
        # Spread the padding over all anchor points: adding many zeros to one of them would be slow.
        slots = torch.arange(length, device=chosen.device)
        return Assignment(
            images=torch.where(padding, slots // self.n_points, self.images[chosen]),
            points=torch.where(padding, slots % self.n_points, self.points[chosen]),
            gts=self.gts[chosen],
            scores=scores[chosen].masked_fill_(padding, 0),
            weights=weights[chosen].masked_fill_(padding, 0),
        )

    def resolve_conflicts(self, positive: Tensor, priorities: Tensor) -> Tensor:
        """Limit each anchor point of each image to at most one box.

        An anchor point that several boxes selected goes to the highest-priority box that it is a
        candidate of, even if that box did not select it.

        Args:
            positive: Whether each pair's box selected its point, shape ``(P,)``.
            priorities: Priority of each pair, shape ``(P,)``. The highest one wins; ties go to the
                first box.

        Returns:
            Whether each pair is positive, shape ``(P,)``.
        """
        slots, n_slots = self.images * self.n_points + self.points, self.n_images * self.n_points
        n_selected = torch.zeros(n_slots, dtype=torch.int32, device=slots.device)
        n_selected.index_add_(0, slots, positive.to(torch.int32))
        highest = priorities.new_full((n_slots,), -math.inf)
        highest.scatter_reduce_(0, slots, priorities, "amax")
        contested = n_selected.index_select(0, slots) > 1  # (P,)
        is_best = contested & (priorities == highest.index_select(0, slots))
        no_gt = torch.iinfo(self.gts.dtype).max
        winner = self.gts.new_full((n_slots,), no_gt)
        winner.scatter_reduce_(0, slots, torch.where(is_best, self.gts, no_gt), "amin")
        is_winner = self.gts == winner.index_select(0, slots)
        return torch.where(contested, is_best & is_winner, positive)

    def limit_per_gt(self, positive: Tensor, costs: Tensor, limit: int | None) -> Tensor:
        """Keep the cheapest positives of each box, which may have won more points than it selected.

        Args:
            positive: Whether each pair is positive, shape ``(P,)``.
            costs: Cost of each pair, 0 or more, shape ``(P,)``.
            limit: Maximum number of positives per box; None for no limit.
        """
        if limit is None:
            return positive
        return positive & (self.ranks(torch.where(positive, costs, math.inf)) < limit)

    def ranks(self, values: Tensor, *, descending: bool = False) -> Tensor:
        """Rank the pairs of each box by a value; equal values keep their order.

        Args:
            values: Value of each pair, 0 or more, float32, shape ``(P,)``.
            descending: Whether the highest value comes first.

        Returns:
            Ranks 0, 1, ... within each box, int64, shape ``(P,)``.
        """
        # An integer that sorts by box, then by value: bits of non-negative floats sort like
        # integers.
        bits = values.abs().view(torch.int32).long()
        order = torch.argsort((self.gts << 32) + (-bits if descending else bits), stable=True)
        # The position in this order, counted from the first pair of the box, is the rank.
        positions = torch.arange(len(order), device=order.device)
        ranks = torch.empty_like(order).scatter_(0, order, positions)
        return ranks.sub_(self.bounds.index_select(0, self.gts))

    def stable_topk(self, metrics: Tensor, k: int) -> Tensor:
        """Mark the k highest metrics of each box; ties go to the first anchor points.

        Anchor points that are not candidates take part with a metric of 0, as in a dense table. So
        a candidate with a metric of 0 is marked only if fewer than k anchor points rank ahead of
        it.

        Args:
            metrics: Metric of each pair, 0 or more, float32, shape ``(P,)``.
            k: Number of anchor points per box.

        Returns:
            Whether each pair is among the k highest, shape ``(P,)``.
        """
        above = metrics != 0
        # Points with a metric of 0 rank by their index, behind all points with another metric.
        n_above = above.cumsum(0)  # (P,)
        up_to_end = torch.nn.functional.pad(n_above, (1, 0)).index_select(
            0, self.bounds[1:]
        )  # (G,)
        n_above_after = up_to_end.index_select(0, self.gts) - n_above
        ranks = torch.where(
            above, self.ranks(metrics, descending=True), self.points + n_above_after
        )
        return ranks < k


@torch.no_grad()
def pairs_inside(
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
    """Count the pairs that :func:`pairs_inside` would list.

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
            bit: if it is too high, the last element is repeated; if it is too low, elements at the
            end are missing.

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

    A point exactly on an edge counts as outside. Ultralytics also excludes points within 1e-9 px of
    an edge, but two different coordinates in single precision are never that close. So the cells
    can be found by rounding the edges' grid positions, which is exact in double precision.
    """
    grids = [(level.stride, level.width, level.height) for level in levels]
    table = on_device(grids, boxes_xyxy, torch.float64).reshape(-1, 3)  # (L, 3)
    strides, n_cells = table[:, :1], table[:, 1:]  # (L, 1), (L, 2)
    # In single precision as in Ultralytics, because the last bit decides whether a point on an edge
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
