"""Decoder of the annotations of DeepScoresV2 JSON into arrays, a few megabytes of text at a time.

The annotations of a dense file are more than half a gigabyte of text. Decoding them at once would
take several times as much memory. Decoding them in chunks, in several processes, takes little more
memory than the arrays.

Shapes: N annotations of a file, or of some of its pages.
"""

import gc
import mmap
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError, shortened, shown
from converters.boxes import Boxes, corner_bounds
from converters.files.process_pool import in_order
from converters.formats.annotation_spans import Span
from converters.formats.deepscores_json import NUMBER, Id, free, scan
from converters.json_text import check_unique_keys, decode
from converters.names import count_of

CHUNK_BYTES = 8 << 20
NO_ID = -(1 << 62)
"""Category id of annotations with a null in ``cat_id``."""

NEXT_ANNOTATION = re.compile(rb'\}\s*,\s*(?="[^"\\]*"\s*:\s*\{)')
"""Boundary between two annotations; it cannot match inside a string, where quotes are escaped."""
MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of decoding a chunk."""


class _Annotation(msgspec.Struct, gc=False):
    a_bbox: tuple[float, float, float, float]
    o_bbox: tuple[float, float, float, float, float, float, float, float]
    cat_id: list[Id | None] | Id | None
    img_id: Id


_QUOTED_FIELDS = tuple(f'"{field}"'.encode() for field in _Annotation.__struct_fields__)


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


class Chunk(msgspec.Struct):
    """Ranges of bytes of a file that contain complete annotations."""

    path: Path
    """Path for error messages."""
    file: Path
    """Absolute path, because a worker process may have another working directory."""
    ranges: tuple[tuple[int, int], ...]
    """Start and stop of each range."""
    position: int = 0
    """Index of the chosen annotation set in ``cat_id``."""

    def text(self) -> bytearray:
        """Read the annotations as a JSON object."""
        n_bytes = sum(stop - start for start, stop in self.ranges)
        text = bytearray(b",") * (n_bytes + max(1, len(self.ranges)) + 1)
        offset, view = 1, memoryview(text)
        with self.file.open("rb") as file:
            for start, stop in self.ranges:
                file.seek(start)
                file.readinto(view[offset : offset + stop - start])
                offset += stop - start + 1
        text[0], text[-1] = ord("{"), ord("}")
        return text


def chunks_of(text: mmap.mmap, span: Span, path: Path) -> list[Chunk]:
    """Divide the annotations of a file into chunks of about CHUNK_BYTES.

    Args:
        text: Text of the file.
        span: Position of the annotations.
        path: Annotation file.

    Raises:
        InputError: They are not an object.
    """
    if text[span.start : span.start + 1] != b"{":
        raise InputError(
            "expected an object by id, got a list as in COCO; see --source",
            path=path,
            where="annotations",
        )
    file = path.absolute()
    return [Chunk(path, file, (bounds,)) for bounds in _bounds(text, span)]


def _bounds(text: mmap.mmap, span: Span) -> Iterator[tuple[int, int]]:
    """Split a JSON object of flat objects into ranges of about CHUNK_BYTES."""
    start, stop = span.start + 1, span.stop - 1  # inside the braces
    while True:
        boundary = NEXT_ANNOTATION.search(text, min(start + CHUNK_BYTES, stop), stop)
        free(text)  # a kernel may map megabytes to memory for each access
        yield start, boundary.start() + 1 if boundary else stop
        if not boundary:
            return
        start = boundary.end()


def decode_annotations(
    text: mmap.mmap, span: Span, path: Path, *, position: int, workers: int
) -> AnnotationTable:
    """Decode the annotations of a file.

    Args:
        text: Text of the file.
        span: Position of the annotations.
        path: Annotation file.
        position: Index of the chosen annotation set in ``cat_id``.
        workers: Number of processes.

    Raises:
        InputError: An annotation is malformed; the message names it.
    """
    chunks = chunks_of(text, span, path)
    try:
        parts = list(decoded_chunks(chunks, position, workers))
    except MALFORMED:  # find the malformed annotation, or decode unusual but valid text
        annotations = scan(text, path).annotations  # their position may have been wrong
        check_unique_keys(bytes(memoryview(annotations)), path, "annotations")
        parts = [_columns(_one_by_one(annotations, path), path, position)]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in AnnotationTable.__dataclass_fields__
    }
    _check_unique(columns["ids"], path)
    return AnnotationTable(**columns)


def decoded_chunks(
    chunks: Sequence[Chunk], position: int, workers: int
) -> Iterator[AnnotationTable]:
    """Decode chunks, for the annotation set at a position of ``cat_id``.

    Raises:
        InputError: An annotation is malformed; the message names it.
        MALFORMED: An annotation is malformed, or the chunks do not contain complete annotations.
    """
    chosen = [msgspec.structs.replace(chunk, position=position) for chunk in chunks]
    return in_order(_decode_chunk, chosen, workers)


def _decode_chunk(chunk: Chunk) -> AnnotationTable:
    """Decode the annotations of a chunk in a worker process."""
    text = chunk.text()
    with gc_disabled():
        decoded = msgspec.json.decode(text, type=dict[str, _Annotation])
        if not _are_plain(text, len(decoded)):
            check_unique_keys(text, chunk.path, "annotations")
        return _columns(decoded, chunk.path, chunk.position)


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Do not collect garbage: for the objects of a chunk, none in a cycle, it takes long."""
    gc.disable()
    try:
        yield
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
        ids=integers(list(decoded), decoded, path, ""),
        boxes_xyxy=boxes_xyxy,
        corners=corners,
        gaps=np.abs((boxes_xyxy - corner_bounds(corners)).T).max(0, initial=0),
        categories=integers(
            [_in_set(row.cat_id, position) for row in rows], decoded, path, "cat_id"
        ),
        images=integers([row.img_id for row in rows], decoded, path, "img_id"),
    )


def _in_set(cat_id: list[Id | None] | Id | None, position: int) -> Id:
    """Return the category id in the annotation set; files of proposals contain a plain id."""
    if isinstance(cat_id, list):
        cat_id = cat_id[position] if position < len(cat_id) else None
    return NO_ID if cat_id is None else cat_id


def integers(
    values: Sequence[Id], keys: Iterable[str], path: Path, field: str
) -> NDArray[np.int64]:
    """Convert ids to integers.

    Args:
        values: Ids of annotations, or of their images or categories.
        keys: Key of each annotation.
        path: File of the annotations.
        field: Field that contains the ids; empty for the keys themselves.

    Raises:
        InputError: An id is not a number.
    """
    digits = "".join(value for value in values if isinstance(value, str))
    if not digits or (digits.isascii() and digits.isdigit()):
        with suppress(ValueError, OverflowError):
            numbers = np.fromiter(map(int, values), np.int64, len(values))
            if not ((numbers < 0) & (numbers != NO_ID)).any():
                return numbers
    key, value = next(
        (key, value)
        for key, value in zip(keys, values, strict=True)
        if value != NO_ID and not re.fullmatch(NUMBER, str(value))
    )
    where = f"annotations[{shortened(key)}].{field}".rstrip(".")
    raise InputError(f"expected a number, got {shown(value)}", path=path, where=where)


def _check_unique(ids: NDArray[np.int64], path: Path) -> None:
    values, n = np.unique(ids, return_counts=True)
    if repeated := values[n > 1].tolist():
        raise InputError(f"duplicate: {count_of(repeated, 'id')}", path=path, where="annotations")
