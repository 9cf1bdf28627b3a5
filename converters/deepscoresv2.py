"""DeepScoresV2, https://zenodo.org/records/4012193: reads its JSON as labels of one annotation set.

A file holds ``annotation_sets``, ``categories`` (a dict by id), ``images`` (a list) and
``annotations`` (a dict by id). Two things in it mislead. ``a_bbox`` holds corners, not COCO's width
and height: it is compared with the bounds of ``o_bbox`` for every annotation. ``cat_id`` holds one
id for each annotation set: only that of the chosen set is read, or every box would come twice.

The annotations of a dense file are more than half a gigabyte of text. They are decoded a few
megabytes at a time, so that memory stays near the size of the numbers alone.

Shapes: N annotations of a file.
"""

import mmap
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError, Source, catalogue
from converters import tally
from converters.boxes import Boxes
from converters.names import checked_image_name, several
from converters.page import Page
from converters.tally import Tally

MAX_GAP_PX = 20.0
"""a_bbox and the bounds of o_bbox differ by about 1 px, by up to 14.5 px on rotated symbols."""
MAX_GAP_SHARE = 0.001
"""Share of annotations over MAX_GAP_PX beyond which a file is refused."""
CHUNK_BYTES = 8 << 20
STAFF = "staff"

_NEXT_ANNOTATION = re.compile(rb'\}\s*,\s*(?="[^"\\]*"\s*:\s*\{)')
"""End of one annotation before the next; a string cannot look like this, as its quotes would be
escaped and a key must follow."""

_Id: TypeAlias = int | str


class _Category(msgspec.Struct):
    name: str
    annotation_set: str


class _Image(msgspec.Struct, gc=False):
    id: _Id
    filename: str
    width: int
    height: int
    ann_ids: msgspec.Raw = msgspec.Raw(b"[]")


class _Annotation(msgspec.Struct, gc=False):
    a_bbox: tuple[float, float, float, float]
    o_bbox: tuple[float, float, float, float, float, float, float, float]
    cat_id: list[_Id | None] | _Id | None
    img_id: _Id


class _File(msgspec.Struct):
    annotation_sets: list[str]
    categories: dict[str, _Category]
    images: list[_Image]
    annotations: msgspec.Raw


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Table:
    """The annotations of a file as parallel arrays, in the order of the file."""

    ids: NDArray[np.int64]
    """Shape ``(N,)``."""
    boxes_xyxy: Boxes
    """Shape ``(N, 4)``, pixels."""
    corners: Boxes
    """Shape ``(N, 4, 2)``, pixels."""
    categories: NDArray[np.int64]
    """Shape ``(N,)``, ids of the file; -1 where the chosen set has none."""
    images: NDArray[np.int64]
    """Shape ``(N,)``, ids of the file."""


class DeepScoresFile:
    """One file, opened: the images are known, the annotations are not yet decoded.

    Raises:
        InputError: The file is damaged or contradicts itself; see the messages below.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path)
        self._row_of_image = _rows_of_images(self._file.images, path)
        self.images: dict[PurePosixPath, tuple[int, int]] = {
            PurePosixPath(image.filename): (image.width, image.height)
            for image in self._file.images
        }
        """Width and height of each image in pixels."""

    def pages(
        self, source: Source, labels: Mapping[str, int], counts: Tally, *, clip: bool = False
    ) -> Iterator[Page]:
        """Yield the pages in the order of ``images``.

        Args:
            source: Which annotation set is read, and the class of each category.
            labels: Label of each class.
            counts: Receives what was read, and what was dropped for want of a class.
            clip: Let boxes reach beyond the page; the cleaning cuts them there.

        Raises:
            InputError: The annotations are damaged or contradict themselves.
        """
        return _pages(self._file, self.path, self._row_of_image, source, labels, counts, clip)


def _pages(
    file: _File,
    path: Path,
    row_of_image: dict[int, int],
    source: Source,
    labels: Mapping[str, int],
    counts: Tally,
    clip: bool,
) -> Iterator[Page]:
    if source.annotation_set not in file.annotation_sets:
        raise InputError(
            f"no set {source.annotation_set!r} in {file.annotation_sets}; choose one with "
            "--annotation-set",
            path=path,
            where="annotation_sets",
        )
    table = _table(file, path, file.annotation_sets.index(str(source.annotation_set)))
    _check_geometry(table, path)
    rows = _image_rows(table, row_of_image, path)
    category_names = _category_names(file.categories, table, source, path)
    counts.read += len(table.ids)
    _warn_of_other_lists(file.images, table, rows, path, counts)
    label_of_category = np.array(
        [labels.get(source.class_of.get(n, ""), -1) for n in category_names]
    )
    table_labels = np.where(table.categories < 0, -1, label_of_category[table.categories])
    _count_dropped(table, table_labels, category_names, counts)
    if not clip:
        _check_inside(table, table_labels >= 0, file.images, rows, path)
    staff = category_names.index(STAFF) if STAFF in category_names else -2
    order = np.argsort(rows, kind="stable")  # (N,) annotations by image
    bounds = np.searchsorted(rows[order], np.arange(len(file.images) + 1))
    for i, image in enumerate(file.images):
        mine = order[bounds[i] : bounds[i + 1]]
        kept = mine[table_labels[mine] >= 0]
        staves = table.boxes_xyxy[mine[table.categories[mine] == staff]]
        yield Page(
            image=PurePosixPath(image.filename),
            width=image.width,
            height=image.height,
            boxes_xyxy=table.boxes_xyxy[kept],
            labels=table_labels[kept],
            corners=table.corners[kept],
            symbol_ids=table.ids[kept],
            staff_space=_staff_space(staves),
        )


def _staff_space(staves_xyxy: Boxes) -> float | None:
    """A staff is one box over its five lines, so four spaces high."""
    return float(np.median(staves_xyxy[:, 3] - staves_xyxy[:, 1])) / 4 if len(staves_xyxy) else None


def _open(path: Path) -> _File:
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise InputError("is empty; expected DeepScoresV2 JSON", path=path)
            # msgspec keeps the map alive for as long as the annotations are a view of it
            return msgspec.json.decode(
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), type=_File
            )
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    except msgspec.DecodeError as error:
        raise InputError(_said(error), path=path, where=_place(error)) from error


def _said(error: msgspec.DecodeError) -> str:
    reason = str(error).split(" - at ")[0]
    if isinstance(error, msgspec.ValidationError):
        return reason[0].lower() + reason[1:]
    return f"not valid JSON, cut short or damaged: {reason}"


def _place(error: msgspec.DecodeError) -> str:
    """``$.images[3].width`` as ``images[3].width``."""
    return str(error).partition(" - at `")[2].rstrip("`").lstrip("$.")


def _table(file: _File, path: Path, position: int) -> _Table:
    """Decode the annotations; ``position`` is that of the chosen set in ``cat_id``."""
    parts: list[_Table] = []
    if bytes(memoryview(file.annotations)[:1]) != b"{":
        raise InputError(
            "expected an object by id; a list is COCO's form, see --source",
            path=path,
            where="annotations",
        )
    try:
        for chunk in _chunks(memoryview(file.annotations)):
            decoded = msgspec.json.decode(chunk, type=dict[str, _Annotation])
            if chunk.count(b'"a_bbox"') != len(decoded):  # an id stands twice: JSON keeps the last
                raise msgspec.DecodeError("an id stands twice")
            parts.append(_columns(decoded, path, position))
    except msgspec.DecodeError:  # say where, or read what is odd but valid
        parts = [_columns(_one_by_one(file.annotations, path), path, position)]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in _Table.__dataclass_fields__
    }
    _check_unique(columns["ids"], path)
    return _Table(**columns)


def _chunks(text: memoryview) -> Iterator[bytes]:
    """Split the text of a JSON object of flat objects into objects of about CHUNK_BYTES."""
    start, stop = 1, len(text) - 1  # inside the braces
    while True:
        found = _NEXT_ANNOTATION.search(text, min(start + CHUNK_BYTES, stop), stop)
        yield b"{" + text[start : found.start() + 1 if found else stop] + b"}"
        if not found:
            return
        start = found.end()


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
    if memoryview(annotations).tobytes().count(b'"a_bbox"') != len(decoded):
        raise InputError("an id stands twice", path=path, where="annotations")
    return decoded


def _columns(decoded: dict[str, _Annotation], path: Path, position: int) -> _Table:
    rows, n = list(decoded.values()), len(decoded)
    a_bbox = np.fromiter(chain.from_iterable([row.a_bbox for row in rows]), np.float64, 4 * n)
    o_bbox = np.fromiter(chain.from_iterable([row.o_bbox for row in rows]), np.float64, 8 * n)
    return _Table(
        ids=_integers(list(decoded), decoded, path, ""),
        boxes_xyxy=a_bbox.reshape(-1, 4),
        corners=o_bbox.reshape(-1, 4, 2),
        categories=_integers(
            [_in_set(row.cat_id, position) for row in rows], decoded, path, "cat_id"
        ),
        images=_integers([row.img_id for row in rows], decoded, path, "img_id"),
    )


def _in_set(cat_id: list[_Id | None] | _Id | None, position: int) -> _Id:
    """The id of the chosen set; files of proposals hold a plain id."""
    if isinstance(cat_id, list):
        cat_id = cat_id[position] if position < len(cat_id) else None
    return -1 if cat_id is None else cat_id


def _integers(
    values: list[_Id], decoded: dict[str, _Annotation], path: Path, field: str
) -> NDArray[np.int64]:
    try:
        return np.fromiter(map(int, values), np.int64, len(values))
    except (ValueError, OverflowError):
        for key, value in zip(decoded, values, strict=True):
            if not re.fullmatch(r"-?\d{1,18}", str(value)):
                where = f"annotations[{key}].{field}".rstrip(".")
                raise InputError(
                    f"expected a number, got {value!r}", path=path, where=where
                ) from None
        raise


def _check_unique(ids: NDArray[np.int64], path: Path) -> None:
    values, n = np.unique(ids, return_counts=True)
    if repeated := values[n > 1].tolist():
        raise InputError(f"{several(repeated, 'id')} twice", path=path, where="annotations")


def _check_geometry(table: _Table, path: Path) -> None:
    """Refuse numbers that are none, boxes turned round, and boxes in another format."""
    x0, y0, x1, y1 = table.boxes_xyxy.T
    finite = np.isfinite(table.boxes_xyxy).all(1) & np.isfinite(table.corners).all((1, 2))
    gaps = np.abs(table.boxes_xyxy - _bounds(table.corners)).max(1, initial=0)
    far = gaps > MAX_GAP_PX
    if len(far) and far.mean() > MAX_GAP_SHARE:
        as_xywh = np.stack((x0, y0, x0 + x1, y0 + y1), axis=1)
        explained = np.abs(as_xywh - _bounds(table.corners)).max(1) <= MAX_GAP_PX
        cause = (
            "a_bbox looks like [x, y, width, height], where DeepScoresV2 has corners"
            if explained[far].mean() > 0.5
            else "one of the two is in another format or belongs to another image size"
        )
        raise InputError(
            f"{far.sum()} of {len(far)} differ from the bounds of o_bbox by more than "
            f"{MAX_GAP_PX:g} px: {cause}; put the file right first",
            path=path,
            where="annotations.a_bbox",
        )
    for bad, what in ((~finite, "not a finite number"), ((x1 < x0) | (y1 < y0), "reversed")):
        if bad.any():
            shown = table.boxes_xyxy[bad.argmax()].tolist()
            raise InputError(
                f"{what}: {several(table.ids[bad].tolist(), 'annotation')}; "
                f"the first is {shown}, expected [x0, y0, x1, y1] with x0 <= x1 and y0 <= y1",
                path=path,
                where="annotations.a_bbox",
            )


def _bounds(corners: Boxes) -> Boxes:
    """``(N, 4, 2)`` corners to ``(N, 4)`` boxes_xyxy."""
    return np.concatenate((corners.min(1), corners.max(1)), axis=1)


def _rows_of_images(images: list[_Image], path: Path) -> dict[int, int]:
    rows: dict[int, int] = {}
    for i, image in enumerate(images):
        checked_image_name(image.filename, path, f"images[{i}].filename")
        if image.width < 1 or image.height < 1:
            size = f"{image.width} x {image.height}"
            raise InputError(f"an image cannot be {size} px", path=path, where=f"images[{i}]")
        if not re.fullmatch(r"\d{1,18}", str(image.id)):
            raise InputError(
                f"expected a number, got {image.id!r}", path=path, where=f"images[{i}].id"
            )
        if rows.setdefault(int(image.id), i) != i:
            raise InputError(f"id {image.id} stands twice", path=path, where=f"images[{i}].id")
    names = Counter(image.filename for image in images)
    if repeated := sorted(name for name, n in names.items() if n > 1):
        raise InputError(f"{several(repeated, 'file')} twice", path=path, where="images")
    return rows


def _image_rows(table: _Table, row_of_image: dict[int, int], path: Path) -> NDArray[np.int64]:
    """Row in ``images`` of each annotation, shape ``(N,)``."""
    ids, inverse = np.unique(table.images, return_inverse=True)
    rows = np.array([row_of_image.get(i, -1) for i in ids.tolist()], np.int64)[inverse]
    if (lost := rows < 0).any():
        raise InputError(
            f"no image has the img_id of {several(table.ids[lost].tolist(), 'annotation')}; "
            f"the first is {table.images[lost][0]}",
            path=path,
            where="annotations.img_id",
        )
    return rows


def _category_names(
    categories: dict[str, _Category], table: _Table, source: Source, path: Path
) -> list[str]:
    """Canonical name of every category id of the chosen set, at its index; "" for the others."""
    known = catalogue(source.name)
    set_of = {int(key): category.annotation_set for key, category in categories.items()}
    used = np.unique(table.categories[table.categories >= 0]).tolist()
    if unknown := [i for i in used if i not in set_of]:
        raise InputError(
            f"{several(unknown, 'category id')} not in categories",
            path=path,
            where="annotations.cat_id",
        )
    if strangers := [i for i in used if set_of[i] != source.annotation_set]:
        raise InputError(
            f"{several(strangers, 'category id')} of {set_of[strangers[0]]} where annotation_sets "
            f"puts {source.annotation_set}",
            path=path,
            where="annotations.cat_id",
        )
    names = [""] * (max(set_of, default=0) + 1)
    for key, category in categories.items():
        if category.annotation_set == source.annotation_set:
            names[int(key)] = known.canonical(category.name, source.annotation_set)
    return names


def _warn_of_other_lists(
    images: list[_Image], table: _Table, rows: NDArray[np.int64], path: Path, counts: Tally
) -> None:
    """Each image lists its annotations too; ``img_id`` is what counts, but say if they differ."""
    listed = [
        sorted(map(str, msgspec.json.decode(image.ann_ids, type=list[_Id]))) for image in images
    ]
    if not any(listed):
        return
    order = np.lexsort((table.ids, rows))
    found = np.split(table.ids[order], np.searchsorted(rows[order], np.arange(1, len(images))))
    differ = [
        image.filename
        for image, ids, mine in zip(images, listed, found, strict=True)
        if ids != sorted(map(str, mine.tolist()))
    ]
    if differ:
        counts.warnings.append(
            f"{path.name}: ann_ids of {several(differ, 'image')} are not the annotations whose "
            "img_id names it; img_id was followed"
        )


def _count_dropped(
    table: _Table, table_labels: NDArray[np.int64], names: list[str], counts: Tally
) -> None:
    without_id = int((table.categories < 0).sum())
    if without_id:
        counts.dropped[tally.NO_ID_IN_SET, "null"] += without_id
    unmapped = (table_labels < 0) & (table.categories >= 0)
    counts.drop(tally.NOT_IN_CLASS_MAP, table.categories[unmapped], names)


def _check_inside(
    table: _Table,
    mapped: NDArray[np.bool_],
    images: list[_Image],
    rows: NDArray[np.int64],
    path: Path,
) -> None:
    size = np.array([(image.width, image.height) for image in images], np.float64).reshape(-1, 2)
    excess = np.maximum(-table.boxes_xyxy[:, :2], table.boxes_xyxy[:, 2:] - size[rows]).max(
        1, initial=0
    )
    if (out := mapped & (excess > 0)).any():
        raise InputError(
            f"out of the page, by up to {excess[out].max():.1f} px: "
            f"{several(table.ids[out].tolist(), 'annotation')}; --clip cuts them at the border",
            path=path,
            where="annotations.a_bbox",
        )


def shards(folder: Path) -> list[Path]:
    """The JSON files of a folder in which all of DeepScoresV2's lie, by number; may be empty."""
    return sorted(folder.glob("deepscores*.json"), key=_natural)


def _natural(path: Path) -> list[Any]:
    """Shard 10 comes after shard 9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
