"""Decoder of DeepScoresV2 JSON into arrays, a few megabytes of text at a time.

The annotations of a dense file are more than half a gigabyte of text. Decoding them at once would
take several times as much memory. Decoding them in chunks, in several processes, takes little more
than the arrays.

Shapes: N annotations of a file.
"""

import codecs
import gc
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from converters.boxes import Boxes
from converters.files.process_pool import in_order
from converters.names import count_of

CHUNK_BYTES = 8 << 20
NO_ID = -(1 << 62)
"""Category id of annotations with a null in ``cat_id``."""

_NEXT_ANNOTATION = re.compile(rb'\}\s*,\s*(?="[^"\\]*"\s*:\s*\{)')
"""Boundary between two annotations; it cannot match inside a string, where quotes are escaped."""

Id: TypeAlias = int | str


class CategoryEntry(msgspec.Struct):
    """One entry of ``categories``, a dict by id."""

    name: str
    annotation_set: str


class ImageEntry(msgspec.Struct, gc=False):
    """One entry of ``images``; ``ann_ids`` is an undecoded list of ids."""

    id: Id
    filename: str
    width: int
    height: int
    ann_ids: msgspec.Raw = msgspec.Raw(b"[]")
    staff_space: Annotated[float, msgspec.Meta(gt=0, lt=1e6)] | None = None
    """Staff space in pixels, which engraved pages contain."""


class _Annotation(msgspec.Struct, gc=False):
    a_bbox: tuple[float, float, float, float]
    o_bbox: tuple[float, float, float, float, float, float, float, float]
    cat_id: list[Id | None] | Id | None
    img_id: Id


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
    """Shape ``(N,)``."""
    boxes_xyxy: Boxes
    """Shape ``(N, 4)``, pixels."""
    corners: Boxes
    """Shape ``(N, 4, 2)``, pixels."""
    categories: NDArray[np.int64]
    """Shape ``(N,)``, category ids of the file; ``NO_ID`` if the annotation set has none."""
    images: NDArray[np.int64]
    """Shape ``(N,)``, image ids of the file."""
    gaps: NDArray[np.float64]
    """Shape ``(N,)``, pixels: largest difference between the box and the bounds of the corners."""


def corner_bounds(corners: Boxes) -> Boxes:
    """Compute the boxes around corners of shape ``(N, 4, 2)``, as xyxy of shape ``(N, 4)``."""
    x, y = corners.transpose(2, 1, 0)  # (4, N) each: a reduction along N is many times faster
    return np.stack((x.min(0), y.min(0), x.max(0), y.max(0)), axis=1)


def open_json(path: Path) -> tuple[DeepScoresJson, int]:
    """Decode everything but the annotations of a file.

    Returns:
        The decoded file, and the byte offset of its annotations.

    Raises:
        InputError: The file is missing, empty, damaged, or has another format.
    """
    text = _mapped(path)
    try:
        decoded = msgspec.json.decode(text, type=DeepScoresJson)
    except msgspec.ValidationError as error:
        raise InputError(_reason(error), path=path, where=_location(error)) from error
    except msgspec.DecodeError as error:
        if where := _location_of_nan(error, text):
            raise InputError(
                "expected finite numbers, got NaN or Infinity", path=path, where=where
            ) from None
        raise InputError(_reason(error), path=path) from error
    # the annotations are a view of the memory map and keep it alive
    return decoded, _address(memoryview(decoded.annotations)) - _address(text)


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise InputError("is empty; expected DeepScoresV2 JSON", path=path)
            if file.read(3) == codecs.BOM_UTF8:
                raise InputError(
                    "begins with a byte order mark; save the file without it", path=path
                )
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error


def _reason(error: msgspec.DecodeError) -> str:
    reason = str(error).split(" - at ")[0]
    if isinstance(error, msgspec.ValidationError):
        return reason[0].lower() + reason[1:]
    return f"not valid JSON, truncated or damaged: {reason}"


def _location(error: msgspec.DecodeError) -> str:
    """Extract the location from an error: ``images[3].width`` from ``$.images[3].width``."""
    return str(error).partition(" - at `")[2].rstrip("`").lstrip("$.")


def _location_of_nan(error: msgspec.DecodeError, text: mmap.mmap) -> str:
    """Locate a NaN or Infinity, which Python writes but JSON does not allow."""
    match = re.search(r"\(byte (\d+)\)", str(error))
    position = int(match[1]) if match else 0
    if not match or not re.match(rb"NaN|Infinity", text[position : position + 8]):
        return ""
    before = text[max(0, position - 4096) : position]
    entries = re.findall(rb'"([^"\\]+)"\s*:\s*\{', before)
    fields = re.findall(rb'"([^"\\]+)"\s*:', before)
    names = [f"annotations[{key.decode()}]" for key in entries[-1:]]
    return ".".join([*names, *(key.decode() for key in fields[-1:])]) or "a number"


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
    chunks = [_Chunk(path.absolute(), offset + a, offset + b, position) for a, b in _bounds(text)]
    try:
        parts = list(in_order(_decode_chunk, chunks, workers))
    except msgspec.DecodeError:  # find the malformed annotation, or decode unusual but valid text
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


def _address(text: memoryview | mmap.mmap) -> int:
    """Return the memory address of a buffer."""
    return int(np.frombuffer(text, np.uint8).__array_interface__["data"][0])


def _decode_chunk(chunk: _Chunk) -> AnnotationTable:
    """Decode the annotations of a chunk in a worker process."""
    text = bytearray(chunk.stop - chunk.start + 2)
    text[0], text[-1] = ord("{"), ord("}")
    with chunk.path.open("rb") as file:
        file.seek(chunk.start)
        file.readinto(memoryview(text)[1:-1])
    gc.disable()  # collecting so many objects, none in a cycle, would take a third more time
    try:
        decoded = msgspec.json.decode(text, type=dict[str, _Annotation])
        if _n_boxes(text) != len(decoded):  # of duplicate keys, the decoder keeps the last one
            raise msgspec.DecodeError("duplicate id")
        return _columns(decoded, chunk.path, chunk.position)
    finally:
        gc.enable()


def _one_by_one(annotations: msgspec.Raw, path: Path) -> dict[str, _Annotation]:
    """Decode annotations individually, which is slow but names a malformed one."""
    try:
        raw = msgspec.json.decode(annotations, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise InputError(_reason(error), path=path, where="annotations") from error
    decoded = {}
    for key, text in raw.items():
        try:
            decoded[key] = msgspec.json.decode(text, type=_Annotation)
        except msgspec.DecodeError as error:
            where = f"annotations[{key}].{_location(error)}".rstrip(".")
            raise InputError(_reason(error), path=path, where=where) from error
    if _n_boxes(annotations) != len(decoded):
        raise InputError("duplicate id", path=path, where="annotations")
    return decoded


def _n_boxes(text: bytearray | msgspec.Raw) -> int:
    return len(re.findall(rb'"a_bbox"\s*:', text))


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
    try:
        numbers = np.fromiter(map(int, values), np.int64, len(values))
    except (ValueError, OverflowError):
        numbers = None
    if numbers is not None and not ((numbers < 0) & (numbers != NO_ID)).any():
        return numbers
    key, value = next(
        (key, value)
        for key, value in zip(decoded, values, strict=True)
        if value != NO_ID and not re.fullmatch(r"\d{1,18}", str(value))
    )
    where = f"annotations[{key}].{field}".rstrip(".")
    raise InputError(f"expected a number, got {value!r}", path=path, where=where)


def _check_unique(ids: NDArray[np.int64], path: Path) -> None:
    values, n = np.unique(ids, return_counts=True)
    if repeated := values[n > 1].tolist():
        raise InputError(f"duplicate: {count_of(repeated, 'id')}", path=path, where="annotations")
