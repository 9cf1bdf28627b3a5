"""Decoding of text files written by users and by other programs."""

import codecs
from pathlib import Path

from class_maps.errors import InputError


def read_text(path: Path, what: str, *, max_bytes: int | None = None) -> str:
    """Read a text file, see :func:`read_bytes`.

    Raises:
        InputError: The file cannot be read, is too large, or is not UTF-8.
    """
    return decoded(read_bytes(path, what, max_bytes=max_bytes), path)


def read_bytes(path: Path, what: str, *, max_bytes: int | None = None) -> bytes:
    """Read the bytes of a text file.

    Args:
        path: File to read; a device or a pipe, which may be endless, is an error.
        what: Kind of file, for the error message: ``class map``.
        max_bytes: Size of the largest file that is read; None to read any.

    Raises:
        InputError: The file cannot be read or is too large.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"is not a file; expected a {what}", path=path)
        if max_bytes is not None and size > max_bytes:
            raise InputError(f"is too large for a {what}: {size:,} bytes", path=path)
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such {what}", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error


def decoded(data: bytes, path: Path) -> str:
    """Decode the bytes of a text file, with or without a byte order mark.

    Args:
        data: Bytes of the file.
        path: Path of the file, for the error message.

    Raises:
        InputError: The text is not UTF-8.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError("is UTF-16 text; save it as UTF-8", path=path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"is not UTF-8 text (byte {error.start}: 0x{data[error.start]:02x}); save it as UTF-8",
            path=path,
        ) from error
