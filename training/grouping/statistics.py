"""Class statistics of a data set's labels for choosing heads.

Two boxes compete for an anchor point that is a candidate of both: a single head can predict only
one of them there, whereas two heads with separate box branches can predict both.

Shapes: N symbols of all images, C classes, A anchor points, P candidate pairs, S anchor points
that are candidates of the same number of classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from converters.page import Page
from training.assigners.assignment import Anchors, Targets
from training.assigners.candidate_pairs import pairs_inside

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BOXES_AT_ONCE = 20_000
"""Approximate number of boxes whose candidate pairs are in memory at once."""
LEAST_SIDE_PX = 0.1
"""Minimum length of a side, so that the logarithm of a side rounded to 0 is finite."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Symbols:
    """Symbols of all images in network input coordinates, grouped by image."""

    imgsz: int
    """Network input side in pixels."""
    images: Ints
    """Image index of each symbol, ascending, shape ``(N,)``."""
    labels: Ints
    """Class label of each symbol, shape ``(N,)``."""
    boxes_xyxy: Floats
    """Boxes in pixels of the network input, shape ``(N, 4)``."""

    def __post_init__(self) -> None:
        n = len(self.images)
        shapes = self.images.shape, self.labels.shape, self.boxes_xyxy.shape
        if shapes != ((n,), (n,), (n, 4)) or (np.diff(self.images) < 0).any():
            raise ValueError(f"symbols: shapes {shapes} do not match, or images are not ascending")

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidates:
    """Candidate pairs of symbols and anchor points of several images."""

    symbols: Ints
    """Symbol index of each pair, ascending, shape ``(P,)``."""
    points: Ints
    """Anchor point index of each pair, unique across images, shape ``(P,)``."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClassStatistics:
    """Statistics on which grouping strategies are based."""

    names: tuple[str, ...]
    """Class names, indexed by label."""
    n_symbols: Ints
    """Number of symbols per class, shape ``(C,)``."""
    shapes: Floats
    """Mean of ln(width / height), NaN for a class without symbols, shape ``(C,)``."""
    n_images: Ints
    """Images that contain both classes, shape ``(C, C)``; the diagonal counts each class alone."""
    collisions: Ints
    """Anchor points that are candidates of both classes, shape ``(C, C)``; on the diagonal, points
    that are candidates of several boxes of the class."""

    def __post_init__(self) -> None:
        n = len(self.names)
        shapes = self.n_symbols.shape, self.shapes.shape, self.n_images.shape, self.collisions.shape
        if shapes != ((n,), (n,), (n, n), (n, n)):
            raise ValueError(f"statistics of {n} classes have shapes {shapes}")

    def of(self, labels: Ints) -> "ClassStatistics":
        """Return the statistics of a selection of classes, in the order of ``labels``."""
        return ClassStatistics(
            names=tuple(self.names[label] for label in labels),
            n_symbols=self.n_symbols[labels],
            shapes=self.shapes[labels],
            n_images=self.n_images[np.ix_(labels, labels)],
            collisions=self.collisions[np.ix_(labels, labels)],
        )


def symbols_of(pages: Iterable[Page], n_classes: int, imgsz: int) -> Symbols:
    """Collect the symbols of all images, scaled and centred as in training.

    Args:
        pages: Images with their symbols.
        n_classes: Number of classes C.
        imgsz: Network input side in pixels; the longer side of an image is scaled to it.

    Raises:
        ValueError: A label is out of range.
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
    """Yield the candidate pairs of all symbols, several complete images at a time.

    Args:
        symbols: Symbols of all images.
        strides: Pixels per cell of each level, finest first.
        at_once: Minimum number of boxes per chunk; images are not divided.

    Raises:
        ValueError: The input size is not a multiple of every stride.
    """
    anchors = Anchors.of_image((symbols.imgsz, symbols.imgsz), strides)
    ends = np.flatnonzero(np.diff(symbols.images, append=-1)) + 1  # end of each image with symbols
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
            boxes, points = (pairs.numpy() for pairs in pairs_inside(anchors, targets))
        boxes += begin
        yield Candidates(symbols=boxes, points=points + symbols.images[boxes] * len(anchors))
        begin = end


def measure(symbols: Symbols, names: Sequence[str], strides: Sequence[int]) -> ClassStatistics:
    """Compute the statistics of the classes.

    Args:
        symbols: Symbols of all images.
        names: Class names, indexed by label.
        strides: Pixels per cell of each level, finest first.
    """
    n_classes = len(names)
    sides = np.maximum(symbols.boxes_xyxy[:, 2:] - symbols.boxes_xyxy[:, :2], LEAST_SIDE_PX)
    n_symbols = np.bincount(symbols.labels, minlength=n_classes)
    sums = np.bincount(symbols.labels, np.log(sides[:, 0] / sides[:, 1]), minlength=n_classes)
    missing = np.full(n_classes, np.nan)
    total = np.zeros((n_classes, n_classes), np.int64)
    for pairs in candidates(symbols, strides):
        total += collisions(pairs, symbols.labels, n_classes)
    return ClassStatistics(
        names=tuple(names),
        n_symbols=n_symbols,
        shapes=np.divide(sums, n_symbols, out=missing, where=n_symbols > 0),
        n_images=_images_of_both(symbols, n_classes),
        collisions=total,
    )


def collisions(pairs: Candidates, labels: Ints, n_classes: int) -> Ints:
    """Count the anchor points for which classes, or several boxes of one class, compete.

    Args:
        pairs: Candidate pairs of complete images.
        labels: Class label of each symbol, shape ``(N,)``.
        n_classes: Number of classes C.

    Returns:
        Counts as in :class:`ClassStatistics`, shape ``(C, C)``.
    """
    entries = pairs.points * n_classes + labels[pairs.symbols]
    entries, n_boxes = np.unique(entries, return_counts=True)  # one entry per point and class
    points, classes = np.divmod(entries, n_classes)
    total = np.diag(np.bincount(classes[n_boxes > 1], minlength=n_classes))
    starts = np.flatnonzero(np.diff(points, prepend=-1))
    n_classes_of = np.diff(starts, append=len(points))  # number of classes per point
    for n in range(2, int(n_classes_of.max(initial=1)) + 1):
        sets = classes[starts[n_classes_of == n][:, None] + np.arange(n)]  # (S, n), rows ascending
        for i, j in combinations(range(n), 2):
            both = sets[:, i] * n_classes + sets[:, j]
            total += np.bincount(both, minlength=n_classes**2).reshape(n_classes, n_classes)
    above: Ints = np.triu(total, k=1)
    return total + above.T


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread: on a busy machine, synchronising threads takes longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _images_of_both(symbols: Symbols, n_classes: int) -> Ints:
    images, rows = np.unique(symbols.images, return_inverse=True)
    contains = np.zeros(
        (len(images), n_classes)
    )  # floats, because integer matrix products are slow
    contains[rows, symbols.labels] = 1
    both: Ints = (contains.T @ contains).astype(np.int64)
    return both
