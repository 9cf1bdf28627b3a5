"""Checks of weights files before they are read: sizes and checksums.

Torch does not verify the checksums of its archives, unpacks compressed parts of any size, and takes
minutes for a description of millions of layers.
"""

import struct
import zipfile
import zlib
from pathlib import Path

from class_maps import InputError

DESCRIPTION_BYTES = 2**21
"""Largest pickle of an archive, or header of a safetensors file; that of yolo12x, with its average
and its optimiser, has 0.8 MB."""
EXPANSION = 4
"""Largest ratio of an archive's content to its size; torch compresses nothing."""
UNREADABLE = (
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors of ``zipfile`` for a damaged or encrypted archive."""


def check_archive(file: Path) -> None:
    """Check the sizes and checksums of an archive of torch.

    Raises:
        InputError: The archive is damaged, or too large when unpacked.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check_sizes(archive, file)
            broken = archive.testzip()
    except UNREADABLE as error:
        raise damaged(file, "not a readable archive") from error
    if broken is not None:
        raise damaged(file, "wrong checksums")


def check_header(file: Path) -> None:
    """Check the size of a safetensors file's header, which its first bytes specify.

    Raises:
        InputError: The header is too large.
    """
    with file.open("rb") as stream:
        n_bytes = int.from_bytes(stream.read(8), "little")
    if n_bytes > DESCRIPTION_BYTES:
        raise damaged(file, f"a header of {n_bytes:,} bytes")


def damaged(file: Path, reason: str) -> InputError:
    """Return the error for a damaged file."""
    return InputError(f"damaged: {reason}; use another copy of the file", path=file)


def _check_sizes(archive: zipfile.ZipFile, file: Path) -> None:
    entries = archive.infolist()
    n_bytes = sum(entry.file_size for entry in entries)
    if n_bytes > EXPANSION * file.stat().st_size:
        raise damaged(file, f"unpacks to {n_bytes:,} bytes")
    largest = max((e.file_size for e in entries if e.filename.endswith(".pkl")), default=0)
    if largest > DESCRIPTION_BYTES:
        raise damaged(file, f"a description of {largest:,} bytes")
