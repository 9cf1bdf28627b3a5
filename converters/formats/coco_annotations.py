"""Decodes COCO annotations into arrays, accepting the variants that common tools write.

Ids may be numbers or text, ``iscrowd`` a boolean, and sides numbers or text. An annotation without
a box gets the box of its polygon. CVAT writes a rotated rectangle as the box before the rotation,
with the angle in ``attributes.rotation``.

Shapes: N annotations of a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from class_maps import InputError, shown
from converters.boxes import Boxes, corner_bounds, onto_border, rotated_corners, xywh_to_xyxy
from converters.json_text import check_unique_keys, decode, offset_in
from converters.names import count_of
from converters.tally import Tally

Id: TypeAlias = int | float | str

EXACT_FLOATS = 1 << 53
"""Limit below which a float represents an integer exactly."""

MIN_CORNERS = 10
"""Minimum number of boxes, all of which may be x1, y1, x2, y2, to reject a file with --clip too."""
REWRITE = "if they are x1, y1, x2, y2, write them as x, y, width, height"

POLYGON_PX = 1.0
"""Largest difference between the sides of a box and those of its polygon, in pixels."""

MIN_POLYGON = 6
"""Fewest numbers of a polygon that is not in a list of polygons, as some programs write it."""

_NULL = msgspec.Raw(b"null")
_NO_BOX = (np.nan, np.nan, np.nan, np.nan)

CORNERS_PX = 1.5
"""Largest distance by which a box is wider than the box around its corners, in pixels: thin boxes
are widened."""


class _Annotation(msgspec.Struct, gc=False):
    image_id: Id | None
    category_id: Id
    id: Id | UnsetType | None = UNSET
    bbox: list[float | str] | UnsetType | None = UNSET
    iscrowd: bool | int | UnsetType | None = UNSET
    ignore: bool | int | UnsetType | None = UNSET


class _Shape(msgspec.Struct, gc=False):
    segmentation: msgspec.Raw = _NULL
    attributes: msgspec.Raw = _NULL


class _Oriented(msgspec.Struct, gc=False):
    """An annotation of omr with an oriented box: one polygon of four corners."""

    symbol_id: int
    segmentation: tuple[tuple[float, float, float, float, float, float, float, float]]


class _Attributes(msgspec.Struct):
    rotation: float | str | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CocoTable:
    """The annotations of a file as parallel arrays, in the order of the file."""

    boxes_xyxy: Boxes
    """Boxes in pixels, shape ``(N, 4)``; NaN for annotations without a box."""
    corners: Boxes | None
    """Corners in pixels, shape ``(N, 4, 2)``; None if no box of the file is rotated, unless omr
    wrote corners."""
    categories: NDArray[np.int64]
    """Positions in the list of categories, shape ``(N,)``."""
    images: NDArray[np.int64]
    """Positions in the list of images, shape ``(N,)``; -1 for an annotation without box and
    image."""
    ids: NDArray[np.int64] | None
    """Annotation ids, shape ``(N,)``; None if an annotation has no id, or an id that is not a
    number."""
    shown_ids: Sequence[str]
    """Id of each annotation for messages; its position in brackets if it has no id."""
    is_crowd: NDArray[np.bool_]
    """True for a box around many objects, shape ``(N,)``."""
    is_rotated: NDArray[np.bool_]
    """True for a box with an angle, shape ``(N,)``."""
    is_polygon: NDArray[np.bool_]
    """True for the box around a polygon, shape ``(N,)``."""
    n_ignored: int
    """Number of annotations with ``ignore``, which some programs set for difficult symbols."""

    @property
    def has_box(self) -> NDArray[np.bool_]:
        """Mark annotations with a box, shape ``(N,)``."""
        return ~np.isnan(self.boxes_xyxy[:, 0])

    def inside(
        self, sizes: NDArray[np.float64], path: Path, counts: Tally, *, clip: bool
    ) -> "CocoTable":
        """Snap boxes that exceed the image by rounding error to its border; reject larger excess.

        Args:
            sizes: Width and height of each image, in pixels.
            path: Annotation file, for the error message.
            counts: Receives a warning if most boxes will be clipped.
            clip: Accept boxes beyond the image, unless all boxes appear to be x1, y1, x2, y2.

        Raises:
            InputError: A box extends beyond its image, or all are fractions of the image.
        """
        if self.n_ignored:
            n, kind = self.n_ignored, "annotation" if self.n_ignored == 1 else "annotations"
            counts.warnings.append(f"{path.name}: {n} {kind} with ignore: read like the others")
        limits = sizes[self.images] if len(sizes) else np.empty((len(self.images), 2))
        self._check_unit(path)
        boxes_xyxy = onto_border(self.boxes_xyxy, limits)
        excess = np.maximum(-boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - limits).max(1, initial=0)
        outside, n_boxes = excess > 0, int(self.has_box.sum())
        n_outside, may_be_corners = int(outside.sum()), self._may_be_corners(limits)
        is_most = 2 * n_outside > n_boxes
        are_corners = is_most and n_boxes >= MIN_CORNERS and may_be_corners[self.has_box].all()
        if n_outside and (are_corners or not clip):
            remedy = "use --clip to clip boxes to the image"
            if 2 * may_be_corners[outside].sum() > n_outside:
                remedy = REWRITE if are_corners else f"{REWRITE}; otherwise, use --clip"
            names = count_of(
                [self.shown_ids[i] for i in np.flatnonzero(outside).tolist()], "annotation"
            )
            raise InputError(
                f"extends beyond the image by up to {np.nanmax(excess):.3g} px: {names}; {remedy}",
                path=path,
                where="annotations.bbox",
            )
        if is_most:
            counts.warnings.append(
                f"{path.name}: {n_outside} of {n_boxes} boxes extend beyond the image and are "
                f"clipped; {REWRITE}"
            )
        return replace(self, boxes_xyxy=boxes_xyxy)

    def _check_unit(self, path: Path) -> None:
        """Check that not all boxes are fractions of the image instead of pixels."""
        boxes_xyxy = self.boxes_xyxy[self.has_box]
        if len(boxes_xyxy) and boxes_xyxy.max() <= 1 and (boxes_xyxy % 1).any():
            raise InputError(
                "no box extends beyond the first pixel; expected x, y, width and height in pixels, "
                "not as fractions of the image",
                path=path,
                where="annotations.bbox",
            )

    def _may_be_corners(self, limits: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Mark boxes whose width and height could be a lower right corner, shape ``(N,)``."""
        ends = self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]
        fits = (ends > self.boxes_xyxy[:, :2]) & (ends <= limits) & (self.boxes_xyxy[:, :2] >= 0)
        return np.asarray(fits.all(axis=1))


def key_of(value: Id) -> Id:
    """Return an id in canonical form, so that equal ids are equal: ``25`` for ``"025"``.

    A float that may be the rounded value of another integer becomes text, so that it equals no
    other id.
    """
    if isinstance(value, float) and abs(value) >= EXACT_FLOATS:
        return str(value)
    is_number = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18
    return int(value) if is_number else value


def read_table(
    data: bytes,
    annotations: msgspec.Raw,
    categories: Mapping[Id, int],
    images: Mapping[Id, int],
    path: Path,
) -> CocoTable:
    """Decode the annotations of a file.

    Args:
        data: Bytes of the file.
        annotations: Undecoded list of annotations, a part of ``data``.
        categories: Position of each category by its id.
        images: Position of each image by its id.
        path: Annotation file, for error messages.

    Raises:
        InputError: An annotation is malformed, or has an unknown image or category.
    """
    rows = decode(annotations, list[_Annotation], path, "annotations")
    _check_unique_fields(data, annotations, rows, path)
    boxes_xyxy = xywh_to_xyxy(_boxes_xywh(rows, path))
    _check_against_polygons(boxes_xyxy, annotations, rows, path)
    # Some programs write 0, 0, 0, 0 next to a polygon.
    without_box = np.isnan(boxes_xyxy[:, 0]) | (boxes_xyxy == 0).all(axis=1)
    is_polygon = np.zeros(len(rows), bool)
    angles = np.zeros(len(rows))
    if without_box.any() or b'"rotation"' in data:
        shapes = decode(annotations, list[_Shape], path, "annotations")
        for i in np.flatnonzero(without_box):
            around_polygon = _bounds(shapes[i].segmentation)
            if around_polygon is not _NO_BOX:
                boxes_xyxy[i], is_polygon[i] = around_polygon, True
        angles = np.array([_angle(shape, i, path) for i, shape in enumerate(shapes)])
    is_crowd = [_is_set(row.iscrowd) for row in rows]
    table = CocoTable(
        boxes_xyxy=boxes_xyxy,
        corners=rotated_corners(boxes_xyxy, angles)
        if angles.any()
        else _written_corners(data, annotations, boxes_xyxy),
        categories=np.array([categories.get(key_of(row.category_id), -1) for row in rows], int),
        images=np.array([_position(row.image_id, images) for row in rows], int),
        ids=_ids(rows, path),
        shown_ids=[_name(row, i) for i, row in enumerate(rows)],
        is_crowd=np.array(is_crowd, bool),
        is_rotated=angles != 0,
        is_polygon=is_polygon,
        n_ignored=sum(_is_set(row.ignore) for row in rows),
    )
    _check(table, path)
    if table.corners is None:
        return table
    around_corners = np.where(table.is_rotated[:, None], corner_bounds(table.corners), boxes_xyxy)
    return replace(table, boxes_xyxy=around_corners)


def _written_corners(data: bytes, annotations: msgspec.Raw, boxes_xyxy: Boxes) -> Boxes | None:
    """Return the corners that omr wrote, shape ``(N, 4, 2)``; None for other files.

    Args:
        data: Bytes of the file.
        annotations: Undecoded list of annotations, a part of ``data``.
        boxes_xyxy: Boxes in pixels, shape ``(N, 4)``, which are inside those around their corners
            unless another program has changed them.
    """
    if b'"symbol_id"' not in data:
        return None
    try:
        rows = msgspec.json.decode(annotations, type=list[_Oriented])
    except msgspec.DecodeError:  # a field of another program, or boxes without corners
        return None
    corners = np.array([row.segmentation[0] for row in rows], np.float64).reshape(-1, 4, 2)
    outside = (corner_bounds(corners) - boxes_xyxy) * [1, 1, -1, -1]
    return corners if (outside <= CORNERS_PX).all() else None


def _check_unique_fields(
    data: bytes, annotations: msgspec.Raw, rows: Sequence[_Annotation], path: Path
) -> None:
    """Check that no annotation repeats a field that is read.

    The text of a field occurs at least once for each annotation that has it: if it occurs no more
    often, no annotation repeats the field. Otherwise, all annotations are decoded once more.
    """
    start = offset_in(data, annotations)
    stop = start + len(memoryview(annotations))
    is_plain = data.find(b"\\", start, stop) < 0 and all(
        data.count(f'"{field}"'.encode(), start, stop)
        == sum(getattr(row, field) is not UNSET for row in rows)
        for field in _Annotation.__struct_fields__
    )
    if not is_plain:
        for i, text in enumerate(decode(annotations, list[msgspec.Raw], path, "annotations")):
            check_unique_keys(bytes(text), path, f"annotations[{i}]")


def _boxes_xywh(rows: Sequence[_Annotation], path: Path) -> Boxes:
    """Return the boxes, shape ``(N, 4)``; NaN for annotations without a box."""
    boxes = [row.bbox or _NO_BOX for row in rows]
    for i, box in enumerate(boxes):
        if len(box) != 4:
            where = f"annotations[{i}].bbox"
            raise InputError(f"expected 4 numbers, got {len(box)}", path=path, where=where)
    boxes_xywh = np.array(boxes).reshape(-1, 4)
    if boxes_xywh.dtype != np.float64:  # sides written as text
        boxes_xywh = np.array([[_number(side) for side in box] for box in boxes], np.float64)
    is_given = np.array([box is not _NO_BOX for box in boxes], bool)
    invalid = is_given & ~np.isfinite(boxes_xywh).all(axis=1)
    if invalid.any():
        i = int(invalid.argmax())
        where = f"annotations[{i}].bbox"
        raise InputError(f"expected numbers, got {shown(boxes[i])}", path=path, where=where)
    return boxes_xywh


def _number(value: float | str) -> float:
    """Return a number that may be written as text; NaN for other text."""
    if isinstance(value, str) and "_" in value:  # which Python would accept
        return np.nan
    try:
        return float(value)
    except ValueError:
        return np.nan


def _check_against_polygons(
    boxes_xyxy: Boxes, annotations: msgspec.Raw, rows: Sequence[_Annotation], path: Path
) -> None:
    """Check that boxes are not the corners x1, y1, x2, y2 of the polygons next to them.

    Polygons are decoded only if the numbers of all boxes may be corners, which is rare.
    """
    has_box = ~np.isnan(boxes_xyxy[:, 0])
    as_corners = boxes_xyxy.copy()
    as_corners[:, 2:] -= boxes_xyxy[:, :2]
    if not has_box.any() or (as_corners[:, 2:] <= as_corners[:, :2])[has_box].any():
        return
    shapes = decode(annotations, list[_Shape], path, "annotations")
    bounds_xyxy = np.array([_bounds(shape.segmentation) for shape in shapes])
    is_box = (np.abs(bounds_xyxy - boxes_xyxy) <= POLYGON_PX).all(axis=1)
    is_corners = (np.abs(bounds_xyxy - as_corners) <= POLYGON_PX).all(axis=1)
    if is_corners.any() and not is_box.any():
        names = [_name(rows[i], i) for i in np.flatnonzero(is_corners).tolist()]
        reason = f"is x1, y1, x2, y2 of its polygon: {count_of(names, 'annotation')}"
        reason = f"{reason}; write it as x, y, width, height"
        raise InputError(reason, path=path, where="annotations.bbox")


def _bounds(segmentation: msgspec.Raw) -> Sequence[float]:
    """Return the box around the polygons of an annotation as xyxy; NaN without a polygon."""
    try:
        polygons = msgspec.json.decode(segmentation, type=list[list[float]])
    except msgspec.DecodeError:
        try:
            polygon = msgspec.json.decode(segmentation, type=list[float])
        except msgspec.DecodeError:  # a mask
            return _NO_BOX
        polygons = [polygon] if len(polygon) >= MIN_POLYGON else []
    if any(len(polygon) % 2 for polygon in polygons):  # a coordinate is missing
        return _NO_BOX
    x = [number for polygon in polygons for number in polygon[::2]]
    y = [number for polygon in polygons for number in polygon[1::2]]
    return (min(x), min(y), max(x), max(y)) if x and y else _NO_BOX


def _angle(shape: _Shape, i: int, path: Path) -> float:
    """Return the angle in ``attributes.rotation``, in degrees; 0 without an angle."""
    if b'"rotation"' not in bytes(shape.attributes):
        return 0.0
    where = f"annotations[{i}].attributes"
    rotation = decode(shape.attributes, _Attributes, path, where).rotation
    angle = _number(rotation or 0.0)
    if not np.isfinite(angle):
        raise InputError(
            f"expected an angle in degrees, got {shown(rotation)}",
            path=path,
            where=f"{where}.rotation",
        )
    return angle % 360


def _is_set(flag: bool | int | UnsetType | None) -> bool:
    return flag is not UNSET and bool(flag)


def _position(image_id: Id | None, images: Mapping[Id, int]) -> int:
    return -1 if image_id is None else images.get(key_of(image_id), -1)


def _name(row: _Annotation, i: int) -> str:
    return f"[{i}]" if row.id is UNSET or row.id is None else str(row.id)


def _ids(rows: Sequence[_Annotation], path: Path) -> NDArray[np.int64] | None:
    given = [row.id for row in rows if row.id is not UNSET and row.id is not None]
    keys = [key for key in map(key_of, given) if isinstance(key, int)]
    if len(keys) < len(rows):
        return None
    for i, key in enumerate(keys):
        if not -(2**63) <= key < 2**63:
            where = f"annotations[{i}].id"
            raise InputError(f"expected 64 bits, got {shown(key)}", path=path, where=where)
    return np.array(keys, np.int64)


def _check(table: CocoTable, path: Path) -> None:
    """Check that the categories and images exist, and that no side is negative."""
    x0, y0, x1, y1 = table.boxes_xyxy.T
    for invalid, field, problem in (
        (table.categories < 0, "category_id", "unknown category"),
        ((table.images < 0) & table.has_box, "image_id", "unknown image"),
        ((x1 < x0) | (y1 < y0), "bbox", "negative width or height"),
    ):
        if invalid.any():
            names = [table.shown_ids[i] for i in np.flatnonzero(invalid).tolist()]
            raise InputError(
                f"{problem}: {count_of(names, 'annotation')}",
                path=path,
                where=f"annotations.{field}",
            )
