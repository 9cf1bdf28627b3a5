"""Results of finished items in an incomplete folder, so that a repeated command continues.

A journal is a file that starts with a fingerprint of what determines all results. Entries follow,
each with a key that identifies its item and the state of its input. A killed process may leave a
part of an entry at the end, which the next one overwrites.
"""

import contextlib
import hashlib
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from converters.files.atomic_folder import take_kept
from converters.files.kept_work import DONE, RECORDS, make_records_folder, said_if_kept
from converters.files.packed import pack, unpack
from converters.tracking import Say

FINGERPRINT_BYTES, KEY_BYTES = 32, 16
_HEAD = struct.Struct(f"<{KEY_BYTES}sI")
"""Head of an entry: key, and length of the compressed result that follows."""


def digest_of(*parts: object, n_bytes: int = FINGERPRINT_BYTES) -> bytes:
    """Hash values by their ``repr``."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=n_bytes).digest()


def key_of(*parts: object) -> bytes:
    """Return the key of an item from the values that identify it and the state of its input."""
    return digest_of(*parts, n_bytes=KEY_BYTES)


class Journal:
    """Results by key; memory is needed for the keys only.

    Args:
        path: File, which is created with the first entry.
        fingerprint: Digest of what determines all results. The entries of a file with another
            fingerprint are not used.
    """

    def __init__(self, path: Path, fingerprint: bytes) -> None:
        self._path, self._fingerprint = path, fingerprint
        self._offsets: dict[bytes, int] = {}
        self._file: IO[bytes] | None = None
        if path.is_file():
            self._continue()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._offsets)

    def __contains__(self, key: bytes) -> bool:
        """Check whether an item is finished."""
        return key in self._offsets

    def find(self, key: bytes, kind: Any) -> Any:  # noqa: ANN401
        """Return the result of an item; None if it is not finished. May be called by threads.

        Args:
            key: Key of the item, see :func:`key_of`.
            kind: Type of the result.
        """
        offset = self._offsets.get(key)
        if offset is None or self._file is None:
            return None
        descriptor = self._file.fileno()
        _, length = _HEAD.unpack(os.pread(descriptor, _HEAD.size, offset))
        try:
            return unpack(zlib.decompress(os.pread(descriptor, length, offset + _HEAD.size)), kind)
        except (zlib.error, ValueError):  # damaged by a power failure
            return None

    def add(self, key: bytes, result: Any) -> None:  # noqa: ANN401
        """Add the result of an item; it is kept from now on, even if this process is killed.

        Raises:
            OSError: The file cannot be written.
        """
        if self._file is None:
            self._file = self._path.open("w+b")
            self._file.write(self._fingerprint)
        content = zlib.compress(pack(result), 1)
        offset = self._file.tell()
        self._file.write(_HEAD.pack(key, len(content)) + content)
        self._file.flush()
        self._offsets[key] = offset

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk, of which adding has told
                self._file.close()

    def _continue(self) -> None:
        """Read the keys of an earlier process; the next entry replaces an incomplete one."""
        file = self._path.open("r+b")
        if file.read(FINGERPRINT_BYTES) != self._fingerprint:
            file.close()
            return
        n_bytes, offset = self._path.stat().st_size, file.tell()
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            key, length = _HEAD.unpack(head)
            end = offset + _HEAD.size + length
            if end > n_bytes:
                break
            self._offsets[key] = offset
            offset = file.seek(end)
        file.truncate(offset)
        file.seek(offset)
        self._file = file


@contextlib.contextmanager
def continued(
    folder: Path, target: Path, fingerprint: bytes, units: str, say: Say
) -> Iterator[Journal]:
    """Yield the journal of an incomplete folder, of an earlier process if there is one.

    Without entries that can be used, the folder is empty.

    Args:
        folder: Temporary folder of :func:`~converters.files.atomic_folder.atomic_folder`.
        target: Its final path, as the user gave it.
        fingerprint: Digest of what determines all results.
        units: What the items are, such as ``pages``.
        say: Receives lines about what is used or kept.

    Raises:
        OSError: The journal cannot be read.
    """
    is_kept = take_kept(folder)
    journal = Journal(folder / RECORDS / f"journal{DONE}", fingerprint)
    try:
        if len(journal):
            say(f"continuing: {units} made before: {len(journal):,}")
        elif is_kept:
            say(f"starting anew: the {units} made before have other options or inputs")
            keep_only(folder, ())
        make_records_folder(folder)
        with said_if_kept(folder, target, units, say):
            yield journal
    finally:
        journal.close()


def keep_only(folder: Path, names: tuple[str, ...]) -> None:
    """Remove everything from a folder but some entries; records are removed first."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name != RECORDS):
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
