"""DeepScoresV2, https://zenodo.org/records/4012193: reads its JSON as labels of one annotation set.

A file holds ``annotation_sets``, ``categories`` (a dict by id), ``images`` (a list) and
``annotations`` (a dict by id). Two things in it mislead. ``a_bbox`` holds corners, not COCO's width
and height: it is compared with the bounds of ``o_bbox`` for every annotation. ``cat_id`` holds one
id for each annotation set: only that of the chosen set is read, or every box would come twice.

Shapes: N annotations of a file.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError, Source, catalogue
from converters import tally
from converters.boxes import Boxes
from converters.deepscores_json import (
    Category,
    Id,
    ImageEntry,
    Table,
    corner_bounds,
    decode_annotations,
    open_json,
)
from converters.names import checked_image_name, several
from converters.page import Page
from converters.tally import Tally

MAX_GAP_PX = 20.0
"""a_bbox and the bounds of o_bbox differ by about 1 px, by up to 14.5 px on rotated symbols."""
MAX_GAP_SHARE = 0.001
"""Share of annotations over MAX_GAP_PX beyond which a file is refused."""
STAFF = "staff"


class DeepScoresFile:
    """One file, opened: the images are known, the annotations are not yet decoded.

    Raises:
        InputError: The file is damaged or contradicts itself; see the messages below.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file, self._offset = open_json(path)
        self._row_of_image = _rows_of_images(self._file.images, path)
        self.images: dict[PurePosixPath, tuple[int, int]] = {
            PurePosixPath(image.filename): (image.width, image.height)
            for image in self._file.images
        }
        """Width and height of each image in pixels."""

    def pages(
        self,
        source: Source,
        labels: Mapping[str, int],
        counts: Tally,
        *,
        clip: bool = False,
        workers: int = 1,
    ) -> Iterator[Page]:
        """Yield the pages in the order of ``images``.

        Args:
            source: Which annotation set is read, and the class of each category.
            labels: Label of each class.
            counts: Receives what was read, and what was dropped for want of a class.
            clip: Let boxes reach beyond the page; the cleaning cuts them there.
            workers: Processes that decode.

        Raises:
            InputError: The annotations are damaged or contradict themselves.
        """
        if source.annotation_set not in self._file.annotation_sets:
            raise InputError(
                f"no set {source.annotation_set!r} in {self._file.annotation_sets}; choose one "
                "with --annotation-set",
                path=self.path,
                where="annotation_sets",
            )
        position = self._file.annotation_sets.index(str(source.annotation_set))
        table = decode_annotations(
            self._file.annotations, self._offset, self.path, position=position, workers=workers
        )
        _check_geometry(table, self.path)
        images = self._file.images
        rows = _image_rows(table, self._row_of_image, self.path)
        names = _category_names(self._file.categories, table, source, self.path)
        label_of = np.array([labels.get(source.class_of.get(name, ""), -1) for name in names])
        table_labels = np.where(table.categories < 0, -1, label_of[table.categories])
        counts.read += len(table.ids)
        _count_dropped(table, table_labels, names, counts)
        _warn_of_other_lists(images, table, rows, self.path, counts)
        if not clip:
            _check_inside(table, table_labels >= 0, images, rows, self.path)
        staff = names.index(STAFF) if STAFF in names else -2
        yield from _grouped(images, table, table_labels, rows, table.categories == staff)


def _grouped(
    images: list[ImageEntry],
    table: Table,
    table_labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    is_staff: NDArray[np.bool_],
) -> Iterator[Page]:
    """Yield each image with its annotations that have a label."""
    order = np.argsort(rows, kind="stable")  # (N,) annotations by image
    bounds = np.searchsorted(rows[order], np.arange(len(images) + 1))
    for i, image in enumerate(images):
        mine = order[bounds[i] : bounds[i + 1]]
        kept = mine[table_labels[mine] >= 0]
        yield Page(
            image=PurePosixPath(image.filename),
            width=image.width,
            height=image.height,
            boxes_xyxy=table.boxes_xyxy[kept],
            labels=table_labels[kept],
            corners=table.corners[kept],
            symbol_ids=table.ids[kept],
            staff_space=_staff_space(table.boxes_xyxy[mine[is_staff[mine]]]),
        )


def _staff_space(staves_xyxy: Boxes) -> float | None:
    """A staff is one box over its five lines, so four spaces high."""
    return float(np.median(staves_xyxy[:, 3] - staves_xyxy[:, 1])) / 4 if len(staves_xyxy) else None


def _check_geometry(table: Table, path: Path) -> None:
    """Refuse numbers that are none, boxes turned round, and boxes in another format."""
    x0, y0, x1, y1 = table.boxes_xyxy.T
    finite = np.isfinite(table.gaps)
    far = table.gaps > MAX_GAP_PX
    if len(far) and far.mean() > MAX_GAP_SHARE:
        as_xywh = np.stack((x0, y0, x0 + x1, y0 + y1), axis=1)[far]
        explained = np.abs(as_xywh - corner_bounds(table.corners[far])).max(1) <= MAX_GAP_PX
        cause = (
            "a_bbox looks like [x, y, width, height], where DeepScoresV2 has corners"
            if explained.mean() > 0.5
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


def _rows_of_images(images: list[ImageEntry], path: Path) -> dict[int, int]:
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


def _image_rows(table: Table, row_of_image: dict[int, int], path: Path) -> NDArray[np.int64]:
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
    categories: dict[str, Category], table: Table, source: Source, path: Path
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
    images: list[ImageEntry], table: Table, rows: NDArray[np.int64], path: Path, counts: Tally
) -> None:
    """Each image lists its annotations too; ``img_id`` is what counts, but say if they differ."""
    listed = [
        sorted(map(str, msgspec.json.decode(image.ann_ids, type=list[Id]))) for image in images
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
    table: Table, table_labels: NDArray[np.int64], names: list[str], counts: Tally
) -> None:
    without_id = int((table.categories < 0).sum())
    if without_id:
        counts.dropped[tally.NO_ID_IN_SET, "null"] += without_id
    unmapped = (table_labels < 0) & (table.categories >= 0)
    counts.drop(tally.NOT_IN_CLASS_MAP, table.categories[unmapped], names)


def _check_inside(
    table: Table,
    mapped: NDArray[np.bool_],
    images: list[ImageEntry],
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
