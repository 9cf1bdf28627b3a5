"""Images in tar files, called shards, so that a data set of a million tiles is read sequentially.

The images of ``images/<split>`` are members of the files ``<part>-<number>.tar`` in this folder,
uncompressed, in the order of the pages. ``index.npy`` lists where the bytes of each image are, by a
hash of its name. Readers map it to memory, so that the processes of a training share one copy.

An image in a shard has the path that it would have as a file: ``images/train/a.png``. Whatever
opens images with :func:`open_image` reads both. No file has this path, so that other programs
cannot change, repair or cache it.
"""

import hashlib
import io
import os
import tarfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from class_maps import InputError

INDEX = "index.npy"
"""File with the positions of the images, in the image folder of a split."""
MOST_BYTES = 1 << 30
"""Size from which a part continues in another shard."""
CHUNK_BYTES = 4 << 20
"""Part of a shard that :class:`ReadAhead` reads at once, at nearly the full rate of a hard disk."""
ADVICE_BYTES = 128 << 10
"""Bytes of a single advice to the kernel, which ignores what exceeds a limit of the disk."""
MOST_CHUNKS = 256
"""Chunks that :class:`ReadAhead` remembers."""
END = bytes(2 * tarfile.BLOCKSIZE)
"""End of a tar file."""
POSITION = np.dtype(
    [("name", "<u8"), ("part", "<u4"), ("shard", "<u4"), ("offset", "<u8"), ("size", "<u8")]
)
"""Row of the index: hash of the name, number of part and shard, first byte, number of bytes."""


class _MemberFile(io.RawIOBase):
    """Bytes of an image in an open shard."""

    def __init__(self, image: "ImageInShard") -> None:
        self._image, self._at = image, 0
        self._descriptor = os.open(image.shard, os.O_RDONLY)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._image.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        n = max(0, min(len(buffer), self._image.size - self._at))
        content = os.pread(self._descriptor, n, self._image.offset + self._at)
        if len(content) < n:
            raise InputError("is truncated; restore it, or convert again", path=self._image.shard)
        buffer[:n] = content
        self._at += n
        return n

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInShard:
    """Position of an image in a shard."""

    shard: Path
    offset: int
    """First byte of the image."""
    size: int
    """Number of bytes."""

    def open(self) -> io.BufferedReader:
        """Open the bytes of the image.

        Raises:
            InputError: The shard is missing.
        """
        try:
            return io.BufferedReader(_MemberFile(self))
        except FileNotFoundError:
            reason = "no such file; restore it, or convert again"
            raise InputError(reason, path=self.shard) from None

    def state(self) -> tuple[int, int] | None:
        """Return the size of the image and the modification time of the shard, if it is there."""
        with suppress(OSError):
            return self.size, self.shard.stat().st_mtime_ns
        return None


def open_image(path: Path) -> io.BufferedReader:
    """Open an image, which is a file or in a shard.

    Raises:
        OSError: There is no such image, or it cannot be read.
        InputError: The index or the shard is damaged.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        image = find_in_shard(path)
        if image is None:
            raise
        return image.open()


def is_image(path: Path) -> bool:
    """Check whether there is a file or an image in a shard with this path."""
    return path.is_file() or find_in_shard(path) is not None


def find_in_shard(path: Path) -> ImageInShard | None:
    """Find an image in the shards of the folder that contains it; None if it is not in a shard.

    Raises:
        InputError: The index is damaged.
    """
    for folder in path.parents:
        if (index := _index(folder)) is not None:
            name = path.relative_to(folder).as_posix()
            rows, is_listed = _rows(index, [name])
            return _image(folder, index[rows[0]]) if is_listed[0] else None
        if folder.is_dir():  # folders in the names of images in shards do not exist
            return None
    return None


def chunk_numbers(files: Sequence[str], folder: Path) -> NDArray[np.int64] | None:
    """Return the number of the chunk that contains the start of each image; None without shards.

    Args:
        files: Paths of images in ``folder``.
        folder: Image folder of a split.

    Raises:
        InputError: The index is damaged, or does not list an image.
    """
    if (index := _index(folder)) is None:
        return None
    rows, is_listed = _rows(index, [file.removeprefix(f"{folder}/") for file in files])
    if not is_listed.all():
        reason = "is not in the shards; convert the data set again"
        raise InputError(reason, path=Path(files[int(is_listed.argmin())]))
    found = index[rows]
    places = np.stack([found["part"], found["shard"], found["offset"] // CHUNK_BYTES])
    chunks: NDArray[np.int64] = np.unique(places, axis=1, return_inverse=True)[1].reshape(-1)
    return chunks


class ReadAhead:
    """Lets the kernel read the chunk of each image, of which a training soon needs the others."""

    def __init__(self) -> None:
        self._done: OrderedDict[tuple[Path, int], None] = OrderedDict()

    def __call__(self, path: Path) -> None:
        """Read the chunk of an image ahead, unless that has been done or the image is a file."""
        image = find_in_shard(path)
        if image is None:
            return
        chunk = image.shard, image.offset // CHUNK_BYTES
        if chunk in self._done:
            return
        self._done[chunk] = None
        if len(self._done) > MOST_CHUNKS:
            self._done.popitem(last=False)
        with suppress(OSError), image.shard.open("rb", buffering=0) as file:
            start = chunk[1] * CHUNK_BYTES
            for offset in range(start, start + CHUNK_BYTES, ADVICE_BYTES):
                os.posix_fadvise(file.fileno(), offset, ADVICE_BYTES, os.POSIX_FADV_WILLNEED)


def _index(folder: Path) -> NDArray[np.void] | None:
    path = folder / INDEX
    try:
        status = path.stat()
    except OSError:
        return None
    return _read_index(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _read_index(path: Path, _size: int, _modified_ns: int) -> NDArray[np.void]:
    problem = InputError("is not an index of shards; convert the data set again", path=path)
    try:
        index: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise problem from error
    if index.dtype != POSITION or index.ndim != 1:
        raise problem
    if (index["name"][1:] <= index["name"][:-1]).any():  # not sorted
        raise problem
    return index


def _rows(
    index: NDArray[np.void], names: Sequence[str]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the row of each name in an index, and whether the index lists it."""
    hashes = np.array([_hash(name) for name in names], np.uint64)
    rows = np.searchsorted(index["name"], hashes)
    rows[rows == len(index)] = 0
    is_listed = index["name"][rows] == hashes if len(index) else np.zeros(len(names), bool)
    return rows, is_listed


def _hash(name: str) -> int:
    content = name.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _image(folder: Path, row: np.void) -> ImageInShard:
    shard = folder / shard_name(int(row["part"]), int(row["shard"]))
    return ImageInShard(shard=shard, offset=int(row["offset"]), size=int(row["size"]))


def shard_name(part: int, number: int) -> str:
    """Return the file name of a shard: number of its part, and its number in this part."""
    return f"{part:05d}-{number:03d}.tar"


def page_tar(page: PurePosixPath) -> PurePosixPath:
    """Return the name of the temporary tar file with the images of a page."""
    return page.with_suffix(".page")


def write_tar(path: Path, images: Iterable[tuple[PurePosixPath, bytes]]) -> None:
    """Write images to a tar file; its bytes depend only on their names and bytes.

    Raises:
        OSError: The file cannot be written.
    """
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in images:
            member = tarfile.TarInfo(name.as_posix())
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def join_tars(tars: Iterable[Path], folder: Path, part: int) -> NDArray[np.void]:
    """Join tar files to the shards of a part, and remove them.

    Args:
        tars: Files that :func:`write_tar` has written.
        folder: Image folder of a split.
        part: Number of the part.

    Returns:
        Positions of all images, shape ``(N,)``.
    """
    positions: list[tuple[int, int, int, int, int]] = []
    number = at = 0
    shard: io.BufferedWriter | None = None
    try:
        for tar in tars:
            members = [*_members(tar)]
            n_bytes = max((offset + size for _, offset, size in members), default=0)
            n_bytes += -n_bytes % tarfile.BLOCKSIZE
            if shard is not None and at + n_bytes > MOST_BYTES:
                shard.write(END)
                shard.close()
                shard, number, at = None, number + 1, 0
            if shard is None:
                shard = (folder / shard_name(part, number)).open("wb")
            shard.write(tar.read_bytes()[:n_bytes])
            positions += [(_hash(n), part, number, at + start, size) for n, start, size in members]
            at += n_bytes
            tar.unlink()
        if shard is not None:
            shard.write(END)
    finally:
        if shard is not None:
            shard.close()
    return np.array(positions, POSITION)


def _members(tar: Path) -> Iterator[tuple[str, int, int]]:
    """Yield the name, first byte and number of bytes of each member."""
    with tarfile.open(tar) as content:
        for member in content:
            yield member.name, member.offset_data, member.size


def write_index(folder: Path, positions: Sequence[NDArray[np.void]]) -> None:
    """Write the index of a folder.

    Args:
        folder: Image folder of a split.
        positions: Positions of the images of each part.

    Raises:
        InputError: Two images have the same hash.
        OSError: The index cannot be written.
    """
    index = np.sort(np.concatenate(positions), order="name")
    if (index["name"][1:] == index["name"][:-1]).any():
        raise InputError("two names of images have the same hash; rename one image", path=folder)
    with (folder / INDEX).open("xb") as file:
        file.write(npy_bytes(index))


def npy_bytes(positions: NDArray[np.void]) -> bytes:
    """Encode positions as the content of a .npy file."""
    buffer = io.BytesIO()  # np.save reports a full disk without its reason
    np.save(buffer, positions, allow_pickle=False)
    return buffer.getvalue()
