"""Rule ``mirrored-image``: pages on which stems are on the wrong side of their noteheads.

Stems that point up are to the right of the notehead, stems that point down to the left; flips swap
the sides.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from converters.boxes import Boxes
from converters.overlaps import n_candidates, overlapping_pairs
from eval.lint.checks.note_parts import (
    MARGIN,
    MAX_CANDIDATES,
    starts_with,
    stemmed_heads,
)
from eval.lint.findings import Occurrence
from eval.lint.pages import LintPage
from eval.lint.tally import ImageTally


class MirroredImages:
    """Counts the images on which most stems are on the wrong side."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._thresholds = thresholds
        self._heads, self._stems = stemmed_heads(names), starts_with(names, "stem")
        self._tally = ImageTally()

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image with staves."""
        if not len(page.rows) or (space := page.staff_space) is None:
            return
        labels, boxes = page.page.labels, page.page.boxes_xyxy
        heads = boxes[self._heads[labels] & page.is_complete]
        stems = boxes[self._stems[labels] & page.is_complete]
        n_pairs, n_wrong = _stem_sides(heads, stems, MARGIN * space)
        if n_pairs >= self._thresholds["min_stems"]:
            self._tally.add(page, flagged=n_wrong >= self._thresholds["min_wrong"] * n_pairs)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the sources with mirrored images."""
        detail = "images whose stems are on the wrong side"
        yield from self._tally.occurrences(lambda _source: detail)


def _stem_sides(heads_xyxy: Boxes, stems_xyxy: Boxes, margin: float) -> tuple[int, int]:
    """Count the noteheads at one end of a stem, and those on the wrong side of it."""
    boxes = np.concatenate((heads_xyxy, stems_xyxy)) + margin * np.array([-1, -1, 1, 1])
    if not len(boxes) or n_candidates(boxes, 1e-9) > MAX_CANDIDATES:
        return 0, 0
    pairs = overlapping_pairs(boxes)
    first, second = pairs[(pairs[:, 0] < len(heads_xyxy)) & (pairs[:, 1] >= len(heads_xyxy))].T
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    dx, dy = (centres[second] - centres[first]).T  # from the notehead to the stem
    height = boxes[first, 3] - boxes[first, 1]
    at_end = np.abs(dy) > height / 2  # not a notehead in the middle of a chord
    return int(at_end.sum()), int((at_end & (dx * dy > 0)).sum())
