"""Perceptual hashes, by which copies of an image are found after scaling and re-encoding.

A hash contains the signs of the low frequencies of the image's cosine transform, relative to their
median, as in pHash, https://www.phash.org. An image has two hashes: that of the whole image, and
that of the part with ink, which stays the same if the image is shifted or its margins are cropped.
Two images are similar if either hash is. ``benchmarks/image_copies.py`` measures which copies are
found.

Shapes: N, M images; W 64-bit words of a hash.
"""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from converters import images
from converters.images import Pixels
from converters.tracking import Track, untracked

TrackHashes: TypeAlias = Track[NDArray[np.uint64]]
"""Progress display, which yields the hashes of all images unchanged."""
SIDE_PX = 64
"""Side to which an image is reduced."""
FREQUENCIES = 24
"""Number of frequencies in each direction; 24 squared are 9 words of 64 bits."""
MAX_DIFFERENT = 0.2
"""Maximum fraction of different bits of two copies of an image."""
MIN_CORRELATION = 0.75
"""Minimum correlation of two copies of an image, which near-empty images with similar hashes
do not reach."""
MIN_CONTRAST = 1.0
"""Minimum standard deviation of the grey levels of an image that can be a copy; blank pages, whose
correlation is undefined, and pages with some dust have less, a page with one staff has 5."""
MIN_INK = 0.02
"""Minimum share of the height and of the width that ink extends over, below which an image has no
part with ink."""
HALVED_PX, MIN_HALVED_PX = 1024, 128
"""Longer side from which an image is halved, and shorter side up to which it is not; halving takes
a tenth of the time of one exact reduction."""
INK_PX = 512
"""Longer side to which an image is reduced to find its ink, so that specks of dust vanish."""
COMPARED_PX = 192
"""Side to which images with similar hashes are reduced to compare them."""
MOST_SIMILAR = 10
"""Maximum number of images that an image is compared with."""
_BLOCK = 1 << 22
"""Number of words that are compared at once."""


def perceptual_hashes(paths: Sequence[Path], track: TrackHashes = untracked) -> NDArray[np.uint64]:
    """Hash images, in threads.

    Args:
        paths: N images.
        track: Progress display.

    Returns:
        Hashes of the whole image and of its ink, shape ``(N, 2, W)``.

    Raises:
        InputError: An image is missing or damaged.
    """
    with ThreadPool(os.cpu_count()) as pool:
        hashes = list(track(pool.imap(_hash_of_file, paths, chunksize=8), len(paths)))
    return np.array(hashes, np.uint64).reshape(len(paths), 2, FREQUENCIES**2 // 64)


def perceptual_hash(image: Pixels) -> NDArray[np.uint64]:
    """Return the hashes of a whole image and of its ink, shape ``(2, W)``."""
    return np.stack([_bits(part) for part in _reduced(image, SIDE_PX)])


def copies_between_splits(
    paths: Sequence[Path], splits: Sequence[str], hashes: NDArray[np.uint64]
) -> Iterator[tuple[int, int]]:
    """Yield the indices of images of different splits that are copies of one.

    Args:
        paths: N images.
        splits: Split of each image.
        hashes: Hashes, shape ``(N, 2, W)``.

    Raises:
        InputError: An image is missing or damaged.
    """
    rows = {s: [i for i, split in enumerate(splits) if split == s] for s in dict.fromkeys(splits)}
    for one, two in combinations(rows.values(), 2):
        for i, j in similar_pairs(hashes[one], hashes[two]):
            if are_copies(paths[one[i]], paths[two[j]]):
                yield one[i], two[j]


def similar_pairs(
    first: NDArray[np.uint64], second: NDArray[np.uint64]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of images whose hashes are similar, at most ``MOST_SIMILAR`` of each first image.

    Args:
        first: Hashes, shape ``(N, 2, W)``.
        second: Hashes, shape ``(M, 2, W)``.
    """
    limit = int(MAX_DIFFERENT * FREQUENCIES**2)
    n_rows = max(1, _BLOCK // max(1, second.size))
    for start in range(0, len(first), n_rows):
        block = first[start : start + n_rows, None] ^ second[None]  # (rows, M, 2, W)
        different = np.bitwise_count(block).sum(axis=3, dtype=np.int64).min(axis=2)  # (rows, M)
        for row in np.flatnonzero((different <= limit).any(axis=1)).tolist():
            nearest = np.argsort(different[row], kind="stable")[:MOST_SIMILAR]
            for column in nearest[different[row, nearest] <= limit].tolist():
                yield start + row, column


def are_copies(first: Path, second: Path) -> bool:
    """Check by their pixels whether two images with similar hashes are copies of one.

    Raises:
        InputError: An image is missing or damaged.
    """
    return max(map(_correlation, _compared(first), _compared(second))) >= MIN_CORRELATION


def _correlation(one: NDArray[np.uint8], two: NDArray[np.uint8]) -> float:
    if min(one.std(), two.std()) < MIN_CONTRAST:
        return 0.0
    return float(cv2.matchTemplate(one, two, cv2.TM_CCOEFF_NORMED).max())


@lru_cache(maxsize=2048)
def _compared(path: Path) -> list[NDArray[np.uint8]]:
    return _reduced(images.read(path), COMPARED_PX)


def _hash_of_file(path: Path) -> NDArray[np.uint64]:
    return perceptual_hash(images.read(path))


def _bits(part: NDArray[np.uint8]) -> NDArray[np.uint64]:
    frequencies = cv2.dct(part.astype(np.float32))[:FREQUENCIES, :FREQUENCIES]
    bits = frequencies > np.median(frequencies)
    return np.packbits(bits).view(np.uint64)


def _reduced(image: Pixels, side: int) -> list[NDArray[np.uint8]]:
    """Return an image, and its part with ink, as grey levels of shape ``(side, side)``."""
    image = _halved(image)
    is_grey = image.ndim == 2
    grey = np.asarray(image if is_grey else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    rows, columns = _ink_box(grey)
    return [
        np.asarray(cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        for part in (grey, grey[rows, columns])
    ]


def _halved(image: Pixels) -> Pixels:
    """Halve an image until its longer side is below ``HALVED_PX``, without odd rows and columns."""
    while max(image.shape[:2]) >= HALVED_PX and min(image.shape[:2]) >= MIN_HALVED_PX:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        even, size = image[: 2 * height, : 2 * width], (width, height)
        image = np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.uint8)
    return image


def _ink_box(grey: NDArray[np.uint8]) -> "tuple[slice[int], slice[int]]":
    """Return the rows and columns of an image between its outermost ink; all without ink.

    Args:
        grey: Grey levels, shape ``(height, width)``.
    """
    scale = min(1.0, INK_PX / max(grey.shape))
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, ink = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    bounds = []
    for axis, length in enumerate(grey.shape):
        lines = np.flatnonzero(ink.any(axis=1 - axis))
        if len(lines) < MIN_INK * ink.shape[axis]:
            return slice(0, grey.shape[0]), slice(0, grey.shape[1])
        per_line = length / ink.shape[axis]
        bounds.append(slice(int(lines[0] * per_line), round((lines[-1] + 1) * per_line)))
    return bounds[0], bounds[1]
