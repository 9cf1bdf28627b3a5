"""Boxes that need not contain their anchor point.

A head of Ultralytics predicts how far the four sides of a box lie from its anchor point, 0 to 15
strides, so every box holds its point. A stem 2 px wide holds one only by luck: next to it the best
box is as wide as the distance to the point, and no training makes it narrower. Here two bins more
stand for -2 and -1 strides: a side may lie on the other side of the point.

The new bins start closed, with weights of 0 and a bias that leaves them no probability: what a head
predicts does not change. The values of all bins are the weights of ``Detect.dfl``, which are fixed
and stored with the checkpoint, so prediction and export with plain Ultralytics give the same boxes.
Only the loss has to know of them. A head without distributions predicts signed distances already.

Shapes: R bins of a distance, S new ones.
"""

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import DFL
from ultralytics.nn.modules.head import Detect

from training.heads.grouped import box_branches

BESIDE = 2
"""Strides that a side may lie beyond the anchor point: an anchor point of the finest level, 4 px
apart, is looked for up to 8 px from a symbol's centre, which is two of its strides."""
CLOSED = -30.0
"""Bias of a bin that is not used yet: a probability of 1e-13 beside a bin at 0."""


def allow_below_zero(head: Detect) -> None:
    """Give a head bins for -2 and -1 strides; its predictions stay what they were.

    Its last layers and its ``dfl`` are replaced: do it before an optimiser or a copy is made.

    Args:
        head: Ultralytics' ``Detect``, or a head of several groups; one without distributions, or
            with bins below 0 already, is left as it is.
    """
    if head.reg_max > 1 and not has_bins_below_zero(head):
        below = torch.arange(-float(BESIDE), 0)
        set_bins(head, torch.cat((below, bin_values(head).cpu())))


@torch.no_grad()
def set_bins(head: Detect, values: Tensor) -> None:
    """Make the bins of a head stand for other strides.

    A bin that the head has already keeps its weights, a new one is closed, and one that is not
    wanted goes.

    Args:
        head: Ultralytics' ``Detect``, or a head of several groups, with distributions.
        values: Strides of each bin, shape ``(R,)``.
    """
    before = {value: i for i, value in enumerate(bin_values(head).tolist())}
    kept = [(i, before[value]) for i, value in enumerate(values.tolist()) if value in before]
    for branch in box_branches(head):
        branch[-1] = _with_bins(branch[-1], len(before), len(values), kept)
    weight = head.dfl.conv.weight
    head.reg_max = len(values)
    head.no = head.nc + 4 * head.reg_max
    head.dfl = DFL(head.reg_max).to(weight)
    head.dfl.conv.weight.copy_(values.view_as(head.dfl.conv.weight))


def _with_bins(old: nn.Conv2d, n_old: int, n_new: int, kept: list[tuple[int, int]]) -> nn.Conv2d:
    """Build a last layer with other bins; ``kept`` are places in the new and in the old one."""
    new = nn.Conv2d(old.in_channels, 4 * n_new, 1).to(old.weight)
    new.weight.zero_()
    new.bias.fill_(CLOSED)  # type: ignore[union-attr]
    to, of = torch.tensor(kept, dtype=torch.int64).view(-1, 2).unbind(1)
    for name in ("weight", "bias"):
        rows, old_rows = (
            getattr(layer, name).unflatten(0, (4, n)) for layer, n in ((new, n_new), (old, n_old))
        )
        rows[:, to] = old_rows[:, of]
    return new


def has_bins_below_zero(head: Detect) -> float:
    """Tell how many strides beyond the anchor point a head's first bin stands for."""
    return -float(bin_values(head)[0])


def bin_values(head: Detect) -> Tensor:
    """List the strides that a head's bins stand for, shape ``(R,)``; 0 where it has none."""
    values: Tensor = head.dfl.conv.weight if head.reg_max > 1 else torch.zeros(1)
    return values.detach().float().flatten().clone()
