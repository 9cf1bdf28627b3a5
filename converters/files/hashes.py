"""Hashes of files, recorded for reproducibility, and a check whether files have changed."""

import hashlib
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from converters.image_tars import find_in_tar, open_image

BLOCK_BYTES = 1 << 20
TAIL_BYTES = 4096
"""Bytes at the end of a file by which it is compared with others. In a PNG, they contain checksums
of its pixels."""
SHORT_BYTES = 8
"""Bytes of a short hash: among a million files, the chance of a collision is 1 in 40 million."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as a hexadecimal number."""
    with open_image(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_ranges(path: Path, ranges: Iterable[tuple[int, int]]) -> str:
    """Return the SHA-256 of parts of a file, given by their start and stop, and of their lengths.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start, stop in ranges:
            digest.update((stop - start).to_bytes(8, "big"))
            file.seek(start)
            for offset in range(start, stop, BLOCK_BYTES):
                digest.update(file.read(min(BLOCK_BYTES, stop - offset)))
    return digest.hexdigest()


def state(path: Path) -> tuple[int, int] | None:
    """Return the size and modification time of a file; None if it cannot be accessed.

    The modification time of an image in a tar file is that of the tar file.
    """
    try:
        stat = path.stat()
    except OSError:
        image = find_in_tar(path)
        return image.state() if image else None
    return stat.st_size, stat.st_mtime_ns


def short_hashes(paths: Sequence[Path]) -> NDArray[np.uint64]:
    """Hash the bytes of files, in threads.

    Args:
        paths: N files.

    Returns:
        First ``SHORT_BYTES`` bytes of each file's SHA-256 as an integer, shape ``(N,)``.

    Raises:
        InputError: A file cannot be read.
    """
    with ThreadPool(os.cpu_count()) as pool:
        return np.array(pool.map(short_hash, paths), dtype=np.uint64)


def hashes_of_copies(paths: Sequence[Path]) -> dict[Path, int]:
    """Hash the files that may have the content of another one, and no others.

    Files of the same content have the same size and the same end, which take less time to read.

    Returns:
        Result of :func:`short_hash` by file; a file that is not among them differs from all others.

    Raises:
        InputError: A file cannot be read.
    """
    with ThreadPool(os.cpu_count()) as pool:
        same_size = _shared(paths, pool.map(_size, paths))
        same_end = _shared(same_size, pool.map(_tail, same_size))
        return dict(zip(same_end, pool.map(short_hash, same_end), strict=True))


def _shared(paths: Sequence[Path], values: Sequence[Hashable]) -> list[Path]:
    """Return the files whose value another file has."""
    n = Counter(values)
    return [path for path, value in zip(paths, values, strict=True) if n[value] > 1]


def _size(path: Path) -> int | None:
    known = state(path)
    return known[0] if known else None


def _tail(path: Path) -> tuple[int, bytes]:
    """Return the size and the last bytes of a file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            return size, file.read()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error


def short_hash(path: Path) -> int:
    """Return the first ``SHORT_BYTES`` bytes of a file's SHA-256 as an integer.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with open_image(path) as file:
            digest = hashlib.sha256(file.read()).digest()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    return int.from_bytes(digest[:SHORT_BYTES], "big")
