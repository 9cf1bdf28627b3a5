"""Choice of a confidence threshold on validation images.

Shapes: N predictions.
"""

import numpy as np
from numpy.typing import NDArray

DECIMALS = 4


def best_confidence(
    matched: NDArray[np.bool_], scores: NDArray[np.floating], n_truths: int
) -> float | None:
    """Return the confidence threshold with the highest F1 over all classes together.

    Args:
        matched: Whether each prediction matches a symbol, shape ``(N,)``.
        scores: Confidence of each prediction, above 0, shape ``(N,)``.
        n_truths: Number of symbols.

    Returns:
        Threshold halfway between the lowest confidence that is kept and the next lower one; None if
        no prediction matches.
    """
    if not matched.any():
        return None
    order = np.argsort(-scores, kind="stable")
    descending = np.append(scores[order], 0.0).astype(np.float64)  # (N + 1,)
    f1 = 2 * np.cumsum(matched[order]) / (np.arange(len(order)) + 1 + n_truths)
    f1[descending[1:] == descending[:-1]] = 0.0  # equal scores are kept or discarded together
    best = int(f1.argmax())
    return round(float(descending[best] + descending[best + 1]) / 2, DECIMALS)
