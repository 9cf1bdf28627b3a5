"""Candidate pairs of a batch, and what is decided box by box or anchor point by anchor point.

Shapes: B images, A anchor points, G ground-truth boxes of all images, P candidate pairs, M pairs
that were chosen, R boxes with a tie, W columns that a tie is decided over.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from training.assigners.assignment import Anchors, Assignment, SmallBoxes, Targets, candidate_pairs
from training.assigners.similarity import Overlap, OverlapByClass

LARGEST = 2**22
"""Numbers in a table that ties are decided over."""
PARTIAL_SORT = 64
"""``torch.topk`` on a CPU sorts rows of this many times k and longer with a heap."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CandidatePairs:
    """Candidate pairs, box after box, the points of a box in their order."""

    gts: Tensor
    """Box of each pair, int64, shape ``(P,)``."""
    points: Tensor
    """Anchor point of each pair, int64, shape ``(P,)``."""
    images: Tensor
    """Image of each pair, int64, shape ``(P,)``."""
    labels: Tensor
    """Class of each pair's box, int64, shape ``(P,)``."""
    bounds: Tensor
    """First pair of each box, and the number of all pairs, int64, shape ``(G + 1,)``."""
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
        """List the pairs of a batch; the arguments are those of :func:`candidate_pairs`."""
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
        """Whether shapes may depend on numbers on the device, which the host then waits for."""
        return self.targets.n_pairs is None

    @property
    def boxes_xyxy(self) -> Tensor:
        """True box of each pair, pixels, float32, shape ``(P, 4)``."""
        return self.targets.boxes_xyxy.float().index_select(0, self.gts)

    def overlaps(self, measure: Overlap | OverlapByClass, pred_boxes_xyxy: Tensor) -> Tensor:
        """Measure the pairs' true boxes against predicted ones, pixels, ``(P, 4)``: ``(P,)``."""
        if isinstance(measure, OverlapByClass):
            measure = measure.at(self.labels)
        return measure(self.boxes_xyxy, pred_boxes_xyxy)

    def per_box(self, numbers: Tensor) -> Tensor:
        """Add up integers over the pairs of each box: shape ``(P,)`` to ``(G,)``."""
        return numbers.new_zeros(len(self.targets)).index_add_(0, self.gts, numbers)

    def assignment(self, chosen: Tensor, scores: Tensor, weights: Tensor, most: int) -> Assignment:
        """Hand out the chosen pairs.

        Args:
            chosen: bool, shape ``(P,)``.
            scores: Shape ``(P,)``.
            weights: Shape ``(P,)``.
            most: Pairs that were chosen of a box at most.
        """
        if self.waits or not len(self.gts):
            # torch 2.8 to 2.9 cannot count in an empty list on a GPU.
            kept = chosen.nonzero().squeeze(1) if len(self.gts) else self.gts  # (M,)
            places = self.images[kept], self.points[kept]
            return self._handed_out(kept, places, scores[kept], weights[kept])
        n_slots = self.n_images * self.n_points
        bound = min(len(self.gts), len(self.targets) * most, n_slots)
        kept = torch.nonzero_static(chosen, size=bound, fill_value=-1).squeeze(1)  # (M,)
        filling = kept < 0
        kept = kept.clamp_(min=0)
        # Each at a slot of its own: additions of 0 to a single slot would queue for it.
        slots = torch.arange(bound, device=kept.device)
        places = (
            torch.where(filling, slots // self.n_points, self.images[kept]),
            torch.where(filling, slots % self.n_points, self.points[kept]),
        )
        scores, weights = (values[kept].masked_fill_(filling, 0) for values in (scores, weights))
        return self._handed_out(kept, places, scores, weights)

    def _handed_out(
        self, kept: Tensor, places: tuple[Tensor, Tensor], scores: Tensor, weights: Tensor
    ) -> Assignment:
        images, anchors = places
        return Assignment(
            images=images, anchors=anchors, gts=self.gts[kept], scores=scores, weights=weights
        )

    def settled(self, positive: Tensor, merits: Tensor) -> Tensor:
        """Leave each anchor point of each image to one box.

        Args:
            positive: Whether its box took the point, shape ``(P,)``.
            merits: The highest wins, of equals the first box; shape ``(P,)``.

        Returns:
            Whether the point is the box's, shape ``(P,)``. Where several boxes took a point, every
            candidate has a claim to it, also one that did not take it.
        """
        slots, n_slots = self.images * self.n_points + self.points, self.n_images * self.n_points
        takers = torch.zeros(n_slots, dtype=torch.int32, device=slots.device)
        takers.index_add_(0, slots, positive.to(torch.int32))
        most = merits.new_full((n_slots,), -math.inf).scatter_reduce_(0, slots, merits, "amax")
        contested = takers.index_select(0, slots) > 1  # (P,)
        claims = contested & (merits == most.index_select(0, slots))
        nobody = torch.iinfo(self.gts.dtype).max
        first = self.gts.new_full((n_slots,), nobody)
        first.scatter_reduce_(0, slots, torch.where(claims, self.gts, nobody), "amin")
        is_first = self.gts == first.index_select(0, slots)
        return torch.where(contested, claims & is_first, positive)

    def kept(self, positive: Tensor, costs: Tensor, most: int | None) -> Tensor:
        """Leave each box its cheapest points, for one may have won more than it had taken.

        Args:
            positive: bool, shape ``(P,)``.
            costs: 0 or more, shape ``(P,)``.
            most: Points of a box; as many as it has if None.
        """
        if most is None:
            return positive
        return positive & (self.ranks(torch.where(positive, costs, math.inf)) < most)

    def ranks(self, values: Tensor, *, descending: bool = False) -> Tensor:
        """Number the pairs of each box by a value; of equals, the first comes first.

        Args:
            values: 0 or more, float32, shape ``(P,)``.
            descending: The highest first.

        Returns:
            0, 1, ... within each box, int64, shape ``(P,)``.
        """
        # One number that sorts by box, then by value: floats from 0 sort as their bits.
        bits = values.abs().view(torch.int32).long()
        order = torch.argsort((self.gts << 32) + (-bits if descending else bits), stable=True)
        # Within its box's part of the order, a pair's place is its rank.
        places = torch.arange(len(order), device=order.device)
        ranks = torch.empty_like(order).scatter_(0, order, places)
        return ranks.sub_(self.bounds.index_select(0, self.gts))

    def best(self, metrics: Tensor, k: int) -> Tensor:
        """Mark what ``torch.topk`` takes of each box's row of all anchor points.

        Args:
            metrics: 0 or more, shape ``(P,)``; all other points of the row have 0.
            k: Number of points.

        Returns:
            bool, shape ``(P,)``.
        """
        chosen = self.first_best(metrics, k)
        decides = self.waits and metrics.device.type == "cpu"
        return self._retied(chosen, metrics, k) if decides else chosen

    def first_best(self, metrics: Tensor, k: int) -> Tensor:
        """Mark the k best points of each box; of equals, the first.

        Args:
            metrics: As for :meth:`best`.
            k: Number of points.

        Returns:
            bool, shape ``(P,)``.
        """
        # Those with metric 0 compete with all the points that are no candidates.
        above = metrics != 0
        n_above = above.cumsum(0)  # (P,)
        up_to = torch.nn.functional.pad(n_above, (1, 0)).index_select(0, self.bounds[1:])  # (G,)
        after = up_to.index_select(0, self.gts) - n_above
        ranks = torch.where(above, self.ranks(metrics, descending=True), self.points + after)
        return ranks < k

    def _retied(self, chosen: Tensor, metrics: Tensor, k: int) -> Tensor:
        """Let ``torch.topk`` of the CPU decide where the last chosen and the first other are equal.

        It takes whichever of them its heap happens to hold, which depends on the points before.
        In a long row it begins with the first k points, and later ones with metric 0 leave it as
        it is. So a row of the first k points, the box's other pairs and zeros comes to the same.

        Args:
            chosen: Choice in which the first of equals are taken, shape ``(P,)``.
            metrics: Shape ``(P,)``.
            k: Number of pairs.

        Returns:
            The choice of ``torch.topk``, shape ``(P,)``.
        """
        heap = self.n_points >= PARTIAL_SORT * k
        ties = self._ties(chosen, metrics, k, k if heap else self.n_points).nonzero().squeeze(1)
        if k > self.n_points or not len(ties):
            return chosen
        rows = torch.full((len(self.targets),), -1, device=ties.device)
        rows[ties] = torch.arange(len(ties), device=ties.device)
        pairs = (rows[self.gts] >= 0).nonzero().squeeze(1)
        rows, columns, width = rows[self.gts[pairs]], self.points[pairs], self.n_points
        counts = rows.bincount()  # (R,)
        if heap:
            late = columns >= k
            before, starts = late.cumsum(0), counts.cumsum(0) - counts
            before_row = before[starts] - late[starts].long()  # (R,)
            columns = torch.where(late, k - 1 + before - before_row[rows], columns)
            width = PARTIAL_SORT * k
        for part in _parts(counts + k, width):
            place = torch.full_like(counts, -1)
            place[part] = torch.arange(len(part), device=ties.device)
            own = (place[rows] >= 0).nonzero().squeeze(1)
            where = place[rows[own]], columns[own]
            dense = metrics.new_zeros(len(part), max(width, int(where[1].max()) + 1))  # (R, W)
            dense[where] = metrics[pairs[own]]
            best = torch.zeros_like(dense, dtype=torch.bool)
            best.scatter_(1, dense.topk(k).indices, True)
            chosen[pairs[own]] = best[where]
        return chosen

    def _ties(self, chosen: Tensor, metrics: Tensor, k: int, n_zeros: int) -> Tensor:
        """Tell which boxes' choice is not settled by the metrics, shape ``(G,)``.

        With fewer than k metrics above 0 the first ``n_zeros`` points with metric 0 are equals.
        """
        above = metrics != 0
        n_above = self.per_box(above.long())
        limits = metrics.new_zeros(2, len(self.targets))
        limits[0].fill_(torch.inf).scatter_reduce_(
            0, self.gts, torch.where(chosen, metrics, torch.inf), "amin"
        )
        limits[1].scatter_reduce_(0, self.gts, torch.where(chosen, 0, metrics), "amax")
        tied = (limits[0] == limits[1]) & (n_above > k)
        zeros = ~above & (self.points < n_zeros) & (n_above[self.gts] < k)
        return tied.index_put_((self.gts[zeros],), tied.new_ones(()))


def _parts(lengths: Tensor, width: int) -> list[Tensor]:
    """Divide rows into parts that make tables of bounded size.

    The few rows longer than all need to be, of huge boxes, come by themselves: they would make
    every other row as long.

    Args:
        lengths: Columns that each row asks for at most, shape ``(R,)``.
        width: Columns that a row has at least.

    Returns:
        Rows of each part.
    """
    short, long = (lengths <= width).nonzero().squeeze(1), (lengths > width).nonzero().squeeze(1)
    parts = [*short.split(max(1, LARGEST // width))]
    if len(long):
        parts += long.split(max(1, LARGEST // int(lengths.max())))
    return [part for part in parts if len(part)]
