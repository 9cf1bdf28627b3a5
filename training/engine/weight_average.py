"""Decay of the moving average of the weights (EMA), in proportion to the steps so far.

Ultralytics' decay rises to .9999 over many thousand steps. After 1,200 steps it is .45, so that the
average is hardly more than the last weights.
"""

import math

FRACTION = 0.1
"""Time constant of the average as a fraction of the steps so far."""


def ema_decay(updates: int) -> float:
    """Return the weight of the earlier average in an update of the average.

    The average after T updates weights the values after update t in proportion to
    ``t ** (1 / FRACTION - 1)``: nearly two thirds of the weight is on the last tenth of the steps.
    The initial values have no weight.

    Args:
        updates: Number of updates including this one, at least 1.

    Source: Karras et al., https://arxiv.org/abs/2312.02696, section 3.1.
    """
    return math.pow(1.0 - 1.0 / updates, 1.0 / FRACTION)
