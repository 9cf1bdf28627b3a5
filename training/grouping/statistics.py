"""What the labels of a data set say about its classes, as far as heads are concerned.

Two boxes compete where an anchor point is a candidate of both: one head can predict only one of
them there. Heads with a box branch each can predict both.

Shapes: N symbols of all images, C classes, A anchor points, P candidate pairs, S anchor points
that are candidates of equally many classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from converters.page import Page
from training.assigners.assignment import Anchors, Targets, candidate_pairs

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BOXES_AT_ONCE = 20_000
"""Boxes, or a few more, whose candidate pairs are in memory together."""
LEAST_SIDE_PX = 0.1
"""A side that was rounded to nothing counts as this, so that its logarithm is a number."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Symbols:
    """The symbols of all images as the network sees them, image after image."""

    imgsz: int
    """Side of the network's input in pixels."""
    images: Ints
    """Image of each symbol, never falling, shape ``(N,)``."""
    labels: Ints
    """Shape ``(N,)``."""
    boxes_xyxy: Floats
    """Pixels of the network's input, shape ``(N, 4)``."""

    def __post_init__(self) -> None:
        n = len(self.images)
        shapes = self.images.shape, self.labels.shape, self.boxes_xyxy.shape
        if shapes != ((n,), (n,), (n, 4)) or (np.diff(self.images) < 0).any():
            raise ValueError(f"symbols: of shape {shapes}, or not image after image")

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidates:
    """The anchor points that each box of some images could have."""

    symbols: Ints
    """Symbol of each pair, never falling, shape ``(P,)``."""
    points: Ints
    """Anchor point of each pair, a number of its own in every image, shape ``(P,)``."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClassStatistics:
    """What the strategies go by."""

    names: tuple[str, ...]
    """C of them; the place in this list is the label."""
    n_symbols: Ints
    """Of each class, shape ``(C,)``."""
    shapes: Floats
    """Mean of ln(width / height), NaN where there is no symbol, shape ``(C,)``."""
    n_images: Ints
    """Images that hold both classes, shape ``(C, C)``; on the diagonal those that hold the one."""
    collisions: Ints
    """Anchor points that are candidates of both classes in an image, shape ``(C, C)``; on the
    diagonal those that are candidates of several boxes of the class."""

    def __post_init__(self) -> None:
        n = len(self.names)
        shapes = self.n_symbols.shape, self.shapes.shape, self.n_images.shape, self.collisions.shape
        if shapes != ((n,), (n,), (n, n), (n, n)):
            raise ValueError(f"statistics of {n} classes are of shape {shapes}")

    def of(self, labels: Ints) -> "ClassStatistics":
        """Keep some classes, in the order of ``labels``."""
        return ClassStatistics(
            names=tuple(self.names[label] for label in labels),
            n_symbols=self.n_symbols[labels],
            shapes=self.shapes[labels],
            n_images=self.n_images[np.ix_(labels, labels)],
            collisions=self.collisions[np.ix_(labels, labels)],
        )


def symbols_of(pages: Iterable[Page], n_classes: int, imgsz: int) -> Symbols:
    """Gather the symbols of all images, scaled and centred as the trainer does it.

    Args:
        pages: Images with their symbols.
        n_classes: C.
        imgsz: Side of the network's input in pixels; the longer side of an image becomes this.

    Raises:
        ValueError: A label is not one of C.
    """
    images, labels = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    boxes_xyxy = [np.empty((0, 4))]
    for i, page in enumerate(pages):
        page.check_labels(n_classes)
        scale = imgsz / max(page.width, page.height)
        left, top = (imgsz - page.width * scale) / 2, (imgsz - page.height * scale) / 2
        images.append(np.full(len(page.labels), i, np.int64))
        labels.append(page.labels)
        boxes_xyxy.append(page.boxes_xyxy * scale + [left, top, left, top])
    return Symbols(
        imgsz=imgsz,
        images=np.concatenate(images),
        labels=np.concatenate(labels),
        boxes_xyxy=np.concatenate(boxes_xyxy),
    )


def candidates(
    symbols: Symbols, strides: Sequence[int], at_once: int = BOXES_AT_ONCE
) -> Iterator[Candidates]:
    """List the candidate pairs of all symbols, those of some whole images at a time.

    Args:
        symbols: Of all images.
        strides: Pixels per cell of each level, finest first.
        at_once: Boxes at a time, at least: the last image is not divided.

    Raises:
        ValueError: The size of the input is not a multiple of a stride.
    """
    anchors = Anchors.of_image((symbols.imgsz, symbols.imgsz), strides)
    ends = np.flatnonzero(np.diff(symbols.images, append=-1)) + 1  # of each image with symbols
    begin = 0
    while begin < len(symbols):
        last = min(int(np.searchsorted(ends, begin + at_once)), len(ends) - 1)
        end = int(ends[last])
        targets = Targets(
            images=torch.from_numpy(symbols.images[begin:end]),
            labels=torch.from_numpy(symbols.labels[begin:end]),
            boxes_xyxy=torch.from_numpy(symbols.boxes_xyxy[begin:end]),
        )
        with one_thread():
            boxes, points = (pairs.numpy() for pairs in candidate_pairs(anchors, targets))
        boxes += begin
        yield Candidates(symbols=boxes, points=points + symbols.images[boxes] * len(anchors))
        begin = end


def measure(symbols: Symbols, names: Sequence[str], strides: Sequence[int]) -> ClassStatistics:
    """Count and measure the classes.

    Args:
        symbols: Of all images.
        names: Class names; a label is a place in this list.
        strides: Pixels per cell of each level, finest first.
    """
    n_classes = len(names)
    sides = np.maximum(symbols.boxes_xyxy[:, 2:] - symbols.boxes_xyxy[:, :2], LEAST_SIDE_PX)
    n_symbols = np.bincount(symbols.labels, minlength=n_classes)
    sums = np.bincount(symbols.labels, np.log(sides[:, 0] / sides[:, 1]), minlength=n_classes)
    missing = np.full(n_classes, np.nan)
    total = np.zeros((n_classes, n_classes), np.int64)
    for some in candidates(symbols, strides):
        total += collisions(some, symbols.labels, n_classes)
    return ClassStatistics(
        names=tuple(names),
        n_symbols=n_symbols,
        shapes=np.divide(sums, n_symbols, out=missing, where=n_symbols > 0),
        n_images=_images_of_both(symbols, n_classes),
        collisions=total,
    )


def collisions(some: Candidates, labels: Ints, n_classes: int) -> Ints:
    """Count the points that two classes, or several boxes of one, compete for.

    Args:
        some: Candidate pairs of whole images.
        labels: Of all symbols, shape ``(N,)``.
        n_classes: C.

    Returns:
        As in :class:`ClassStatistics`, shape ``(C, C)``.
    """
    entries = some.points * n_classes + labels[some.symbols]
    entries, n_boxes = np.unique(entries, return_counts=True)  # a point and a class of it each
    points, own = np.divmod(entries, n_classes)
    total = np.diag(np.bincount(own[n_boxes > 1], minlength=n_classes))
    starts = np.flatnonzero(np.diff(points, prepend=-1))
    n_own = np.diff(starts, append=len(points))  # classes of each point
    for n in range(2, int(n_own.max(initial=1)) + 1):
        classes = own[starts[n_own == n][:, None] + np.arange(n)]  # (S, n), rising in a row
        for i, j in combinations(range(n), 2):
            both = classes[:, i] * n_classes + classes[:, j]
            total += np.bincount(both, minlength=n_classes**2).reshape(n_classes, n_classes)
    above: Ints = np.triu(total, k=1)
    return total + above.T


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch work alone: on a busy machine, threads wait for each other at every small step."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _images_of_both(symbols: Symbols, n_classes: int) -> Ints:
    images, rows = np.unique(symbols.images, return_inverse=True)
    holds = np.zeros((len(images), n_classes))  # floats: only those are multiplied fast
    holds[rows, symbols.labels] = 1
    both: Ints = (holds.T @ holds).astype(np.int64)
    return both
