"""Distance bins below zero, for boxes that do not contain their anchor point.

A head of Ultralytics predicts the distances from an anchor point to the four sides of a box, 0 to
15 strides, so that every box contains its point. A stem 2 px wide rarely contains an anchor point.
The best box from a point next to it is as wide as the distance between them, and no training makes
it narrower. Two additional bins, for -2 and -1 strides, allow a box to be entirely on one side of
its point.

The new bins start closed, with weight 0 and a bias that gives them no probability, so that the
predictions do not change. The values of all bins are the weights of ``Detect.dfl``, which are fixed
and stored in the checkpoint, so that prediction and export with plain Ultralytics give the same
boxes. Only the loss depends on the values. A head without distributions already predicts signed
distances.

Shapes: R bins of a distance.
"""

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import DFL
from ultralytics.nn.modules.head import Detect

from training.heads.grouped import box_branches

STRIDES_BELOW_ZERO = 2
"""Strides by which a box may be away from its anchor point. Candidates are listed up to 8 px from a
symbol's centre, which is two strides of the finest level, 4 px."""
CLOSED = -30.0
"""Bias of an unused bin: a probability of 1e-13 relative to a bin with bias 0."""


def allow_below_zero(head: Detect) -> None:
    """Add bins for -2 and -1 strides to a head, without changing its predictions.

    Replaces the last layers and ``dfl``, so call it before creating an optimiser or a copy.

    Args:
        head: Ultralytics' ``Detect``, or a head of several groups. Heads without distributions, or
            with bins below 0, do not change.
    """
    if head.reg_max > 1 and not strides_below_zero(head):
        below = torch.arange(-float(STRIDES_BELOW_ZERO), 0)
        set_bins(head, torch.cat((below, bin_values(head).cpu())))


@torch.no_grad()
def set_bins(head: Detect, values: Tensor) -> None:
    """Change the values of a head's bins.

    Bins with a value that the head already has keep their weights; new bins are closed, and bins
    with other values are removed.

    Args:
        head: Ultralytics' ``Detect``, or a head of several groups, with distributions.
        values: Distance of each bin in strides, shape ``(R,)``.
    """
    before = {value: i for i, value in enumerate(bin_values(head).tolist())}
    copies = [(i, before[value]) for i, value in enumerate(values.tolist()) if value in before]
    for branch in box_branches(head):
        branch[-1] = _with_bins(branch[-1], len(before), len(values), copies)
    weight = head.dfl.conv.weight
    head.reg_max = len(values)
    head.no = head.nc + 4 * head.reg_max
    head.dfl = DFL(head.reg_max).to(weight)
    head.dfl.conv.weight.copy_(values.view_as(head.dfl.conv.weight))


def _with_bins(old: nn.Conv2d, n_old: int, n_new: int, copies: list[tuple[int, int]]) -> nn.Conv2d:
    """Build a last layer with other bins; ``copies`` are pairs of a new and an old bin's index."""
    new = nn.Conv2d(old.in_channels, 4 * n_new, 1).to(old.weight)
    new.weight.zero_()
    new.bias.fill_(CLOSED)  # type: ignore[union-attr]
    to, source = torch.tensor(copies, dtype=torch.int64).view(-1, 2).unbind(1)
    for name in ("weight", "bias"):
        rows, old_rows = (
            getattr(layer, name).unflatten(0, (4, n)) for layer, n in ((new, n_new), (old, n_old))
        )
        rows[:, to] = old_rows[:, source]
    return new


def strides_below_zero(head: Detect) -> float:
    """Return how far below 0 the first bin of a head is, in strides; 0 without such bins."""
    return -float(bin_values(head)[0])


def bin_values(head: Detect) -> Tensor:
    """Return the distances of a head's bins in strides, shape ``(R,)``; a single 0 without bins."""
    values: Tensor = head.dfl.conv.weight if head.reg_max > 1 else torch.zeros(1)
    return values.detach().float().flatten().clone()
