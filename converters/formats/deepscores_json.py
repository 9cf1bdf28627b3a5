"""Decoder of DeepScoresV2 JSON into arrays, a few megabytes of text at a time.

The annotations of a dense file are more than half a gigabyte of text. Decoding them at once would
take several times as much memory. Decoding them in chunks, in several processes, takes little more
memory than the arrays.

Shapes: N annotations of a file.
"""

import gc
import mmap
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError, shortened, shown
from converters.boxes import Boxes, corner_bounds
from converters.files.hashes import state
from converters.files.process_pool import in_order
from converters.formats.annotation_spans import known_span, remember_span
from converters.json_text import check_unique_keys, decode, offset_in
from converters.names import count_of

CHUNK_BYTES = 8 << 20
NO_ID = -(1 << 62)
"""Category id of annotations with a null in ``cat_id``."""

NUMBER = "[0-9]{1,18}"
"""Pattern of an id that fits into 64 bits."""

_NEXT_ANNOTATION = re.compile(rb'\}\s*,\s*(?="[^"\\]*"\s*:\s*\{)')
"""Boundary between two annotations; it cannot match inside a string, where quotes are escaped."""

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


class _Annotation(msgspec.Struct, gc=False):
    a_bbox: tuple[float, float, float, float]
    o_bbox: tuple[float, float, float, float, float, float, float, float]
    cat_id: list[Id | None] | Id | None
    img_id: Id


_QUOTED_FIELDS = tuple(f'"{field}"'.encode() for field in _Annotation.__struct_fields__)


class DeepScoresJson(msgspec.Struct):
    """The root of a file; ``annotations`` is undecoded."""

    annotation_sets: list[str]
    categories: dict[str, CategoryEntry]
    images: list[ImageEntry]
    annotations: msgspec.Raw


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AnnotationTable:
    """The annotations of a file as parallel arrays, in the order of the file."""

    ids: NDArray[np.int64]
    """Annotation ids, shape ``(N,)``."""
    boxes_xyxy: Boxes
    """Upright boxes in pixels, shape ``(N, 4)``."""
    corners: Boxes
    """Corners of the oriented boxes in pixels, shape ``(N, 4, 2)``."""
    categories: NDArray[np.int64]
    """Category ids of the file, shape ``(N,)``; ``NO_ID`` if the annotation set has no category."""
    images: NDArray[np.int64]
    """Image ids of the file, shape ``(N,)``."""
    gaps: NDArray[np.float64]
    """Largest difference between each box and the bounds of its corners in pixels, shape
    ``(N,)``."""


def open_json(path: Path) -> tuple[DeepScoresJson, int, mmap.mmap]:
    """Decode everything but the annotations of a file.

    Returns:
        The decoded file, the byte offset of its annotations, and the file, mapped to memory.

    Raises:
        InputError: The file is missing, empty, damaged, or has another format.
    """
    before = state(path)
    text = _mapped(path)
    if (span := known_span(path)) and (decoded := _without_scan(text, *span, path)):
        return decoded, span[0], text
    decoded = decode(text, DeepScoresJson, path)
    # the annotations are a view of the memory map and keep it alive
    offset = offset_in(text, decoded.annotations)
    end = offset + len(memoryview(decoded.annotations))
    check_unique_keys(text[:offset] + b"{}" + text[end:], path)
    free(text)
    remember_span(path, before, offset, end)
    return decoded, offset, text


def _without_scan(text: mmap.mmap, start: int, stop: int, path: Path) -> DeepScoresJson | None:
    """Decode everything but the annotations, whose position is known; None if it is wrong."""
    if text[start : start + 1] != b"{" or text[stop - 1 : stop] != b"}":
        return None
    around = text[:start] + b"{}" + text[stop:]
    with suppress(InputError):
        decoded = decode(around, DeepScoresJson, path)
        check_unique_keys(around, path)
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


def decode_annotations(
    annotations: msgspec.Raw, offset: int, path: Path, *, position: int, workers: int
) -> AnnotationTable:
    """Decode the annotations of a file.

    Args:
        annotations: Undecoded annotations.
        offset: Byte offset of the annotations in the file.
        path: Annotation file.
        position: Index of the chosen annotation set in ``cat_id``.
        workers: Number of processes.

    Raises:
        InputError: An annotation is malformed; the message names it.
    """
    text = memoryview(annotations)
    if bytes(text[:1]) != b"{":
        raise InputError(
            "expected an object by id, got a list as in COCO; see --source",
            path=path,
            where="annotations",
        )
    chunks = [
        _Chunk(path, path.absolute(), offset + a, offset + b, position) for a, b in _bounds(text)
    ]
    try:
        parts = list(in_order(_decode_chunk, chunks, workers))
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
    ):  # find the malformed annotation, or decode unusual but valid text
        check_unique_keys(bytes(text), path, "annotations")
        parts = [_columns(_one_by_one(annotations, path), path, position)]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in AnnotationTable.__dataclass_fields__
    }
    _check_unique(columns["ids"], path)
    return AnnotationTable(**columns)


class _Chunk(msgspec.Struct):
    """A range of bytes of a file that contains complete annotations."""

    path: Path
    """Path for error messages."""
    file: Path
    """Absolute path, because a worker process may have another working directory."""
    start: int
    stop: int
    position: int


def _bounds(text: memoryview) -> Iterator[tuple[int, int]]:
    """Split the text of a JSON object of flat objects into ranges of about CHUNK_BYTES."""
    start, stop = 1, len(text) - 1  # inside the braces
    while True:
        boundary = _NEXT_ANNOTATION.search(text, min(start + CHUNK_BYTES, stop), stop)
        yield start, boundary.start() + 1 if boundary else stop
        if not boundary:
            return
        start = boundary.end()


def _decode_chunk(chunk: _Chunk) -> AnnotationTable:
    """Decode the annotations of a chunk in a worker process."""
    text = bytearray(chunk.stop - chunk.start + 2)
    text[0], text[-1] = ord("{"), ord("}")
    with chunk.file.open("rb") as file:
        file.seek(chunk.start)
        file.readinto(memoryview(text)[1:-1])
    gc.disable()  # collecting so many objects, none in a cycle, would take a third more time
    try:
        decoded = msgspec.json.decode(text, type=dict[str, _Annotation])
        if not _are_plain(text, len(decoded)):
            check_unique_keys(text, chunk.path, "annotations")
        return _columns(decoded, chunk.path, chunk.position)
    finally:
        gc.enable()


def _one_by_one(annotations: msgspec.Raw, path: Path) -> dict[str, _Annotation]:
    """Decode annotations individually, which is slow but names a malformed one."""
    raw = decode(annotations, dict[str, msgspec.Raw], path, "annotations")
    return {
        key: decode(text, _Annotation, path, f"annotations[{shortened(key)}]")
        for key, text in raw.items()
    }


def _are_plain(text: bytearray, n: int) -> bool:
    """Check quickly that ``n`` decoded annotations repeat no key, nor any of their fields.

    Every field is required, so each occurs at least ``n`` times in the text, and more often if
    a key is a duplicate or, harmlessly, if other text looks like a field.
    """
    return b"\\" not in text and all(text.count(field) == n for field in _QUOTED_FIELDS)


def _columns(decoded: dict[str, _Annotation], path: Path, position: int) -> AnnotationTable:
    rows, n = list(decoded.values()), len(decoded)
    a_bbox = np.fromiter(chain.from_iterable([row.a_bbox for row in rows]), np.float64, 4 * n)
    o_bbox = np.fromiter(chain.from_iterable([row.o_bbox for row in rows]), np.float64, 8 * n)
    boxes_xyxy, corners = a_bbox.reshape(-1, 4), o_bbox.reshape(-1, 4, 2)
    return AnnotationTable(
        ids=_integers(list(decoded), decoded, path, ""),
        boxes_xyxy=boxes_xyxy,
        corners=corners,
        gaps=np.abs((boxes_xyxy - corner_bounds(corners)).T).max(0, initial=0),
        categories=_integers(
            [_in_set(row.cat_id, position) for row in rows], decoded, path, "cat_id"
        ),
        images=_integers([row.img_id for row in rows], decoded, path, "img_id"),
    )


def _in_set(cat_id: list[Id | None] | Id | None, position: int) -> Id:
    """Return the category id in the annotation set; files of proposals contain a plain id."""
    if isinstance(cat_id, list):
        cat_id = cat_id[position] if position < len(cat_id) else None
    return NO_ID if cat_id is None else cat_id


def _integers(
    values: list[Id], decoded: dict[str, _Annotation], path: Path, field: str
) -> NDArray[np.int64]:
    digits = "".join(value for value in values if isinstance(value, str))
    if not digits or (digits.isascii() and digits.isdigit()):
        with suppress(ValueError, OverflowError):
            numbers = np.fromiter(map(int, values), np.int64, len(values))
            if not ((numbers < 0) & (numbers != NO_ID)).any():
                return numbers
    key, value = next(
        (key, value)
        for key, value in zip(decoded, values, strict=True)
        if value != NO_ID and not re.fullmatch(NUMBER, str(value))
    )
    where = f"annotations[{shortened(key)}].{field}".rstrip(".")
    raise InputError(f"expected a number, got {shown(value)}", path=path, where=where)


def _check_unique(ids: NDArray[np.int64], path: Path) -> None:
    values, n = np.unique(ids, return_counts=True)
    if repeated := values[n > 1].tolist():
        raise InputError(f"duplicate: {count_of(repeated, 'id')}", path=path, where="annotations")
