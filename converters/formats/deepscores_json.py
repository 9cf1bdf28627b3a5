"""Decodes the JSON of DeepScoresV2 into arrays, some megabytes of text at a time.

The annotations of a dense file are more than half a gigabyte of text. Decoded at once they would
take several times that; decoded in parts, by several processes, memory stays near the size of the
numbers alone.

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
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from converters.boxes import Boxes
from converters.files.process_pool import in_order
from converters.names import several

CHUNK_BYTES = 8 << 20
NO_ID = -(1 << 62)
"""Stands for a null in ``cat_id``."""

_NEXT_ANNOTATION = re.compile(rb'\}\s*,\s*(?="[^"\\]*"\s*:\s*\{)')
"""End of one annotation before the next; a string cannot look like this, as its quotes would be
escaped and a key must follow."""

Id: TypeAlias = int | str


class Category(msgspec.Struct):
    """One entry of ``categories``, by its id."""

    name: str
    annotation_set: str


class ImageEntry(msgspec.Struct, gc=False):
    """One entry of ``images``; ``ann_ids`` is a list of ids, not yet decoded."""

    id: Id
    filename: str
    width: int
    height: int
    ann_ids: msgspec.Raw = msgspec.Raw(b"[]")


class _Annotation(msgspec.Struct, gc=False):
    a_bbox: tuple[float, float, float, float]
    o_bbox: tuple[float, float, float, float, float, float, float, float]
    cat_id: list[Id | None] | Id | None
    img_id: Id


class DeepScoresJson(msgspec.Struct):
    """A file; ``annotations`` is not yet decoded."""

    annotation_sets: list[str]
    categories: dict[str, Category]
    images: list[ImageEntry]
    annotations: msgspec.Raw


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Table:
    """The annotations of a file as parallel arrays, in the order of the file."""

    ids: NDArray[np.int64]
    """Shape ``(N,)``."""
    boxes_xyxy: Boxes
    """Shape ``(N, 4)``, pixels."""
    corners: Boxes
    """Shape ``(N, 4, 2)``, pixels."""
    categories: NDArray[np.int64]
    """Shape ``(N,)``, ids of the file; ``NO_ID`` where the chosen set has none."""
    images: NDArray[np.int64]
    """Shape ``(N,)``, ids of the file."""
    gaps: NDArray[np.float64]
    """Shape ``(N,)``, pixels: the largest difference between a side and the corners' bounds."""


def corner_bounds(corners: Boxes) -> Boxes:
    """``(N, 4, 2)`` corners to the ``(N, 4)`` boxes_xyxy around them."""
    x, y = corners.transpose(2, 1, 0)  # (4, N) each: a reduction along N is many times faster
    return np.stack((x.min(0), y.min(0), x.max(0), y.max(0)), axis=1)


def open_json(path: Path) -> tuple[DeepScoresJson, int]:
    """Decode all but the annotations.

    Returns:
        The file, and the byte at which its annotations begin.

    Raises:
        InputError: It is missing, empty, damaged, or of another form.
    """
    text = _mapped(path)
    try:
        decoded = msgspec.json.decode(text, type=DeepScoresJson)
    except msgspec.ValidationError as error:
        raise InputError(_said(error), path=path, where=_place(error)) from error
    except msgspec.DecodeError as error:
        if where := _place_of_nan(error, text):
            raise InputError(
                "expected numbers, got NaN or Infinity", path=path, where=where
            ) from None
        raise InputError(_said(error), path=path) from error
    # the annotations are a view of the map, which they keep alive
    return decoded, _address(memoryview(decoded.annotations)) - _address(text)


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise InputError("is empty; expected DeepScoresV2 JSON", path=path)
            if file.read(3) == codecs.BOM_UTF8:
                raise InputError("begins with a byte order mark; save it without", path=path)
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error


def _said(error: msgspec.DecodeError) -> str:
    reason = str(error).split(" - at ")[0]
    if isinstance(error, msgspec.ValidationError):
        return reason[0].lower() + reason[1:]
    return f"not valid JSON, cut short or damaged: {reason}"


def _place(error: msgspec.DecodeError) -> str:
    """``$.images[3].width`` as ``images[3].width``."""
    return str(error).partition(" - at `")[2].rstrip("`").lstrip("$.")


def _place_of_nan(error: msgspec.DecodeError, text: mmap.mmap) -> str:
    """Where a file has NaN or Infinity, which Python writes and JSON does not know."""
    found = re.search(r"\(byte (\d+)\)", str(error))
    if not found or not re.match(rb"NaN|Infinity", text[int(found[1]) : int(found[1]) + 8]):
        return ""
    before = text[max(0, int(found[1]) - 4096) : int(found[1])]
    entries = re.findall(rb'"([^"\\]+)"\s*:\s*\{', before)
    fields = re.findall(rb'"([^"\\]+)"\s*:', before)
    names = [f"annotations[{key.decode()}]" for key in entries[-1:]]
    return ".".join([*names, *(key.decode() for key in fields[-1:])]) or "a number"


def decode_annotations(
    annotations: msgspec.Raw, offset: int, path: Path, *, position: int, workers: int
) -> Table:
    """Decode the annotations of a file.

    Args:
        annotations: Their text.
        offset: The byte of the file at which it begins.
        path: The file.
        position: Of the chosen annotation set in ``cat_id``.
        workers: Processes that take part.

    Raises:
        InputError: Naming the annotation that is wrong.
    """
    text = memoryview(annotations)
    if bytes(text[:1]) != b"{":
        raise InputError(
            "expected an object by id; a list is COCO's form, see --source",
            path=path,
            where="annotations",
        )
    chunks = [_Chunk(path.absolute(), offset + a, offset + b, position) for a, b in _bounds(text)]
    try:
        parts = list(in_order(_decode_chunk, chunks, workers))
    except msgspec.DecodeError:  # say where, or read what is odd but valid
        parts = [_columns(_one_by_one(annotations, path), path, position)]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Table.__dataclass_fields__
    }
    _check_unique(columns["ids"], path)
    return Table(**columns)


class _Chunk(msgspec.Struct):
    """Whole annotations of a file, in the text between two of its bytes."""

    path: Path
    start: int
    stop: int
    position: int


def _bounds(text: memoryview) -> Iterator[tuple[int, int]]:
    """Split the text of a JSON object of flat objects into parts of about CHUNK_BYTES."""
    start, stop = 1, len(text) - 1  # inside the braces
    while True:
        found = _NEXT_ANNOTATION.search(text, min(start + CHUNK_BYTES, stop), stop)
        yield start, found.start() + 1 if found else stop
        if not found:
            return
        start = found.end()


def _address(text: memoryview | mmap.mmap) -> int:
    """Where a buffer lies in memory."""
    return int(np.frombuffer(text, np.uint8).__array_interface__["data"][0])


def _decode_chunk(chunk: _Chunk) -> Table:
    """Decode some annotations; a worker process does this."""
    text = bytearray(chunk.stop - chunk.start + 2)
    text[0], text[-1] = ord("{"), ord("}")
    with chunk.path.open("rb") as file:
        file.seek(chunk.start)
        file.readinto(memoryview(text)[1:-1])
    gc.disable()  # hundreds of thousands of new tuples and no cycle: looking for one costs a third
    try:
        decoded = msgspec.json.decode(text, type=dict[str, _Annotation])
        if _n_boxes(text) != len(decoded):  # an id stands twice: JSON keeps the last
            raise msgspec.DecodeError("an id stands twice")
        return _columns(decoded, chunk.path, chunk.position)
    finally:
        gc.enable()


def _one_by_one(annotations: msgspec.Raw, path: Path) -> dict[str, _Annotation]:
    """Decode slowly, to name the annotation that is wrong."""
    try:
        raw = msgspec.json.decode(annotations, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise InputError(_said(error), path=path, where="annotations") from error
    decoded = {}
    for key, text in raw.items():
        try:
            decoded[key] = msgspec.json.decode(text, type=_Annotation)
        except msgspec.DecodeError as error:
            where = f"annotations[{key}].{_place(error)}".rstrip(".")
            raise InputError(_said(error), path=path, where=where) from error
    if _n_boxes(annotations) != len(decoded):
        raise InputError("an id stands twice", path=path, where="annotations")
    return decoded


def _n_boxes(text: bytearray | msgspec.Raw) -> int:
    return len(re.findall(rb'"a_bbox"\s*:', text))


def _columns(decoded: dict[str, _Annotation], path: Path, position: int) -> Table:
    rows, n = list(decoded.values()), len(decoded)
    a_bbox = np.fromiter(chain.from_iterable([row.a_bbox for row in rows]), np.float64, 4 * n)
    o_bbox = np.fromiter(chain.from_iterable([row.o_bbox for row in rows]), np.float64, 8 * n)
    boxes_xyxy, corners = a_bbox.reshape(-1, 4), o_bbox.reshape(-1, 4, 2)
    return Table(
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
    """The id of the chosen set; files of proposals hold a plain id."""
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
        raise InputError(f"{several(repeated, 'id')} twice", path=path, where="annotations")
