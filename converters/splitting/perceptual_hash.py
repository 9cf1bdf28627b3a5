"""Perceptual hashes, by which copies of an image are found after scaling and re-encoding.

A hash contains the signs of the low frequencies of the image's cosine transform, relative to their
median, as in pHash, https://www.phash.org. Hashes of copies of engraved pages (JPEG, half the
size, binarised, noise, rotated by 0.3 degrees) differ in at most 13 % of the bits, those of
different pages in at least 33 %.

Shapes: N, M images; W 64-bit words of a hash.
"""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from converters import images
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
        Hashes, shape ``(N, W)``.

    Raises:
        InputError: An image is missing or damaged.
    """
    with ThreadPool(os.cpu_count()) as pool:
        hashes = list(track(pool.imap(_hash, paths, chunksize=8), len(paths)))
    return np.array(hashes, np.uint64).reshape(len(paths), FREQUENCIES**2 // 64)


def similar_pairs(
    first: NDArray[np.uint64], second: NDArray[np.uint64]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of images whose hashes are similar, at most ``MOST_SIMILAR`` of each first image.

    Args:
        first: Hashes, shape ``(N, W)``.
        second: Hashes, shape ``(M, W)``.
    """
    limit = int(MAX_DIFFERENT * FREQUENCIES**2)
    n_rows = max(1, _BLOCK // max(1, second.size))
    for start in range(0, len(first), n_rows):
        block = first[start : start + n_rows, None] ^ second[None]  # (rows, M, W)
        different = np.bitwise_count(block).sum(axis=2, dtype=np.int64)  # (rows, M)
        for row in np.flatnonzero((different <= limit).any(axis=1)).tolist():
            nearest = np.argsort(different[row], kind="stable")[:MOST_SIMILAR]
            for column in nearest[different[row, nearest] <= limit].tolist():
                yield start + row, column


def are_copies(first: Path, second: Path) -> bool:
    """Check by their pixels whether two images with similar hashes are copies of one.

    Raises:
        InputError: An image is missing or damaged.
    """
    one, two = _compared(first), _compared(second)
    return bool(cv2.matchTemplate(one, two, cv2.TM_CCOEFF_NORMED).max() >= MIN_CORRELATION)


@lru_cache(maxsize=2048)
def _compared(path: Path) -> NDArray[np.uint8]:
    return _reduced(path, COMPARED_PX)


def _hash(path: Path) -> NDArray[np.uint64]:
    frequencies = cv2.dct(_reduced(path, SIDE_PX).astype(np.float32))[:FREQUENCIES, :FREQUENCIES]
    bits = frequencies > np.median(frequencies)
    return np.packbits(bits).view(np.uint64)


def _reduced(path: Path, side: int) -> NDArray[np.uint8]:
    """Return an image as grey levels, shape ``(side, side)``."""
    image = images.read(path)
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
