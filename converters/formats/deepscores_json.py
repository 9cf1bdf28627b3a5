"""Opener of DeepScoresV2 JSON: decodes everything but the annotations, which may be gigabytes."""

import mmap
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec

from class_maps import InputError
from converters.files.hashes import state
from converters.formats.annotation_spans import Span, is_of, known_span, remember_span
from converters.json_text import check_unique_keys, decode, offset_in

WINDOW_BYTES = 8 << 20
"""Bytes that are searched at a time for the end of the annotations; of the whole file if it is
smaller, all text is decoded at once."""

NUMBER = "[0-9]{1,18}"
"""Pattern of an id that fits into 64 bits."""

_ANNOTATIONS = re.compile(rb'"annotations"\s*:\s*(?=\{)')
"""Key of the annotations; it cannot match inside a string, where quotes are escaped."""
_END = re.compile(rb"\}\s*\}")
"""End of the last annotation, and of the annotations, unless these contain such text."""
_MOST_SPACES = 4096
"""Number of bytes between the two braces that are found at the border of two windows."""

Id: TypeAlias = int | str


class CategoryEntry(msgspec.Struct):
    """One entry of ``categories``, a dict by id."""

    name: str
    annotation_set: str


class DegradationEntry(msgspec.Struct, gc=False):
    """How an engraved page was degraded."""

    capture: str = ""


class ImageEntry(msgspec.Struct, gc=False):
    """One entry of ``images``; ``ann_ids`` is an undecoded list of ids."""

    id: Id
    filename: str
    width: int
    height: int
    ann_ids: msgspec.Raw = msgspec.Raw(b"[]")
    staff_space: Annotated[float, msgspec.Meta(gt=0, lt=1e6)] | None = None
    """Staff space in pixels, which engraved pages contain."""
    degradation: DegradationEntry | None = None
    """Degradation, which engraved pages contain."""


class DeepScoresJson(msgspec.Struct):
    """The root of a file; ``annotations`` is undecoded."""

    annotation_sets: list[str]
    categories: dict[str, CategoryEntry]
    images: list[ImageEntry]
    annotations: msgspec.Raw


def open_json(path: Path, known: Span | None = None) -> tuple[DeepScoresJson, Span, mmap.mmap]:
    """Decode everything but the annotations of a file.

    Args:
        path: Annotation file.
        known: Position of the annotations, ignored if the file has changed; None to find it.

    Returns:
        The decoded file, the position of its annotations, and the file, mapped to memory.

    Raises:
        InputError: The file is missing, empty, damaged, or has another format.
    """
    before = state(path)
    text = _mapped(path)
    known = known if known and is_of(known, path) else known_span(path)
    if known and (decoded := _without_scan(text, known.start, known.stop, path)):
        return decoded, known, text
    likely = _likely_position(text)
    if likely and (decoded := _without_scan(text, *likely, path)):
        start, stop = likely
    else:
        decoded = scan(text, path)
        start = offset_in(text, decoded.annotations)
        stop = start + len(memoryview(decoded.annotations))
        check_unique_keys(text[:start] + b"{}" + text[stop:], path)
    free(text)
    size, modified_ns = before or (0, 0)
    span = Span(size=size, modified_ns=modified_ns, start=start, stop=stop)
    remember_span(path, span)
    return decoded, span, text


def scan(text: mmap.mmap, path: Path) -> DeepScoresJson:
    """Read all of a file; its annotations are a view of the memory map, and keep it alive.

    Raises:
        InputError: The file is damaged or has another format.
    """
    return decode(text, DeepScoresJson, path)


def _likely_position(text: mmap.mmap) -> tuple[int, int] | None:
    """Find the annotations of a large file, holding only a part of it in memory.

    Returns:
        Start and stop of their text, right unless an annotation contains two closing braces; None
        for small files.
    """
    if len(text) <= WINDOW_BYTES or not (key := _ANNOTATIONS.search(text)):
        return None
    position = key.end()
    while position < len(text):
        if end := _END.search(text, position, position + WINDOW_BYTES + _MOST_SPACES):
            return key.end(), end.end()
        position += WINDOW_BYTES
        free(text)
    return None


def _without_scan(text: mmap.mmap, start: int, stop: int, path: Path) -> DeepScoresJson | None:
    """Decode everything but the annotations, given their position; None if it is wrong.

    It is right if the text before and behind it is valid with other annotations in this place, and
    the text between them is valid when it is decoded.
    """
    if text[start : start + 1] != b"{" or text[stop - 1 : stop] != b"}":
        return None
    around = text[:start] + b"{}" + text[stop:]
    with suppress(InputError):
        decoded = decode(around, DeepScoresJson, path)
        check_unique_keys(around, path)
        if offset_in(around, decoded.annotations) == start:
            decoded.annotations = msgspec.Raw(memoryview(text)[start:stop])
            return decoded
    return None


def free(text: mmap.mmap) -> None:
    """Free the memory of a mapped file, which is read again when it is accessed."""
    text.madvise(mmap.MADV_DONTNEED)


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise InputError("is empty; expected DeepScoresV2 JSON", path=path)
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
