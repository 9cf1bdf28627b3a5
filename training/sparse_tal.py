"""Task-aligned assignment over the pairs of a box and an anchor point that can matter.

Chooses what Ultralytics' ``TaskAlignedAssigner`` chooses, and gives it the same scores to the last
bit, without its maps of all boxes of the fullest image against all anchor points.

Shapes: B images, A anchor points, C classes, G ground-truth boxes of all images, P candidate pairs,
M positives, R boxes with a tie, W columns that a tie is decided over.

Source: TOOD, https://arxiv.org/abs/2108.07755, section 3.2, as Ultralytics reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from ultralytics.utils.metrics import bbox_iou

from training.assignment import Anchors, Assignment, SmallBoxes, Targets, candidate_pairs

Overlap = Callable[[Tensor, Tensor], Tensor]
"""From true and predicted boxes, in pixels, shape ``(P, 4)`` each, to 0 or more, ``(P,)``."""

PARTIAL_SORT = 64
"""``torch.topk`` on a CPU sorts rows of this many times k and longer with a heap."""


def ciou(gt_boxes_xyxy: Tensor, pred_boxes_xyxy: Tensor) -> Tensor:
    """Complete IoU, 0 where it is below.

    Args:
        gt_boxes_xyxy: Pixels, shape ``(P, 4)``.
        pred_boxes_xyxy: Pixels, shape ``(P, 4)``.

    Returns:
        0 to 1, shape ``(P,)``.
    """
    value: Tensor = bbox_iou(gt_boxes_xyxy, pred_boxes_xyxy, xywh=False, CIoU=True).squeeze(-1)
    return value.clamp_(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseTaskAlignedAssigner:
    """Gives every box the anchor points that already predict its class and place best.

    A pair's metric is ``score^alpha * overlap^beta``. Each box takes its ``topk`` best pairs. An
    anchor point that several boxes take goes to the one of all its candidates that it overlaps
    most. The best point of a box is to predict its overlap, the others less in proportion to
    their metric.
    """

    topk: int = 10
    """Points that a box takes at most."""
    topk2: int | None = None
    """Points that it keeps at most, after the quarrels about them; as many as it has if None or
    equal to ``topk``."""
    num_classes: int
    alpha: float = 0.5
    beta: float = 6.0
    eps: float = 1e-9
    """Added to a box's best metric before it divides."""
    small_boxes: SmallBoxes = "ultralytics"
    overlap: Overlap = ciou
    least_score: float = 0.0
    """Score for an overlap just above 0; that for 1 is 1, and in between it grows evenly."""

    def __post_init__(self) -> None:
        if min(self.topk, self.topk2 or self.topk, self.num_classes) < 1:
            raise ValueError("topk, topk2 and num_classes: must be 1 or more")

    @torch.no_grad()
    def __call__(
        self, pred_scores: Tensor, pred_boxes_xyxy: Tensor, anchors: Anchors, targets: Targets
    ) -> Assignment:
        """Assign anchor points to the boxes of a batch.

        Args:
            pred_scores: Probabilities, shape ``(B, A, C)``, of any floating type.
            pred_boxes_xyxy: Pixels, shape ``(B, A, 4)``, of any floating type.
            anchors: Anchor points of every image.
            targets: Ground truth. Boxes of one image that an anchor point overlaps alike are
                served in their order.

        Returns:
            The positives whose score is not 0, in the order of their boxes.

        Raises:
            ValueError: The predictions are not of these shapes.
        """
        self._check(pred_scores, pred_boxes_xyxy, len(anchors))
        gts, points = candidate_pairs(anchors, targets, self.small_boxes)  # (P,) each
        images = targets.images.index_select(0, gts)
        scores = pred_scores[images, points, targets.labels.index_select(0, gts)].float()
        overlaps = self.overlap(
            targets.boxes_xyxy.float().index_select(0, gts),
            pred_boxes_xyxy[images, points].float(),
        ).float()
        metrics = scores.pow(self.alpha) * overlaps.pow(self.beta)
        if self.least_score:
            lifted = self.least_score + (1 - self.least_score) * overlaps
            overlaps = torch.where(overlaps > 0, lifted, overlaps)
        pairs = Pairs(gts=gts, points=points, n_gts=len(targets), n_points=len(anchors))
        slots = images * len(anchors) + points
        positive = pairs.best(metrics, self.topk)
        positive = _settle(positive, overlaps, gts, slots, len(pred_scores) * len(anchors))
        if self.topk2 not in (None, self.topk):
            positive &= pairs.best(torch.where(positive, metrics, 0), self.topk2 or self.topk)
        target_scores = self._normalised(metrics, overlaps, positive, pairs)
        kept = target_scores.nonzero().squeeze(1)  # (M,)
        return Assignment(
            images=images[kept], anchors=points[kept], gts=gts[kept], scores=target_scores[kept]
        )

    def _check(self, pred_scores: Tensor, pred_boxes_xyxy: Tensor, n_points: int) -> None:
        """Refuse predictions of other shapes."""
        shape = len(pred_scores), n_points
        if pred_scores.shape != (*shape, self.num_classes) or pred_boxes_xyxy.shape != (*shape, 4):
            raise ValueError(
                f"predictions: scores are of shape {tuple(pred_scores.shape)} and boxes of "
                f"{tuple(pred_boxes_xyxy.shape)}, for {n_points} anchor points and "
                f"{self.num_classes} classes"
            )

    def _normalised(
        self, metrics: Tensor, overlaps: Tensor, positive: Tensor, pairs: "Pairs"
    ) -> Tensor:
        """Target score of each pair, 0 where it is no positive, shape ``(P,)``."""
        metrics, overlaps = torch.where(positive, metrics, 0), torch.where(positive, overlaps, 0)
        most = metrics.new_zeros(2, pairs.n_gts)  # (2, G)
        most[0].scatter_reduce_(0, pairs.gts, metrics, "amax")
        most[1].scatter_reduce_(0, pairs.gts, overlaps, "amax")
        best_metric, best_overlap = most.index_select(1, pairs.gts)  # (P,) each
        return metrics.mul_(best_overlap).div_(best_metric + self.eps)


def _settle(positive: Tensor, overlaps: Tensor, gts: Tensor, slots: Tensor, n_slots: int) -> Tensor:
    """Leave each anchor point of each image to one box.

    Args:
        positive: Whether its box took the point, shape ``(P,)``.
        overlaps: Shape ``(P,)``.
        gts: Box of each pair, shape ``(P,)``.
        slots: Image and anchor point in one, shape ``(P,)``.
        n_slots: B times A.

    Returns:
        Whether the point is the box's, shape ``(P,)``. Where several boxes took a point, every
        candidate has a claim to it, also one that did not take it.
    """
    takers = torch.zeros(n_slots, dtype=torch.int32, device=slots.device)
    takers.index_add_(0, slots, positive.to(torch.int32))
    most = overlaps.new_full((n_slots,), -1.0).scatter_reduce_(0, slots, overlaps, "amax")
    contested = takers.index_select(0, slots) > 1  # (P,)
    claims = contested & (overlaps == most.index_select(0, slots))
    nobody = torch.iinfo(gts.dtype).max
    first = torch.full((n_slots,), nobody, dtype=gts.dtype, device=gts.device)
    first.scatter_reduce_(0, slots, torch.where(claims, gts, nobody), "amin")
    return torch.where(contested, claims & (gts == first.index_select(0, slots)), positive)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pairs:
    """Candidate pairs, box after box, the points of a box in their order."""

    gts: Tensor
    """Shape ``(P,)``."""
    points: Tensor
    """Shape ``(P,)``."""
    n_gts: int
    n_points: int

    def best(self, metrics: Tensor, k: int) -> Tensor:
        """Mark what ``torch.topk`` takes of each box's row of all anchor points.

        Args:
            metrics: 0 or more, shape ``(P,)``; all other points of the row have 0.
            k: Number of points.

        Returns:
            bool, shape ``(P,)``.
        """
        chosen = self.first_best(metrics, k)
        return self._retied(chosen, metrics, k) if metrics.device.type == "cpu" else chosen

    def first_best(self, metrics: Tensor, k: int) -> Tensor:
        """Mark the k best points of each box; of equals, the first.

        Args:
            metrics: As for :meth:`best`.
            k: Number of points.

        Returns:
            bool, shape ``(P,)``.
        """
        counts = torch.zeros(self.n_gts, dtype=torch.int64, device=metrics.device)
        counts.index_add_(0, self.gts, torch.ones_like(self.gts))
        starts = counts.cumsum(0) - counts  # (G,)
        # One number that sorts by box, then by falling metric: floats from 0 sort as their bits.
        bits = metrics.abs().view(torch.int32).long()
        order = torch.argsort((self.gts << 32) - bits, stable=True)
        rank = torch.empty_like(order)
        places = torch.arange(len(order), device=order.device)
        rank[order] = places - starts.index_select(0, self.gts)
        # Those with metric 0 compete with all the points that are no candidates.
        above = metrics != 0
        n_above = above.cumsum(0)  # (P,)
        ends = torch.nn.functional.pad(n_above, (1, 0))[starts + counts]  # (G,)
        zero_rank = self.points + ends.index_select(0, self.gts) - n_above
        return torch.where(above, rank, zero_rank) < k

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
        rows = torch.full((self.n_gts,), -1, device=ties.device)
        rows[ties] = torch.arange(len(ties), device=ties.device)
        pairs = (rows[self.gts] >= 0).nonzero().squeeze(1)
        rows, columns, width = rows[self.gts[pairs]], self.points[pairs], self.n_points
        if heap:
            late = columns >= k
            before = late.cumsum(0)
            first = torch.searchsorted(rows, torch.arange(len(ties), device=ties.device))
            before_row = before[first] - late[first].long()  # (R,)
            columns = torch.where(late, k - 1 + before - before_row[rows], columns)
            width = max(PARTIAL_SORT * k, int(columns.max()) + 1)
        dense = metrics.new_zeros(len(ties), width)  # (R, W)
        dense[rows, columns] = metrics[pairs]
        best = torch.zeros_like(dense, dtype=torch.bool)
        best.scatter_(1, dense.topk(k).indices, True)
        chosen[pairs] = best[rows, columns]
        return chosen

    def _ties(self, chosen: Tensor, metrics: Tensor, k: int, n_zeros: int) -> Tensor:
        """Tell which boxes' choice is not settled by the metrics, shape ``(G,)``.

        With fewer than k metrics above 0 the first ``n_zeros`` points with metric 0 are equals.
        """
        above = metrics != 0
        n_above = torch.zeros(self.n_gts, dtype=torch.int64, device=metrics.device)
        n_above.index_add_(0, self.gts, above.long())
        limits = metrics.new_zeros(2, self.n_gts)
        limits[0].fill_(torch.inf).scatter_reduce_(
            0, self.gts, torch.where(chosen, metrics, torch.inf), "amin"
        )
        limits[1].scatter_reduce_(0, self.gts, torch.where(chosen, 0, metrics), "amax")
        tied = (limits[0] == limits[1]) & (n_above > k)
        zeros = ~above & (self.points < n_zeros) & (n_above[self.gts] < k)
        return tied.index_put_((self.gts[zeros],), tied.new_ones(()))
