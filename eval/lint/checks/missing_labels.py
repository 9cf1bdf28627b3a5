"""Rule ``missing-labels``: noteheads without a box.

Filled noteheads are the most frequent symbol, and look alike in all fonts: an ellipse. Where the
ink of a page looks like one and no box is there, a label is missing.

Shapes: K noteheads found on a page, N boxes of the page.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from eval.lint.checks.note_parts import touches_any
from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.ink import Ink, ink_shares
from eval.lint.pages import LintPage

HEAD = "noteheadBlack"
"""Start of the names of filled noteheads."""
WIDTH, HEIGHT, DEGREES = 1.3, 0.9, -20.0
"""Axes of the ellipse in staff spaces, and its angle."""
CORE_WIDTH, CORE_HEIGHT = 0.8, 0.6
"""Size of the part of a notehead that is completely filled, in staff spaces."""
MIN_FILLED = 0.8
"""Least share of ink in this part: 0.95 for noteheads and at most 0.56 for letters on engraved
pages."""
SEARCH_SPACE_PX = 6.0
"""Staff space of the reduced image in which noteheads are searched."""
MAX_SIDE = 20.0
"""Side of the largest boxes that explain ink, in staff spaces; staves are larger."""
BORDER = 1.5
"""Distance from the border within which tiles are not searched, in staff spaces."""


class MissingLabels:
    """Counts what looks like a filled notehead, and is in no box."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._thresholds = thresholds
        self._head = next((name for name in names if name.startswith(HEAD)), None)
        self._n_heads: dict[str, int] = defaultdict(int)
        self._n_missing: dict[str, int] = defaultdict(int)
        self._examples: dict[str, list[Example]] = defaultdict(list)

    def add(self, page: LintPage) -> None:
        """Search an image with staves."""
        if self._head is None or (ink := page.ink) is None or (space := page.staff_space) is None:
            return
        heads = find_heads(ink, space, self._thresholds["min_similarity"])
        if page.is_tile:
            size = np.array([page.page.width, page.page.height])
            margin = BORDER * space
            heads = heads[((heads > margin) & (heads < size - margin)).all(axis=1)]
        small = (page.sides <= MAX_SIDE * space).all(axis=1)
        points = np.concatenate((heads, heads), axis=1)
        missing = heads[~touches_any(points, page.page.boxes_xyxy[small], (0.0,) * 4)]
        self._n_heads[page.source] += len(heads)
        self._n_missing[page.source] += len(missing)
        examples = self._examples[page.source]
        for x, y in missing[: N_EXAMPLES - len(examples)].tolist():
            half_width, half_height = WIDTH * space / 2, HEIGHT * space / 2
            box = (x - half_width, y - half_height, x + half_width, y + half_height)
            examples.append(Example(split=page.split, page=page.page.image, box_xyxy=box))

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the sources with enough noteheads without a box."""
        limits = self._thresholds
        for source, count in self._n_missing.items():
            share = count / max(1, self._n_heads[source])
            if count >= limits["min_count"] and share >= limits["min_share"]:
                yield Occurrence(
                    class_name=self._head or "",
                    source=source,
                    count=count,
                    share=share,
                    examples=tuple(self._examples[source]),
                    detail="share of the filled noteheads found in the ink",
                )


def find_heads(ink: Ink, space: float, min_similarity: float) -> NDArray[np.float64]:
    """Find ink that looks like a filled notehead.

    Args:
        ink: Ink of the page.
        space: Staff space in pixels.
        min_similarity: Minimum correlation with the ellipse, 0 to 1.

    Returns:
        Centres as ``(x, y)`` in pixels, shape ``(K, 2)``.
    """
    slit = np.ones((max(2, round(0.3 * space)), 1), np.uint8)  # left by the staff lines
    closed = cv2.morphologyEx(ink.without_lines, cv2.MORPH_CLOSE, slit) * np.uint8(255)
    factor = max(1.0, space / SEARCH_SPACE_PX)
    reduced = cv2.resize(closed, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    template = _ellipse(space / factor)
    if min(reduced.shape) <= max(template.shape):
        return np.empty((0, 2))
    similarity = cv2.matchTemplate(reduced, template, cv2.TM_CCOEFF_NORMED)
    side = max(3, round(1.05 * space / factor))
    highest = cv2.dilate(similarity, np.ones((side, side), np.uint8))
    y, x = np.nonzero((similarity > min_similarity) & (similarity >= highest))
    centres = factor * np.column_stack((x + template.shape[1] / 2, y + template.shape[0] / 2))
    half = np.array([CORE_WIDTH, CORE_HEIGHT]) * space / 2
    core = np.column_stack((centres - half, centres + half))
    return np.asarray(centres[ink_shares(ink.sums, core) >= MIN_FILLED])


def _ellipse(space: float) -> NDArray[np.uint8]:
    """Draw a notehead with a margin."""
    height, width = round(1.05 * space), round(1.3 * space)
    margin = round(0.3 * space)
    image = np.zeros((height + 2 * margin, width + 2 * margin), np.uint8)
    centre = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
    axes = (WIDTH * space, HEIGHT * space)
    cv2.ellipse(image, (centre, axes, DEGREES), (255,), -1, cv2.LINE_AA)
    return image
