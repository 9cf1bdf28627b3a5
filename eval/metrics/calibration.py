"""Calibration: whether predictions of confidence p are right in the fraction p of cases.

Source: C. Guo et al., On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599.

Shapes: C classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from hotcoco import metrics

from eval.metrics.hits import Hits
from eval.reports.evaluation import Calibration, CalibrationBin

N_BINS = 10
"""Bins of equal width, from confidence 0 to 1."""


def calibration(hits: Hits, heads: Mapping[str, Sequence[int]]) -> tuple[Calibration, ...]:
    """Compare confidence with precision, for each head of a network.

    Predictions of any confidence count; most of them have a low one.

    Args:
        hits: Predictions that are right at the first IoU threshold; scores are from 0 to 1.
        heads: Labels of each head's classes.
    """
    return tuple(_of_head(hits, name, labels) for name, labels in heads.items())


def _of_head(hits: Hits, name: str, labels: Sequence[int]) -> Calibration:
    rows = np.isin(hits.labels, labels)
    scores, is_right = hits.scores[rows], hits.is_hit[0, rows]
    if not len(scores):
        return Calibration(head=name, ece=None, bins=())
    return Calibration(
        head=name,
        ece=metrics.calibration_error(scores, is_right, N_BINS)[0],
        bins=tuple(
            CalibrationBin(
                confidence=row["avg_confidence"],
                precision=row["avg_accuracy"],
                n_predictions=row["count"],
            )
            for row in metrics.calibration_curve(scores, is_right, N_BINS)
            if row["count"]
        ),
    )
