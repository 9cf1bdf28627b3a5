"""Boxes that need not contain their anchor point.

A head of Ultralytics predicts how far the four sides of a box lie from its anchor point, 0 to 15
strides, so every box holds its point. A stem 2 px wide holds one only by luck: next to it the best
box is as wide as the distance to the point, and no training makes it narrower. Here the bins stand
for -2 to 13 strides: a side may lie on the other side of the point.

Nothing is added to the model. The bins' values are the weights of ``Detect.dfl``, which are fixed
and stored with the checkpoint, so prediction and export with plain Ultralytics give the same boxes.
Only the loss has to know of it. A head without distributions predicts signed distances already.

Shapes: R bins of a distance.
"""

import torch
from torch import Tensor
from ultralytics.nn.modules.head import Detect

BESIDE = 2.0
"""Strides that a side may lie beyond the anchor point: an anchor point of the finest level, 4 px
apart, is looked for up to 8 px from a symbol's centre, which is two of its strides."""


@torch.no_grad()
def allow_beside(head: Detect, strides: float = BESIDE) -> None:
    """Let the bins of a new head begin below 0.

    Args:
        head: Ultralytics' ``Detect``; one without distributions is left as it is.
        strides: Distance of the first bin, as a number above 0.
    """
    if head.reg_max > 1:
        head.dfl.conv.weight.sub_(strides)


def beside(head: Detect) -> float:
    """Tell how many strides beyond the anchor point a head's first bin stands for."""
    return -float(bin_values(head)[0])


def bin_values(head: Detect) -> Tensor:
    """List the strides that a head's bins stand for, shape ``(R,)``; 0 where it has none."""
    values: Tensor = head.dfl.conv.weight if head.reg_max > 1 else torch.zeros(1)
    return values.detach().float().flatten().clone()
