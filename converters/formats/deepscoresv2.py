"""DeepScoresV2, https://zenodo.org/records/4012193: reads its JSON as labels of one annotation set.

Pages that the toolkit engraves itself come in the same form, with the one set ``engraved``.

A file holds ``annotation_sets``, ``categories`` (a dict by id), ``images`` (a list) and
``annotations`` (a dict by id). Two things in it mislead. ``a_bbox`` holds corners, not COCO's width
and height: it is compared with the bounds of ``o_bbox`` for every annotation. ``cat_id`` holds one
id for each annotation set: only that of the chosen set is read, or every box would come twice.

Shapes: N annotations of a file.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError, Source, catalogue
from converters import tally
from converters.boxes import Boxes
from converters.formats.deepscores_json import (
    NO_ID,
    Category,
    Id,
    ImageEntry,
    Table,
    corner_bounds,
    decode_annotations,
    open_json,
)
from converters.names import checked_images, several
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
        images = _images(self._file.images, path)
        self._row_of_image = {image_id: row for row, image_id in enumerate(images)}
        self.images: dict[PurePosixPath, tuple[int, int]] = {
            image: (width, height) for image, width, height in images.values()
        }
        """Width and height of each image in pixels."""

    def categories(self, source: Source) -> tuple[str, ...]:
        """Names of the categories of the chosen annotation set, by id, in canonical spelling."""
        known, chosen = catalogue(source.name), source.annotation_set
        mine = [(k, c.name) for k, c in self._file.categories.items() if c.annotation_set == chosen]
        mine.sort(key=lambda entry: (len(entry[0]), entry[0]))  # ids are numbers as text
        return tuple(known.canonical(name, chosen) for _, name in mine)

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
        rows = _image_rows(table, self._row_of_image, self.path)
        names = _category_names(self._file.categories, table, source, self.path)
        label_of = np.array([labels.get(source.class_of.get(name, ""), -1) for name in names])
        has_id = table.categories != NO_ID
        table_labels = np.full(len(has_id), -1)
        table_labels[has_id] = label_of[table.categories[has_id]]
        counts.read += len(table.ids)
        _count_dropped(table, table_labels, names, counts)
        _warn_of_other_lists(self._file.images, table, rows, self.path, counts)
        if not clip:
            _check_inside(table, table_labels >= 0, self.images, rows, self.path)
        staff = names.index(STAFF) if STAFF in names else -2
        yield from _grouped(self.images, table, table_labels, rows, table.categories == staff)


def _grouped(
    images: Mapping[PurePosixPath, tuple[int, int]],
    table: Table,
    table_labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    is_staff: NDArray[np.bool_],
) -> Iterator[Page]:
    """Yield each image with its annotations that have a label."""
    order = np.argsort(rows, kind="stable")  # (N,) annotations by image
    bounds = np.searchsorted(rows[order], np.arange(len(images) + 1))
    for i, (image, (width, height)) in enumerate(images.items()):
        mine = order[bounds[i] : bounds[i + 1]]
        kept = mine[table_labels[mine] >= 0]
        yield Page(
            image=image,
            width=width,
            height=height,
            boxes_xyxy=table.boxes_xyxy[kept],
            labels=table_labels[kept],
            corners=table.corners[kept],
            symbol_ids=table.ids[kept],
            staff_space=_staff_space(table.boxes_xyxy[mine[is_staff[mine]]]),
            n_annotations=len(mine),
        )


def _staff_space(staves_xyxy: Boxes) -> float | None:
    """A staff is one box over its five lines, so four spaces high."""
    heights = staves_xyxy[:, 3] - staves_xyxy[:, 1]
    heights = heights[heights > 0]
    return float(np.median(heights)) / 4 if len(heights) else None


def _check_geometry(table: Table, path: Path) -> None:
    """Refuse boxes in another format, numbers that are none, and boxes turned round."""
    x0, y0, x1, y1 = table.boxes_xyxy.T
    far = table.gaps > MAX_GAP_PX
    refused = len(far) > 0 and far.mean() > MAX_GAP_SHARE
    as_xywh = np.stack((x0, y0, x0 + x1, y0 + y1), axis=1)[far]
    explained = np.abs(as_xywh - corner_bounds(table.corners[far])).max(1, initial=0) <= MAX_GAP_PX
    refusal = partial(InputError, path=path, where="annotations.a_bbox")
    gap = f"{far.sum()} of {len(far)} differ from the bounds of o_bbox by more than {MAX_GAP_PX:g}"
    if refused and explained.mean() > 0.5:
        raise refusal(
            f"{gap} px: a_bbox looks like [x, y, width, height], where DeepScoresV2 has corners; "
            "put the file right first",
        )
    for bad, what in (
        (~np.isfinite(table.gaps), "not a finite number"),
        ((x1 < x0) | (y1 < y0), "reversed"),
    ):
        if bad.any():
            shown = table.boxes_xyxy[bad.argmax()].tolist()
            raise refusal(
                f"{what}: {several(table.ids[bad].tolist(), 'annotation')}; "
                f"the first is {shown}, expected [x0, y0, x1, y1] with x0 <= x1 and y0 <= y1",
            )
    if refused:
        raise refusal(
            f"{gap} px: one of the two is in another format or belongs to another image size; "
            "put the file right first",
        )


def _images(entries: list[ImageEntry], path: Path) -> dict[int, tuple[PurePosixPath, int, int]]:
    for i, entry in enumerate(entries):
        if not re.fullmatch(r"\d{1,18}", str(entry.id)):
            where = f"images[{i}].id"
            raise InputError(f"expected a number, got {entry.id!r}", path=path, where=where)
    rows = ((int(e.id), e.filename, e.width, e.height) for e in entries)
    return checked_images(rows, path, "filename")


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
    if strange := [key for key in categories if not re.fullmatch(r"\d{1,6}", key)]:
        raise InputError(
            f"expected numbers below a million as ids, got {strange[0]!r}",
            path=path,
            where="categories",
        )
    set_of = {int(key): category.annotation_set for key, category in categories.items()}
    used = np.unique(table.categories[table.categories != NO_ID]).tolist()
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
    listed = [_listed(image, f"images[{i}].ann_ids", path) for i, image in enumerate(images)]
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


def _listed(image: ImageEntry, where: str, path: Path) -> list[str]:
    try:
        return sorted(map(str, msgspec.json.decode(image.ann_ids, type=list[Id])))
    except msgspec.DecodeError as error:
        raise InputError(f"expected a list of ids: {error}", path=path, where=where) from error


def _count_dropped(
    table: Table, table_labels: NDArray[np.int64], names: list[str], counts: Tally
) -> None:
    without_id = int((table.categories == NO_ID).sum())
    if without_id:
        counts.dropped[tally.NO_ID_IN_SET, "null"] += without_id
    unmapped = (table_labels < 0) & (table.categories != NO_ID)
    counts.drop(tally.NOT_IN_CLASS_MAP, table.categories[unmapped], names)


def _check_inside(
    table: Table,
    mapped: NDArray[np.bool_],
    images: Mapping[PurePosixPath, tuple[int, int]],
    rows: NDArray[np.int64],
    path: Path,
) -> None:
    size = np.array(list(images.values()), np.float64).reshape(-1, 2)
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
    found = folder.glob("deepscores*.json")
    return sorted((p for p in found if p.stem.endswith(("_train", "_test", "_val"))), key=_natural)


def _natural(path: Path) -> list[Any]:
    """Shard 10 comes after shard 9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
