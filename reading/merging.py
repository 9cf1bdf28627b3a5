"""Merging of what overlapping tiles show into the symbols of the page.

A symbol in the overlap of two tiles is found in both, possibly cut by the border of one of them. A
long symbol may be cut in every tile. Two pieces are parts of one symbol if they have the same class
and agree within the area that both tiles show. No class needs a rule of its own.

Shapes: P pieces found in all tiles of a page, K groups of pieces, T tiles.
"""

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.overlaps import overlapping_pairs
from reading.pieces import MARGIN, Pieces
from reading.suppression import ious, suppress
from reading.tiling import TileGrid
from reading.windows import join_windows

MIN_AGREEMENT = 0.5
"""Smallest agreement of two pieces of one symbol, along x and along y."""
BORDER_PX = 3.0
"""Distance from a tile's border within which a piece counts as cut there."""
BORDER_FRACTION = 0.04
"""The same distance as a fraction of the side of long pieces, whose ends are less exact."""
MOST_BORDER_PX = 12.0
"""Upper limit of this distance."""
STRAIGHT_PX = 2.0
"""Difference up to which the cross-sections of two pieces count as equal and are averaged."""
PART, PART_CROSS_SECTION, LONGER = 0.8, 0.6, 1.25
"""A box is a part of another one of its class if at least ``PART`` of its length is inside it, the
cross-sections have at least this IoU, and the other one is ``LONGER`` times as long."""
REPEAT_IOU, REPEAT_MARGIN_PX = 0.5, 2.0
"""A box repeats a better one if their IoU is higher after both have been extended by the margin.
Without it, two boxes of one stem, 1.5 px thick and half a pixel apart, would both be kept."""
DOUBTFUL = 0.5
"""A piece whose score is a lower fraction of the best one's does not count if no border cuts the
best one."""
MOST_WEAK = 5000
"""Limit on the weak pieces of a page, of which an untrained network finds thousands per tile: the
number of pairs to compare grows with its square."""
COMPLETE = 0.95
"""Fraction of a symbol's length from which a piece that no border cuts is the whole symbol."""


def merge(
    pieces: Pieces, grid: TileGrid, *, are_exact: bool = False
) -> tuple[Boxes, NDArray[np.int64], NDArray[np.float64]]:
    """Merge the pieces of a page into whole symbols, each once.

    Args:
        pieces: Pieces in any order, without duplicates within a tile.
        grid: Tiles of the page.
        are_exact: Whether the pieces are ground truth, which has no repeats to remove. Symbols of
            one class may then overlap as much as the boxes of two slanted beams.

    Returns:
        Boxes in pixels of the page, shape ``(K, 4)``; labels and scores, shape ``(K,)``, highest
        score first.
    """
    # The result must not depend on the order of the pieces.
    order = np.lexsort((*pieces.boxes_xyxy.T, pieces.labels, pieces.tiles, -pieces.scores))
    pieces = pieces.only(order)
    if not are_exact:
        pieces = join_windows(pieces, grid.size)
    is_cut = cut_sides(pieces, grid)
    group_of = _groups(pieces, grid, is_cut)
    counts = ~(
        _is_fragment(pieces, grid, is_cut, group_of) | _is_doubtful(pieces, is_cut, group_of)
    )
    pieces, is_cut, group_of = pieces.only(counts), is_cut[counts], group_of[counts]
    by_group = np.argsort(group_of, kind="stable")
    pieces, is_cut = pieces.only(by_group), is_cut[by_group]
    firsts = np.flatnonzero(np.diff(group_of[by_group], prepend=-1))  # (K,)
    scores = np.maximum.reduceat(pieces.scores, firsts) if len(firsts) else np.empty(0)
    boxes = _whole(pieces, is_cut, firsts)
    best_first = np.lexsort((*boxes.T, -scores))
    boxes, labels, scores = boxes[best_first], pieces.labels[firsts][best_first], scores[best_first]
    if are_exact:
        return boxes, labels, scores
    kept = _without_repeats(boxes, labels, scores)
    return boxes[kept], labels[kept], scores[kept]


def merge_by_score(
    pieces: Pieces, grid: TileGrid, threshold: float
) -> tuple[Boxes, NDArray[np.int64], NDArray[np.float64]]:
    """Merge pieces with a score above a threshold, and add what only weaker pieces show.

    Weaker pieces do not change the symbols of the others: as part of a group, they would extend its
    box. They are needed for an average precision, which counts predictions of any score. Only the
    best ``MOST_WEAK`` of them count.

    Args:
        pieces: Pieces in any order, without duplicates within a tile.
        grid: Tiles of the page.
        threshold: Score up to which a piece is weak.

    Returns:
        Boxes, labels and scores, as :func:`merge`.
    """
    is_weak = pieces.scores <= threshold
    strong = merge(pieces.only(~is_weak), grid)
    if not is_weak.any():
        return strong
    weakest_last = np.lexsort((*pieces.boxes_xyxy.T, pieces.labels, pieces.tiles, -pieces.scores))
    rows = weakest_last[is_weak[weakest_last]][:MOST_WEAK]
    weak = merge(pieces.only(rows), grid)
    boxes, labels, scores = (np.concatenate(arrays) for arrays in zip(strong, weak, strict=True))
    kept = _without_repeats(boxes, labels, scores)
    return boxes[kept], labels[kept], scores[kept]


def cut_sides(pieces: Pieces, grid: TileGrid) -> NDArray[np.bool_]:
    """Determine at which sides the border of its tile may cut each piece.

    Args:
        pieces: Pieces found in the tiles.
        grid: Tiles of the page.

    Returns:
        Left, top, right and bottom, shape ``(P, 4)``; False at the border of the page.
    """
    tiles = grid.tiles_xyxy[pieces.tiles]
    sides = pieces.boxes_xyxy[:, 2:] - pieces.boxes_xyxy[:, :2]
    near = np.clip(BORDER_FRACTION * sides, BORDER_PX, MOST_BORDER_PX)  # (P, 2)
    distances = np.abs(pieces.boxes_xyxy - tiles)
    return (distances < np.tile(near, 2)) & grid.is_inner[pieces.tiles]


def _groups(pieces: Pieces, grid: TileGrid, is_cut: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Group the pieces of each symbol; a group has at most one piece of each tile.

    Returns:
        Number of each piece's group, shape ``(P,)``.
    """
    first, second, agreement = _matches(pieces, grid, is_cut)
    group_of = list(range(len(pieces.tiles)))
    members = {i: [i] for i in group_of}
    tiles = [{tile} for tile in pieces.tiles.tolist()]  # of the members
    best_first = np.lexsort((second, first, -agreement))
    for a, b in zip(first[best_first].tolist(), second[best_first].tolist(), strict=True):
        kept, merged = sorted((group_of[a], group_of[b]))
        if kept == merged or not tiles[kept].isdisjoint(tiles[merged]):
            continue
        tiles[kept] |= tiles[merged]
        members[kept] += members[merged]
        for row in members.pop(merged):
            group_of[row] = kept
    return np.array(group_of, np.int64)


def _matches(
    pieces: Pieces, grid: TileGrid, is_cut: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Find pairs of pieces that may belong to one symbol.

    Returns:
        Indices of both pieces, the lower first, and their agreement.
    """
    first, second = _touching_pairs(pieces)
    tiles = grid.tiles_xyxy
    a_tiles, b_tiles = tiles[pieces.tiles[first]], tiles[pieces.tiles[second]]
    zones = np.concatenate(
        [np.maximum(a_tiles[:, :2], b_tiles[:, :2]), np.minimum(a_tiles[:, 2:], b_tiles[:, 2:])],
        axis=1,
    )
    a, b = pieces.boxes_xyxy[first], pieces.boxes_xyxy[second]
    agreement = _agreement(a, b, zones)
    is_uncut = ~(is_cut[first] | is_cut[second]).any(axis=1)
    agreement[is_uncut & (ious(a + MARGIN, b + MARGIN) <= MIN_AGREEMENT)] = 0
    for box in (a, b):  # a piece that shows nothing where the other tile looks
        is_seen = (box[:, :2] < zones[:, 2:]) & (box[:, 2:] > zones[:, :2])
        agreement[~is_seen.all(axis=1)] = 0
    kept = np.flatnonzero(agreement)
    return first[kept], second[kept], agreement[kept]


def _touching_pairs(pieces: Pieces) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List pairs of pieces of one class from different tiles whose boxes nearly touch."""
    first, second = overlapping_pairs(pieces.boxes_xyxy + MARGIN, labels=pieces.labels).T
    is_other = pieces.tiles[first] != pieces.tiles[second]
    return first[is_other], second[is_other]


def _agreement(a_xyxy: Boxes, b_xyxy: Boxes, zones: Boxes) -> NDArray[np.float64]:
    """Compare pairs of boxes within a zone.

    Args:
        a_xyxy: First box of each pair, shape ``(N, 4)``.
        b_xyxy: Second box of each pair, shape ``(N, 4)``.
        zones: Area that both tiles show, shape ``(N, 4)``.

    Returns:
        IoU within the zone, shape ``(N,)``; 0 where the boxes do not belong together.
    """
    low, high = np.tile(zones[:, :2], 2), np.tile(zones[:, 2:], 2)
    a, b = np.clip(a_xyxy, low, high), np.clip(b_xyxy, low, high)
    a, b = a + MARGIN, b + MARGIN
    shared = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])  # (N, 2)
    shared = shared.clip(min=0)
    spans = np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2])
    shorter = np.minimum(a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2])
    along = np.argmax(spans, axis=1)  # the axis along which the symbol extends
    rows = np.arange(len(a))
    # The cross-section of a sloped symbol depends on how much of it a tile shows.
    is_one = (shared[rows, along] > MIN_AGREEMENT * spans[rows, along]) & (
        shared[rows, 1 - along] > MIN_AGREEMENT * shorter[rows, 1 - along]
    )
    return np.where(is_one, (shared / spans).prod(axis=1), 0.0)


def _is_fragment(
    pieces: Pieces, grid: TileGrid, is_cut: NDArray[np.bool_], group_of: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark cut pieces alone in their group that another tile shows whole but did not find, (P,)."""
    is_alone = np.bincount(group_of, minlength=len(group_of))[group_of] == 1
    rows = np.flatnonzero(is_alone & is_cut.any(axis=1))
    # Another tile decides if it shows the piece and the page beyond the cut sides.
    margins = np.where(is_cut[rows], MOST_BORDER_PX, 0.0)
    needed = pieces.boxes_xyxy[rows] + margins * [-1, -1, 1, 1]
    tiles = grid.tiles_xyxy[:, None]  # (T, 1, 4)
    shows = (tiles[..., :2] <= needed[:, :2]) & (tiles[..., 2:] >= needed[:, 2:])
    is_other = np.arange(len(grid))[:, None] != pieces.tiles[rows]
    fragments = np.zeros(len(group_of), np.bool_)
    fragments[rows] = (shows.all(axis=2) & is_other).any(axis=0)
    return fragments


def _is_doubtful(
    pieces: Pieces, is_cut: NDArray[np.bool_], group_of: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark pieces with a low score in groups whose best piece shows the whole symbol, (P,).

    Args:
        pieces: Pieces, highest score first.
        is_cut: Sides at which each piece is cut, shape ``(P, 4)``.
        group_of: Group of each piece, shape ``(P,)``.
    """
    groups, first, rows = np.unique(group_of, return_index=True, return_inverse=True)
    best = first[rows] if len(groups) else rows
    is_weak: NDArray[np.bool_] = pieces.scores < DOUBTFUL * pieces.scores[best]
    return is_weak & ~is_cut[best].any(axis=1)


def _whole(pieces: Pieces, is_cut: NDArray[np.bool_], firsts: NDArray[np.int64]) -> Boxes:
    """Compute the box of the symbol that each group of pieces shows.

    Args:
        pieces: Pieces in the order of their groups.
        is_cut: Sides at which each piece is cut, shape ``(P, 4)``.
        firsts: Index of the first piece of each group, shape ``(K,)``.
    """
    boxes = pieces.boxes_xyxy
    if not len(firsts):
        return boxes
    sizes = np.diff(firsts, append=len(boxes))
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    hulls, _ = _hulls(boxes, firsts)
    lengths = np.repeat((hulls[:, 2:] - hulls[:, :2]).max(axis=1), sizes)
    # Pieces that no border cuts show the symbol if they are as long; cut ones then add nothing.
    is_complete = ~is_cut.any(axis=1) & (sides >= COMPLETE * lengths)
    counts = is_complete | ~np.repeat(np.logical_or.reduceat(is_complete, firsts), sizes)
    boxes, is_cut, sizes = (
        boxes[counts],
        is_cut[counts],
        np.add.reduceat(counts.astype(int), firsts),
    )
    firsts = np.cumsum(sizes) - sizes
    hulls, spread = _hulls(boxes, firsts)
    # Sides that no border cuts, and on which the pieces agree, are averaged.
    weights = (sides * pieces.scores)[counts, None]
    means = np.add.reduceat(weights * boxes, firsts) / np.add.reduceat(weights, firsts)
    is_free = ~np.logical_or.reduceat(is_cut, firsts) & (spread <= STRAIGHT_PX)
    return np.where(is_free & (sizes > 1)[:, None], means, hulls)


def _hulls(boxes: Boxes, firsts: NDArray[np.int64]) -> tuple[Boxes, NDArray[np.float64]]:
    """Return the smallest box around each group, and how far its pieces differ at each side."""
    low, high = np.minimum.reduceat(boxes, firsts), np.maximum.reduceat(boxes, firsts)  # (K, 4)
    return np.concatenate([low[:, :2], high[:, 2:]], axis=1), high - low


def _without_repeats(
    boxes: Boxes, labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Remove boxes that repeat a better one of their class, or a part of a longer one.

    Two parts of one symbol remain apart if their network got the ends of one of them wrong.

    Args:
        boxes: Boxes of symbols, best first, shape ``(K, 4)``.
        labels: Class labels, shape ``(K,)``.
        scores: Scores, shape ``(K,)``.

    Returns:
        Indices of the boxes to keep, ascending.
    """
    margins = REPEAT_MARGIN_PX * np.array([-1, -1, 1, 1])
    kept = suppress(boxes + margins, labels, REPEAT_IOU)
    return kept[~_is_part(boxes[kept], labels[kept], scores[kept])]


def _is_part(
    boxes: Boxes, labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Mark boxes that are a part of a longer one of their class with the same cross-section."""
    pairs = overlapping_pairs(boxes, labels=labels)
    part, whole = np.concatenate([pairs, pairs[:, ::-1]]).T  # (N,) each
    a, b = boxes[part], boxes[whole]
    shared = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])  # (N, 2)
    spans = np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2])
    sides, whole_sides = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    is_inside = shared > PART * sides
    is_same = shared > PART_CROSS_SECTION * spans
    is_longer = whole_sides > LONGER * sides
    is_trusted = scores[whole] > scores[part] / 2
    along = is_inside & is_same[:, ::-1] & is_longer  # x and y, with the other cross-section
    is_part = np.zeros(len(boxes), np.bool_)
    is_part[part[along.any(axis=1) & is_trusted]] = True
    return is_part
