"""Decoding of JSON text, with errors that name the location and the cause."""

import codecs
import json
import mmap
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from class_maps import InputError, shown

T = TypeVar("T")

_OTHER_CONTENT = (
    (b"PK\x03\x04", "is a zip archive; unpack it and convert its content"),
    (b"\x1f\x8b", "is a gzip archive; unpack it and convert its content"),
    (b"\x89PNG", "is a PNG image; expected JSON"),
    (b"\xff\xd8\xff", "is a JPEG image; expected JSON"),
    (b"%PDF", "is a PDF document; expected JSON"),
    (b"\x00\x05\x16\x07", "is a resource fork of macOS; expected JSON"),
    (codecs.BOM_UTF8, "begins with a byte order mark; save the file without it"),
    (codecs.BOM_UTF16_LE, "is UTF-16 text; save it as UTF-8"),
    (codecs.BOM_UTF16_BE, "is UTF-16 text; save it as UTF-8"),
    (b"<", "is XML or HTML; expected JSON"),
)
"""First bytes of other kinds of files, with the error message for each."""

_TOO_DEEP = "lists or objects are nested too deeply"


IMAGES_AND_ANNOTATIONS = "a JSON object with images and annotations at the root"
_LIST_REMEDY = (
    ", got a list, as in COCO results or Label Studio's JSON; export COCO or YOLO instead"
)


def decode(
    text: bytes | mmap.mmap | msgspec.Raw,
    kind: type[T],
    path: Path,
    where: str = "",
    *,
    expected: str = IMAGES_AND_ANNOTATIONS,
) -> T:
    """Decode JSON text.

    Args:
        text: Text to decode, a whole file or a part of it.
        kind: Type to decode the text into.
        path: File that contains the text.
        where: Location of the text in the file; empty for the whole file.
        expected: Content of the whole file, for the error message about another root.

    Raises:
        InputError: The text is not JSON, or does not match the expected type; the message names the
            location.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        reason, location = _parts(error)
        if reason.startswith("Expected `object`") and not where + location:
            is_export = expected is IMAGES_AND_ANNOTATIONS and reason.endswith("`array`")
            reason = f"expected {expected}{_LIST_REMEDY if is_export else ''}"
        where = _joined(where, location)
        raise InputError(reason[0].lower() + reason[1:], path=path, where=where) from error
    except msgspec.DecodeError as error:
        raise _syntax_error(memoryview(text), str(error), path, where) from error
    except UnicodeDecodeError as error:
        part = bytes(error.object)
        raise InputError(f"is not UTF-8 text: {shown(part)}", path=path, where=where) from error
    except RecursionError:
        raise InputError(_TOO_DEEP, path=path, where=where) from None


def decode_unique(text: bytes, kind: type[T], path: Path, *, expected: str) -> T:
    """Decode a JSON file in which no object repeats a key, see :func:`decode`.

    Raises:
        InputError: As :func:`decode`, or a key is a duplicate.
    """
    content = decode(text, kind, path, expected=expected)
    check_unique_keys(text, path)
    return content


def check_unique_keys(text: bytes | bytearray, path: Path, where: str = "") -> None:
    """Check that no object repeats a key, since a decoder would keep only the last value.

    Args:
        text: Valid JSON text.
        path: File that contains the text.
        where: Location of the text in the file; empty for the whole file.

    Raises:
        InputError: A key is a duplicate.
    """

    def check(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InputError(f"duplicate key: {shown(key)}", path=path, where=where)
            seen.add(key)

    try:
        json.loads(text, object_pairs_hook=check, parse_int=str)  # of any number of digits
    except UnicodeDecodeError as error:
        part = bytes(error.object[error.start :][:60])
        raise InputError(f"is not UTF-8 text: {shown(part)}", path=path, where=where) from error
    except RecursionError:
        raise InputError(_TOO_DEEP, path=path, where=where) from None


def _parts(error: msgspec.DecodeError) -> tuple[str, str]:
    """Split an error into its reason and its location: ``images[3].width``."""
    reason, _, location = str(error).partition(" - at `")
    return reason, location.rstrip("`").lstrip("$.")


def _joined(where: str, location: str) -> str:
    return where + ("" if location.startswith("[") or not where or not location else ".") + location


def _syntax_error(text: memoryview, message: str, path: Path, where: str) -> InputError:
    head = bytes(text[:16]).lstrip()
    for start, problem in _OTHER_CONTENT:
        if head.startswith(start):
            return InputError(problem, path=path, where=where)
    match = re.search(r"\(byte (\d+)\)", message)
    position = int(match[1]) if match else 0
    if match and re.match(rb"NaN|Infinity", text[position : position + 8]):
        before = bytes(text[max(0, position - 4096) : position])
        location = _joined(where, _location(before, position))
        return InputError(
            "expected finite numbers, got NaN or Infinity",
            path=path,
            where=location,
        )
    if "trailing characters" in message:
        return InputError(
            f"contains more than one JSON value (the second begins at byte {position}), as JSON "
            "Lines do; expected one object",
            path=path,
            where=where,
        )
    return InputError(f"not valid JSON, truncated or damaged: {message}", path=path, where=where)


def _location(before: bytes, position: int) -> str:
    """Return the nearest key before a value with the id of the annotation, or else the position."""
    ids = re.findall(rb'"(\d+)"\s*:\s*\{', before)
    fields = re.findall(rb'"([^"\\]+)"\s*:', before)
    field = fields[-1].decode("utf-8", "replace") if fields else "a number"
    return f"annotations[{ids[-1].decode()}].{field}" if ids else f"{field} (byte {position})"


def offset_in(text: bytes | mmap.mmap, part: msgspec.Raw) -> int:
    """Return the position in a text of a part that was left undecoded."""
    addresses = [
        int(np.frombuffer(buffer, np.uint8).__array_interface__["data"][0])
        for buffer in (memoryview(part), text)
    ]
    return addresses[0] - addresses[1]
