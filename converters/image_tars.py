"""Images in tar files, so that a data set of a million tiles is read sequentially.

The images of ``images/<split>`` are members of the files ``<part>-<number>.tar`` in this folder,
uncompressed, in the order of the pages. ``index.npy`` lists where the bytes of each image are, by a
hash of its name. Readers map it to memory, so that the processes of a training share one copy.

An image in a tar file has the path that it would have as a file: ``images/train/a.png``. Whatever
opens images with :func:`open_image` reads both. No file has this path, so that other programs
cannot change, repair or cache it.
"""

import hashlib
import io
import os
import stat
import tarfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from class_maps import InputError

INDEX = "index.npy"
"""File with the positions of the images, in the image folder of a split."""
MOST_BYTES = 1 << 30
"""Size from which a part continues in another tar file."""
CHUNK_BYTES = 4 << 20
"""Bytes that :class:`ReadAhead` reads at once, at nearly the full rate of a hard disk."""
ADVICE_BYTES = 128 << 10
"""Bytes of a single advice to the kernel, which ignores what exceeds a limit of the disk."""
MOST_CHUNKS = 256
"""Chunks that :class:`ReadAhead` remembers."""
END = bytes(2 * tarfile.BLOCKSIZE)
"""End of a tar file."""
Positions: TypeAlias = NDArray[np.uint64]
"""Positions of N images, shape ``(5, N)``: hash of the name, number of the part, number of the
tar file in this part, first byte, and number of bytes."""


class _MemberFile(io.RawIOBase):
    """Bytes of an image in an open tar file."""

    def __init__(self, image: "ImageInTar") -> None:
        self._image, self._at = image, 0
        self._descriptor = os.open(image.tar, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or image.offset + image.size > status.st_size:
            self.close()
            raise InputError("is truncated; restore it, or convert again", path=image.tar)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._image.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        return self._read(self._image.size)

    def _read(self, most: int) -> bytes:
        n = max(0, min(most, self._image.size - self._at))
        content = os.pread(self._descriptor, n, self._image.offset + self._at)
        self._at += len(content)
        return content

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInTar:
    """Position of an image in a tar file."""

    tar: Path
    offset: int
    """First byte of the image."""
    size: int
    """Number of bytes."""

    def open(self) -> io.BufferedReader:
        """Open the bytes of the image.

        Raises:
            InputError: The tar file is missing or truncated.
        """
        try:
            return io.BufferedReader(_MemberFile(self))
        except FileNotFoundError:
            reason = "no such file; restore it, or convert again"
            raise InputError(reason, path=self.tar) from None

    def state(self) -> tuple[int, int] | None:
        """Return the size of the image and the modification time of the tar file, if any."""
        with suppress(OSError):
            return self.size, self.tar.stat().st_mtime_ns
        return None


def open_image(path: Path) -> io.BufferedReader:
    """Open an image, which is a file or in a tar file.

    Raises:
        OSError: The image is missing or cannot be read.
        InputError: The index or the tar file is damaged.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        image = find_in_tar(path)
        if image is None:
            raise
        return image.open()


def is_image(path: Path) -> bool:
    """Check whether there is a file or an image in a tar file with this path."""
    return path.is_file() or find_in_tar(path) is not None


def find_in_tar(path: Path) -> ImageInTar | None:
    """Find an image in the tar files of the folder that contains it; None if it is in none.

    Raises:
        InputError: The index is damaged.
    """
    file = folder = str(path)
    while folder not in {"", os.sep}:
        folder = os.path.dirname(folder)  # noqa: PTH120  Path takes several times as long
        if (index := _index(folder)) is not None:
            name = file[len(folder) :].lstrip(os.sep)
            return _image(folder, index, _hash(name))
        if os.path.isdir(folder or os.curdir):  # noqa: PTH112
            return None  # folders in the names of images in tar files do not exist
    return None


def chunk_numbers(files: Sequence[str], folder: Path) -> NDArray[np.int64] | None:
    """Return the number of the chunk that contains the start of each image; None without tar files.

    Args:
        files: Paths of images in ``folder``.
        folder: Image folder of a split.

    Raises:
        InputError: The index is damaged, or does not list an image.
    """
    if (index := _index(str(folder))) is None:
        return None
    names = [file.removeprefix(f"{folder}/") for file in files]
    (_, part, number, offset, _), is_listed = _columns(index, names)
    if not is_listed.all():
        reason = "is not in the tar files; convert the data set again"
        raise InputError(reason, path=Path(files[int(is_listed.argmin())]))
    places = np.stack([part, number, offset // CHUNK_BYTES])
    chunks: NDArray[np.int64] = np.unique(places, axis=1, return_inverse=True)[1].reshape(-1)
    return chunks


class ReadAhead:
    """Lets the kernel read the chunk of each image, of which a training soon needs the others."""

    def __init__(self) -> None:
        self._done: OrderedDict[tuple[Path, int], None] = OrderedDict()

    def __call__(self, path: Path) -> None:
        """Read the chunk of an image ahead, unless that has been done or the image is a file."""
        image = find_in_tar(path)
        if image is None:
            return
        chunk = image.tar, image.offset // CHUNK_BYTES
        if chunk in self._done:
            return
        self._done[chunk] = None
        if len(self._done) > MOST_CHUNKS:
            self._done.popitem(last=False)
        with suppress(OSError), image.tar.open("rb", buffering=0) as file:
            start = chunk[1] * CHUNK_BYTES
            for offset in range(start, start + CHUNK_BYTES, ADVICE_BYTES):
                os.posix_fadvise(file.fileno(), offset, ADVICE_BYTES, os.POSIX_FADV_WILLNEED)


def _index(folder: str) -> Positions | None:
    path = f"{folder}/{INDEX}" if folder else INDEX
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise InputError("is not a regular file", path=Path(path))
    return _read_index(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _read_index(path: str, _size: int, _modified_ns: int) -> Positions:
    index = read_positions(Path(path))
    if index is None or (index[0, 1:] <= index[0, :-1]).any():  # not sorted
        reason = "is not an index of tar files; convert the data set again"
        raise InputError(reason, path=Path(path))
    return index


def read_positions(path: Path) -> Positions | None:
    """Map positions that :func:`npy_bytes` has encoded to memory; None if they are damaged."""
    try:
        positions = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return None
    is_valid = positions.dtype == np.uint64 and positions.shape[:-1] == (5,)
    return positions if is_valid and positions.flags.c_contiguous else None


def _columns(index: Positions, names: Sequence[str]) -> tuple[Positions, NDArray[np.bool_]]:
    """Return the position of each name, and whether the index lists it."""
    if not index.shape[1]:
        return np.zeros((5, len(names)), np.uint64), np.zeros(len(names), np.bool_)
    hashes = np.array([_hash(name) for name in names], np.uint64)
    columns = np.searchsorted(index[0], hashes)
    columns[columns == index.shape[1]] = 0
    found = index[:, columns]
    return found, found[0] == hashes


def _hash(name: str) -> int:
    content = name.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _image(folder: str, index: Positions, name_hash: int) -> ImageInTar | None:
    """Return the image with a hash; None if the index does not list it."""
    column = int(index[0].searchsorted(np.uint64(name_hash)))
    if column == index.shape[1] or int(index[0, column]) != name_hash:
        return None
    _, part, number, offset, size = index[:, column].tolist()
    return ImageInTar(tar=Path(folder, tar_name(part, number)), offset=offset, size=size)


def tar_name(part: int, number: int) -> str:
    """Return the file name of a tar file: number of its part, and its number in this part."""
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


def join_tars(tars: Iterable[Path], folder: Path, part: int) -> Positions:
    """Join tar files to larger ones of a part, and remove them.

    Args:
        tars: Files that :func:`write_tar` has written.
        folder: Image folder of a split.
        part: Number of the part.

    Returns:
        Positions of all images.
    """
    positions: list[tuple[int, int, int, int, int]] = []
    number = at = 0
    joined: io.BufferedWriter | None = None
    try:
        for tar in tars:
            members = [*_members(tar)]
            n_bytes = max((offset + size for _, offset, size in members), default=0)
            n_bytes += -n_bytes % tarfile.BLOCKSIZE
            if joined is not None and at + n_bytes > MOST_BYTES:
                joined.write(END)
                joined.close()
                joined, number, at = None, number + 1, 0
            if joined is None:
                joined = (folder / tar_name(part, number)).open("wb")
            joined.write(tar.read_bytes()[:n_bytes])
            positions += [(_hash(n), part, number, at + start, size) for n, start, size in members]
            at += n_bytes
            tar.unlink()
        if joined is not None:
            joined.write(END)
    finally:
        if joined is not None:
            joined.close()
    return np.array(positions, np.uint64).reshape(-1, 5).T


def _members(tar: Path) -> Iterator[tuple[str, int, int]]:
    """Yield the name, first byte and number of bytes of each member."""
    with tarfile.open(tar) as content:
        for member in content:
            yield member.name, member.offset_data, member.size


def write_index(folder: Path, positions: Sequence[Positions]) -> None:
    """Write the index of a folder.

    Args:
        folder: Image folder of a split.
        positions: Positions of the images of each part.

    Raises:
        InputError: Two images have the same hash.
        OSError: The index cannot be written.
    """
    index = np.concatenate(positions, axis=1)
    index = index[:, np.argsort(index[0])]
    if (index[0, 1:] == index[0, :-1]).any():
        raise InputError("two names of images have the same hash; rename one image", path=folder)
    with (folder / INDEX).open("xb") as file:
        file.write(npy_bytes(index))


def npy_bytes(positions: Positions) -> bytes:
    """Encode positions as the content of a .npy file."""
    buffer = io.BytesIO()  # np.save reports a full disk without its reason
    np.save(buffer, np.ascontiguousarray(positions), allow_pickle=False)
    return buffer.getvalue()
