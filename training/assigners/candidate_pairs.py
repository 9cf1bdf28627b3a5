"""Candidate pairs of a batch, and the decisions that assigners make per box and anchor point.

A candidate pair is a ground-truth box and an anchor point that may be assigned to it because it is
inside the box. All other combinations of boxes and points are never compared. The function
:func:`assignment.candidate_pairs` lists the pairs; :class:`CandidatePairs` holds them.

Shapes: B images, A anchor points, G ground-truth boxes of all images, P candidate pairs, M
positives.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from training.assigners.assignment import Anchors, Assignment, SmallBoxes, Targets, candidate_pairs
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
        """List the pairs of a batch; see :func:`candidate_pairs` for the arguments."""
        gts, points = candidate_pairs(anchors, targets, small_boxes, radius)
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
        """Whether shapes may depend on values on the device, for which the host has to wait."""
        return self.targets.n_pairs is None

    @property
    def boxes_xyxy(self) -> Tensor:
        """True box of each pair in pixels, float32, shape ``(P, 4)``."""
        return self.targets.boxes_xyxy.float().index_select(0, self.gts)

    def similarities(
        self, measure: Similarity | SimilarityByClass, pred_boxes_xyxy: Tensor
    ) -> Tensor:
        """Compare the true box of each pair with the predicted one.

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
                anchors=self.points[chosen],
                gts=self.gts[chosen],
                scores=scores[chosen],
                weights=weights[chosen],
            )
        n_slots = self.n_images * self.n_points
        length = min(len(self.gts), len(self.targets) * max_per_gt, n_slots)
        chosen = torch.nonzero_static(positive, size=length, fill_value=-1).squeeze(1)  # (M,)
        padding = chosen < 0
        chosen = chosen.clamp_(min=0)
        # Spread the padding over all anchor points: adding many zeros to one of them would be slow.
        slots = torch.arange(length, device=chosen.device)
        return Assignment(
            images=torch.where(padding, slots // self.n_points, self.images[chosen]),
            anchors=torch.where(padding, slots % self.n_points, self.points[chosen]),
            gts=self.gts[chosen],
            scores=scores[chosen].masked_fill_(padding, 0),
            weights=weights[chosen].masked_fill_(padding, 0),
        )

    def resolve_conflicts(self, positive: Tensor, merits: Tensor) -> Tensor:
        """Limit each anchor point of each image to at most one box.

        An anchor point that several boxes selected goes to the best of all boxes of which it is a
        candidate, even to one that did not select it.

        Args:
            positive: Whether each pair's box selected its point, shape ``(P,)``.
            merits: Value of each pair, shape ``(P,)``. The highest wins, or the first box if equal.

        Returns:
            Whether each pair is positive, shape ``(P,)``.
        """
        slots, n_slots = self.images * self.n_points + self.points, self.n_images * self.n_points
        n_selected = torch.zeros(n_slots, dtype=torch.int32, device=slots.device)
        n_selected.index_add_(0, slots, positive.to(torch.int32))
        highest = merits.new_full((n_slots,), -math.inf).scatter_reduce_(0, slots, merits, "amax")
        contested = n_selected.index_select(0, slots) > 1  # (P,)
        is_best = contested & (merits == highest.index_select(0, slots))
        no_gt = torch.iinfo(self.gts.dtype).max
        winner = self.gts.new_full((n_slots,), no_gt)
        winner.scatter_reduce_(0, slots, torch.where(is_best, self.gts, no_gt), "amin")
        is_winner = self.gts == winner.index_select(0, slots)
        return torch.where(contested, is_best & is_winner, positive)

    def limit_per_gt(self, positive: Tensor, costs: Tensor, limit: int | None) -> Tensor:
        """Keep the cheapest positives of each box, which may have won more than it selected.

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
            values: 0 or more, float32, shape ``(P,)``.
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
        a candidate with a metric of 0 is marked only if fewer than k anchor points precede it.

        Args:
            metrics: 0 or more, float32, shape ``(P,)``.
            k: Number of anchor points per box.

        Returns:
            Whether each pair is among the k highest, shape ``(P,)``.
        """
        above = metrics != 0
        n_above = above.cumsum(0)  # (P,)
        up_to_end = torch.nn.functional.pad(n_above, (1, 0)).index_select(
            0, self.bounds[1:]
        )  # (G,)
        n_above_after = up_to_end.index_select(0, self.gts) - n_above
        ranks = torch.where(
            above, self.ranks(metrics, descending=True), self.points + n_above_after
        )
        return ranks < k
