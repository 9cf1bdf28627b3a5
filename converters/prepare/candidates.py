"""Candidates for contact sheets: symbols of a page, chosen at random and by size and shape.

Shapes: N symbols of a page in all its images, K candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.page import Page

RANDOM, LARGEST, SMALLEST, WIDEST, TALLEST = "random", "largest", "smallest", "widest", "tallest"
_EXTREMES = LARGEST, SMALLEST, WIDEST, TALLEST
REASONS = (*_EXTREMES, RANDOM)
"""Reasons to show a symbol, the most interesting first. Sizes are in staff spaces, so images with
an unknown staff space have neither largest nor smallest symbols; widest and tallest refer to the
ratio of width and height."""
MOST_OF_AN_IMAGE = 4
"""Maximum number of random symbols of a class from one image, so that crops differ."""
CANDIDATE = np.dtype(
    [
        ("label", np.int32),
        ("image", np.int64),
        ("reason", np.int8),
        ("rank", np.float64),
        ("box_xyxy", np.float64, 4),
    ]
)
"""A candidate: label, index of its image among those of the page, index of its reason in
:data:`REASONS`, rank (the lowest comes first), and box in pixels of the image."""
GOLDEN = (5**0.5 - 1) / 2
"""Golden ratio, whose multiples modulo 1 are spread evenly: adjacent symbols are seldom chosen
together. NumPy's generators would take longer to import than all candidates to find."""
_LEAST_PX = 1e-6
"""Side that replaces zero in ratios."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateLimits:
    """Numbers of candidates of a page, per class."""

    n_random: int
    """Maximum number of random symbols, and of those from one image ``MOST_OF_AN_IMAGE``."""
    n_extreme: int
    """Maximum number of symbols for each other reason."""


def find_candidates(images: Sequence[Page], limits: CandidateLimits) -> NDArray[np.void]:
    """Choose symbols of each class of a page.

    Args:
        images: The page, or its tiles, which have one staff space. Symbols that are marked as cut
            are chosen at random only, and a symbol that is complete in several tiles is chosen once
            per other reason.
        limits: Numbers of candidates.

    Returns:
        Candidates, shape ``(K,)``, of type :data:`CANDIDATE`.
    """
    labels = np.concatenate([image.labels for image in images]) if images else np.empty(0, np.int64)
    if not len(labels):
        return np.empty(0, CANDIDATE)
    index = np.repeat(np.arange(len(images)), [len(image.labels) for image in images])  # (N,)
    boxes = np.concatenate([image.boxes_xyxy for image in images])
    hashes = np.array([name_hash(image.image) for image in images])[index]
    extremes, reasons, ranks = _extreme_rows(images, labels, index, boxes, limits.n_extreme)
    random = _random_rows(images, labels, index, hashes, limits.n_random)
    rows = np.concatenate([extremes, random])
    candidates = np.empty(len(rows), CANDIDATE)
    candidates["label"], candidates["image"] = labels[rows], index[rows]
    candidates["reason"] = np.concatenate([reasons, np.full(len(random), len(_EXTREMES))])
    candidates["rank"] = np.concatenate([ranks, hashes[random]])
    candidates["box_xyxy"] = boxes[rows]
    return candidates


def _extreme_rows(
    images: Sequence[Page],
    labels: NDArray[np.int64],
    index: NDArray[np.int64],
    boxes_xyxy: Boxes,
    n_extreme: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Choose the symbols of extreme sizes and shapes of each class.

    Args:
        images: Images of the page.
        labels: Class of each symbol, shape ``(N,)``.
        index: Image of each symbol, shape ``(N,)``.
        boxes_xyxy: Boxes in pixels of this image, shape ``(N, 4)``.
        n_extreme: Maximum number per class and reason.

    Returns:
        Indices of symbols, of reasons, and ranks, each of shape ``(K,)``.
    """
    complete = _complete(images, labels, index, boxes_xyxy)
    boxes, of_complete = boxes_xyxy[complete], labels[complete]
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], _LEAST_PX)
    measures = {2: sides[:, 0] / sides[:, 1]}
    if (space := images[0].staff_space) is not None:
        measures[0] = sides.max(axis=1) / space
    in_order, numbers = np.sort(of_complete), np.arange(len(complete))
    is_first = numbers - np.searchsorted(in_order, in_order) < n_extreme
    is_last = np.searchsorted(in_order, in_order, "right") - numbers <= n_extreme
    n_first = np.count_nonzero(is_first)  # as many are last
    rows, reasons, ranks = [], [], []
    for reason, measure in measures.items():
        order = _by_label(np.argsort(measure, kind="stable"), of_complete)
        highest, lowest = order[is_last], order[is_first]
        rows += [complete[highest], complete[lowest]]
        ranks += [-measure[highest], measure[lowest]]
        reasons += [reason, reason + 1]
    return np.concatenate(rows), np.repeat(reasons, n_first), np.concatenate(ranks)


def _by_label(order: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort indices by label, those with equal labels in their order; fast for small integers."""
    sorted_rows: NDArray[np.int64] = order[
        np.argsort(labels[order].astype(np.int16), kind="stable")
    ]
    return sorted_rows


def _random_rows(
    images: Sequence[Page],
    labels: NDArray[np.int64],
    index: NDArray[np.int64],
    hashes: NDArray[np.float64],
    n_random: int,
) -> NDArray[np.int64]:
    """Return the indices of random symbols of each class, from the images with the lowest hashes.

    Args:
        images: Images of the page.
        labels: Class of each symbol, shape ``(N,)``.
        index: Image of each symbol, shape ``(N,)``.
        hashes: Hash of the name of this image, shape ``(N,)``.
        n_random: Maximum number per class.
    """
    spread = (name_hash(images[0].image) + GOLDEN * np.arange(len(labels))) % 1
    shuffled = np.argsort(spread)
    if len(images) > 1:
        shuffled = shuffled[np.argsort(hashes[shuffled], kind="stable")]
    order = _by_label(shuffled, labels)
    order = order[position_in_run(labels[order], index[order]) < MOST_OF_AN_IMAGE]
    return order[position_in_run(labels[order]) < n_random]


def _complete(
    images: Sequence[Page],
    labels: NDArray[np.int64],
    index: NDArray[np.int64],
    boxes_xyxy: Boxes,
) -> NDArray[np.int64]:
    """Return the indices of symbols that no border of a tile cuts, each in its first tile."""
    parts = [np.zeros(len(i.labels), bool) if i.cut is None else i.cut for i in images]
    rows = np.flatnonzero(~np.concatenate(parts))
    if len(images) == 1:
        return rows
    corners = np.array([(p.x, p.y) if (p := i.placement) else (0, 0) for i in images])
    on_page = np.round(boxes_xyxy[rows] + np.tile(corners, 2)[index[rows]], 1)
    order = np.lexsort((*on_page.T, labels[rows]))
    is_first = position_in_run(labels[rows][order], *on_page[order].T) == 0
    distinct: NDArray[np.int64] = rows[order[is_first]]
    return distinct


def name_hash(image: PurePosixPath) -> float:
    """Return a pseudorandom number from 0 to 1 that depends on the name of an image alone."""
    return int.from_bytes(sha256(image.as_posix().encode()).digest()[:8], "big") / 2**64


def position_in_run(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the position of each row among the adjacent rows with equal keys, from 0.

    Args:
        keys: Arrays of shape ``(N,)``, sorted so that equal rows are adjacent.
    """
    rows = np.arange(len(keys[0]))
    is_first = rows == 0
    for key in keys:
        is_first[1:] |= key[1:] != key[:-1]
    starts: NDArray[np.int64] = np.maximum.accumulate(np.where(is_first, rows, 0))
    return rows - starts
