"""Joining of windows: parts of one long symbol that the network finds in one tile.

A level of the network encodes distances of up to about 15 strides from an anchor point to each side
of a box. The level with the finest stride, 8 px, sees thin lines best, so that it finds a longer
line, such as a barline through several staves, as several windows of 240 px, each around another
anchor point.

Shapes: P pieces found in all tiles of a page, W windows.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.overlaps import overlapping_pairs
from reading.pieces import MARGIN, TOLERANCE_PX, Pieces

LONG = 0.5
"""Fraction of the tile's side from which a piece may be a window."""
SLENDER = 4.0
"""Least ratio of length and thickness of a window."""
MIN_SHARED = 0.5
"""Least fraction of the shorter window's length, and of the thinner one's thickness, that two
windows of one symbol share."""
MIN_SCORE_RATIO = 0.3
"""A window whose score is a smaller fraction of the other's does not extend it."""
REPEAT = 0.8
"""Fraction of its length from which a window inside a better one repeats it."""


def join_windows(pieces: Pieces, tile_px: int) -> Pieces:
    """Replace the windows of each symbol by one piece with their highest score.

    Args:
        pieces: Pieces, highest score first.
        tile_px: Side of a tile in pixels.

    Returns:
        The remaining pieces, highest score first.
    """
    sides = np.sort(pieces.boxes_xyxy[:, 2:] - pieces.boxes_xyxy[:, :2], axis=1)  # (P, 2)
    is_window = (sides[:, 1] >= LONG * tile_px) & (sides[:, 1] >= SLENDER * sides[:, 0])
    rows = np.flatnonzero(is_window)
    windows = _joined(pieces.only(rows))
    _, second, inside = _aligned(windows)
    is_kept = np.ones(len(pieces.labels), np.bool_)
    is_kept[rows[second[inside >= REPEAT]]] = False
    is_kept[rows[np.isnan(windows.scores)]] = False
    boxes = pieces.boxes_xyxy.copy()
    boxes[rows] = windows.boxes_xyxy
    return replace(pieces, boxes_xyxy=boxes).only(is_kept)


def _joined(windows: Pieces) -> Pieces:
    """Extend the best window of each symbol by the others, whose scores become NaN."""
    boxes, scores = windows.boxes_xyxy.copy(), windows.scores.copy()
    best_of = list(range(len(scores)))
    first, second, _ = _aligned(windows)
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        while a != best_of[a]:
            a = best_of[a]
        while b != best_of[b]:
            b = best_of[b]
        best, other = min(a, b), max(a, b)
        if best == other or windows.scores[other] < MIN_SCORE_RATIO * windows.scores[best]:
            continue
        best_of[other] = best
        boxes[best] = _extended(boxes[best], boxes[other])
        scores[other] = np.nan
    return replace(windows, boxes_xyxy=boxes, scores=scores)


def _extended(window: Boxes, other: Boxes) -> Boxes:
    """Extend a window by another one of the same line.

    On a straight line, the thinner window is the more exact one; on a slanted line, each of them
    shows another part of the thickness.

    Args:
        window: A window, shape ``(4,)``.
        other: Another window, shape ``(4,)``.
    """
    low, high = np.minimum(window[:2], other[:2]), np.maximum(window[2:], other[2:])
    hull: Boxes = np.concatenate([low, high])
    across = int((high - low).argmin()) + np.array([0, 2])
    thin, thick = sorted((window[across], other[across]), key=lambda edges: edges[1] - edges[0])
    if thick[0] - TOLERANCE_PX <= thin[0] and thin[1] <= thick[1] + TOLERANCE_PX:
        hull[across] = thin
    return hull


def _aligned(
    windows: Pieces,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """List pairs of windows of one class, tile and direction that overlap on one line.

    Returns:
        Indices of both windows, the better one first, and the fraction of the second one's length
        that lies inside the first one, shape ``(N,)`` each.
    """
    n_classes = int(windows.labels.max(initial=0)) + 1
    boxes = windows.boxes_xyxy + MARGIN
    is_upright = (boxes[:, 2] - boxes[:, 0]) < (boxes[:, 3] - boxes[:, 1])
    groups = (windows.tiles * n_classes + windows.labels) * 2 + is_upright
    first, second = overlapping_pairs(boxes, labels=groups).T
    a, b = boxes[first], boxes[second]
    shared = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])  # (N, 2)
    spans = np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2])
    second_sides = b[:, 2:] - b[:, :2]
    smaller = np.minimum(a[:, 2:] - a[:, :2], second_sides)
    is_one = (shared >= MIN_SHARED * smaller).all(axis=1)
    is_one &= ~np.isnan(windows.scores[first] + windows.scores[second])
    along = spans.argmax(axis=1)[:, None]
    inside = np.take_along_axis(shared / second_sides, along, axis=1)[:, 0]
    return first[is_one], second[is_one], inside[is_one]
