"""Decoding of text files written by users and by other programs."""

import codecs
from pathlib import Path

from class_maps.errors import InputError


def decoded(data: bytes, path: Path) -> str:
    """Decode the bytes of a text file, with or without a byte order mark.

    Args:
        data: Bytes of the file.
        path: The file, for the error message.

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
