"""Top-k selection with the tie order of ``torch.topk`` on a CPU.

Only needed to reproduce Ultralytics' dense assigner exactly. Training uses
:meth:`CandidatePairs.stable_topk`, whose order is the same on all devices.

Shapes: P candidate pairs, G ground-truth boxes, R boxes with a tie, W columns of a dense table.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.assigners.candidate_pairs import CandidatePairs
from training.assigners.task_aligned import SparseTaskAlignedAssigner

MAX_ELEMENTS = 2**22
"""Maximum number of elements of a dense table in which ties are decided."""
PARTIAL_SORT = 64
"""``torch.topk`` on a CPU uses a heap for rows that are at least this many times longer than k."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchTiesAssigner(SparseTaskAlignedAssigner):
    """Task-aligned assigner that selects what ``torch.topk`` selects from a dense table."""

    def select(self, pairs: CandidatePairs, metrics: Tensor, k: int) -> Tensor:
        """Mark the k best pairs of each box, with ties broken as by ``torch.topk``.

        On a GPU ``torch.topk`` takes the first of equal values, as the parent class does.
        """
        if pairs.waits and metrics.device.type == "cpu":
            return torch_topk(pairs, metrics, k)
        return pairs.stable_topk(metrics, k)


def torch_topk(pairs: CandidatePairs, metrics: Tensor, k: int) -> Tensor:
    """Mark what ``torch.topk`` on a CPU selects from each box's row of all anchor points.

    If the last selected and the first rejected metric are equal, it selects whichever of them its
    heap contains, which depends on the points before. In a long row the heap starts with the first
    k points, and later points with metric 0 do not change it. So a row of the first k points, the
    box's other pairs and zeros gives the same selection.

    Args:
        pairs: Candidate pairs.
        metrics: 0 or more, shape ``(P,)``; all other points of a row have 0.
        k: Number of anchor points per box.

    Returns:
        Whether each pair is selected, shape ``(P,)``.
    """
    selected = pairs.stable_topk(metrics, k)
    heap = pairs.n_points >= PARTIAL_SORT * k
    n_zeros = k if heap else pairs.n_points
    tied_gts = _has_tie(pairs, selected, metrics, k, n_zeros).nonzero().squeeze(1)
    if k > pairs.n_points or not len(tied_gts):
        return selected
    rows = torch.full((len(pairs.targets),), -1, device=tied_gts.device)
    rows[tied_gts] = torch.arange(len(tied_gts), device=tied_gts.device)
    tied = (rows[pairs.gts] >= 0).nonzero().squeeze(1)  # pairs of these boxes
    rows, columns, width = rows[pairs.gts[tied]], pairs.points[tied], pairs.n_points
    counts = rows.bincount()  # (R,)
    if heap:
        columns, width = _short_columns(rows, columns, counts, k), PARTIAL_SORT * k
    for part in _parts(counts + k, width):
        row_in_part = torch.full_like(counts, -1)
        row_in_part[part] = torch.arange(len(part), device=tied_gts.device)
        in_part = (row_in_part[rows] >= 0).nonzero().squeeze(1)
        cells = row_in_part[rows[in_part]], columns[in_part]
        dense = metrics.new_zeros(len(part), max(width, int(cells[1].max()) + 1))  # (R, W)
        dense[cells] = metrics[tied[in_part]]
        best = torch.zeros_like(dense, dtype=torch.bool)
        best.scatter_(1, dense.topk(k).indices, True)
        selected[tied[in_part]] = best[cells]
    return selected


def _short_columns(rows: Tensor, columns: Tensor, counts: Tensor, k: int) -> Tensor:
    """Move all pairs after the first k anchor points of a row directly behind these."""
    late = columns >= k
    n_late, starts = late.cumsum(0), counts.cumsum(0) - counts
    n_late_before_row = n_late[starts] - late[starts].long()  # (R,)
    return torch.where(late, k - 1 + n_late - n_late_before_row[rows], columns)


def _has_tie(
    pairs: CandidatePairs, selected: Tensor, metrics: Tensor, k: int, n_zeros: int
) -> Tensor:
    """Mark the boxes for which the metrics alone do not determine the selection, shape ``(G,)``.

    With fewer than k metrics above 0 the first ``n_zeros`` points with metric 0 are tied.
    """
    above = metrics != 0
    n_above = pairs.sum_per_gt(above.long())
    limits = metrics.new_zeros(2, len(pairs.targets))
    limits[0].fill_(torch.inf).scatter_reduce_(
        0, pairs.gts, torch.where(selected, metrics, torch.inf), "amin"
    )
    limits[1].scatter_reduce_(0, pairs.gts, torch.where(selected, 0, metrics), "amax")
    tied = (limits[0] == limits[1]) & (n_above > k)
    zeros = ~above & (pairs.points < n_zeros) & (n_above[pairs.gts] < k)
    return tied.index_put_((pairs.gts[zeros],), tied.new_ones(()))


def _parts(lengths: Tensor, width: int) -> list[Tensor]:
    """Divide rows into parts that make dense tables of bounded size.

    The few rows of huge boxes, which are longer than ``width``, are separated: they would make all
    other rows as long.

    Args:
        lengths: Columns that each row needs at most, shape ``(R,)``.
        width: Minimum width of a table.

    Returns:
        Rows of each part.
    """
    short, long = (lengths <= width).nonzero().squeeze(1), (lengths > width).nonzero().squeeze(1)
    parts = [*short.split(max(1, MAX_ELEMENTS // width))]
    if len(long):
        parts += long.split(max(1, MAX_ELEMENTS // int(lengths.max())))
    return [part for part in parts if len(part)]
