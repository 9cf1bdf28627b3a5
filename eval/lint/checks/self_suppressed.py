"""Rule ``self-suppressed``: ground truth that non-maximum suppression (NMS) would remove."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.lint.checks.similar_boxes import page_pairs
from eval.lint.findings import Occurrence
from eval.lint.pages import LintPage
from eval.lint.tally import BoxTally


class SelfSuppressed:
    """Counts the boxes that greedy NMS per class removes if all scores are equal."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image, without those that the border of a tile may have cut."""
        pairs = page_pairs(page, self._thresholds["nms_iou"], same_class=True)
        flagged = _suppressed(pairs, len(page.rows))
        self._tally.add(page, flagged, page.is_complete)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes of which NMS keeps too few boxes."""
        min_share = 1 - self._thresholds["min_kept"] + 1e-9
        yield from self._tally.occurrences({**self._thresholds, "min_share": min_share})


def _suppressed(pairs: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    """Return which of ``n`` boxes NMS removes, given sorted pairs ``(P, 2)`` that overlap."""
    removed = bytearray(n)
    for first, second in pairs.tolist():
        if not removed[first]:
            removed[second] = 1
    return np.frombuffer(removed, np.uint8).astype(bool)
