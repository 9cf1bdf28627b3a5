"""Reader of DeepScoresV2 JSON, https://zenodo.org/records/4012193, for one annotation set.

Pages engraved by omr have the same format and the single annotation set ``engraved``.

A file contains ``annotation_sets``, ``categories`` (a dict by id), ``images`` (a list) and
``annotations`` (a dict by id). Two fields are easily misread. ``a_bbox`` contains two corners, not
width and height as in COCO: every ``a_bbox`` is compared with the bounds of its ``o_bbox``.
``cat_id`` contains one id per annotation set: only that of the chosen set is read, as reading all
of them would duplicate every box.

Shapes: N annotations of a file.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from class_maps import CategoryMapping, InputError, catalogue, shown
from class_maps.catalogues import ENGRAVED
from converters import staff_space, tally
from converters.boxes import corner_bounds, onto_border
from converters.files.hashes import sha256, state
from converters.formats.deepscores_json import (
    NO_ID,
    NUMBER,
    AnnotationTable,
    CategoryEntry,
    Id,
    ImageEntry,
    decode_annotations,
    free,
    open_json,
)
from converters.formats.json_files import annotation_files, find_images, json_files, root_keys
from converters.json_text import decode
from converters.names import NO_WORKS, checked_images, count_of
from converters.page import Page
from converters.tally import Tally

MAX_GAP_PX = 20.0
"""Largest plausible difference between a_bbox and the bounds of o_bbox; usual differences are about
1 px, and up to 14.5 px for rotated symbols."""
MAX_GAP_FRACTION = 0.001
"""Fraction of annotations beyond MAX_GAP_PX from which a file is rejected."""
STAFF = "staff"
FULL_NOTEHEAD = re.compile(r"notehead(?!.*(Small|DoubleWhole))")
"""Noteheads as high as a staff space."""


def recognises(path: Path) -> bool:
    """Check whether a file, or the first JSON file in a folder, is from DeepScoresV2.

    Raises:
        InputError: The file cannot be read or is not a JSON object.
    """
    return _has_this_form(path) and not recognises_engraved(path)


def recognises_engraved(path: Path) -> bool:
    """Check whether a file, or the first JSON file in a folder, contains pages engraved by omr.

    Raises:
        InputError: The file cannot be read or is not a JSON object.
    """
    return _has_this_form(path) and (
        root_keys(json_files(path)[0]).annotation_sets == f'["{ENGRAVED}"]'.encode()
    )


def _has_this_form(path: Path) -> bool:
    files = json_files(path)
    if not files:
        return False
    keys = root_keys(files[0])
    return "annotation_sets" in keys.names or keys.has_annotations_by_id


def open_files(path: Path, images: Path | None = None) -> list["DeepScoresFile"]:
    """Open a file, or all annotation files in a folder.

    Args:
        path: File or folder, see :func:`~converters.formats.json_files.json_files`.
        images: Folder of the images; None to find it, see
            :func:`~converters.formats.json_files.find_images`.

    Raises:
        InputError: A file is damaged or inconsistent.
    """
    return [DeepScoresFile(*file, images=images) for file in annotation_files(path)]


class DeepScoresFile:
    """One annotation file; implements :class:`~converters.formats.AnnotationSource`.

    Opening it decodes the images and categories, but not the annotations.

    Raises:
        InputError: The file is damaged or inconsistent.
    """

    works = NO_WORKS

    def __init__(
        self,
        path: Path,
        split: str = "train",
        warnings: Sequence[str] = (),
        *,
        images: Path | None = None,
    ) -> None:
        self.path, self.split, self.state = path, split, state(path)
        self._reopened = partial(type(self), path, split, warnings, images=images)
        self._file, self._offset, self._text = open_json(path)
        checked = _images(self._file.images, path, images)
        located = find_images(path, checked, images)
        self.image_folder, self.warnings = located.folder, (*warnings, *located.warnings)
        self._row_of_image = {image_id: row for row, image_id in enumerate(located.images)}
        self.images: dict[PurePosixPath, tuple[int, int]] = {
            image: (width, height) for image, width, height in located.images.values()
        }
        """Width and height of each image in pixels."""

    def __reduce__(self) -> tuple[Callable[[], "DeepScoresFile"], tuple[()]]:
        """Pickle how the file is opened, and not its content."""
        return self._reopened, ()

    def sha256(self) -> str:
        """Hash the file."""
        return sha256(self.path)

    def categories(self, mapping: CategoryMapping) -> tuple[str, ...]:
        """Return the names of the annotation set's categories, by id, in canonical spelling."""
        known, chosen = catalogue(mapping.name), mapping.annotation_set
        categories = [
            (key, category.name)
            for key, category in self._file.categories.items()
            if category.annotation_set == chosen
        ]
        categories.sort(key=lambda entry: (len(entry[0]), entry[0]))  # keys are numbers as text
        return tuple(known.canonical(name, chosen) for _, name in categories)

    def pages(
        self,
        mapping: CategoryMapping,
        labels: Mapping[str, int],
        counts: Tally,
        *,
        clip: bool = False,
        workers: int = 1,
    ) -> Iterator[Page]:
        """Yield the pages in the order of ``images``.

        Args:
            mapping: Annotation set to read, and the class of each category.
            labels: Label of each class.
            counts: Receives the numbers of annotations read, and of those dropped because their
                category has no class.
            clip: Accept boxes that extend beyond the page; cleaning clips them later.
            workers: Number of processes that decode the annotations.

        Raises:
            InputError: The annotations are damaged or inconsistent.
        """
        if mapping.annotation_set not in self._file.annotation_sets:
            raise InputError(
                f"no annotation set {mapping.annotation_set!r} in "
                f"{shown(self._file.annotation_sets)}; "
                "choose one with --annotation-set",
                path=self.path,
                where="annotation_sets",
            )
        position = self._file.annotation_sets.index(str(mapping.annotation_set))
        table = decode_annotations(
            self._file.annotations, self._offset, self.path, position=position, workers=workers
        )
        free(self._text)
        _check_geometry(table, self.path)
        rows = _image_rows(table, self._row_of_image, self.path)
        names = _category_names(self._file.categories, table, mapping, self.path)
        label_of = np.array([labels.get(mapping.class_of.get(name, ""), -1) for name in names])
        has_id = table.categories != NO_ID
        table_labels = np.full(len(has_id), -1)
        table_labels[has_id] = label_of[table.categories[has_id]]
        counts.read += len(table.ids)
        _count_dropped(table, table_labels, names, counts)
        _warn_of_differing_ids(self._file.images, table, rows, self.path, counts)
        limits = np.array(list(self.images.values()), np.float64).reshape(-1, 2)[rows]
        table = replace(table, boxes_xyxy=onto_border(table.boxes_xyxy, limits))
        if not clip:
            _check_inside(table, table_labels >= 0, limits, self.path)
        staves = _StaffSpaces(self._file.images, table, names)
        pages = _grouped(self.images, table, table_labels, rows, staves)
        for page, image in zip(pages, self._file.images, strict=True):
            yield replace(page, capture=image.degradation.capture) if image.degradation else page


def _grouped(
    images: Mapping[PurePosixPath, tuple[int, int]],
    table: AnnotationTable,
    table_labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    staff_spaces: "_StaffSpaces",
) -> Iterator[Page]:
    """Yield a page per image, with the annotations that have a label."""
    order = np.argsort(rows, kind="stable")  # (N,) annotations by image
    bounds = np.searchsorted(rows[order], np.arange(len(images) + 1))
    for i, (image, (width, height)) in enumerate(images.items()):
        image_rows = order[bounds[i] : bounds[i + 1]]
        kept = image_rows[table_labels[image_rows] >= 0]
        yield Page(
            image=image,
            width=width,
            height=height,
            boxes_xyxy=table.boxes_xyxy[kept],
            labels=table_labels[kept],
            corners=table.corners[kept],
            symbol_ids=table.ids[kept],
            staff_space=staff_spaces.of(i, image_rows),
            n_annotations=len(image_rows),
        )


class _StaffSpaces:
    """Staff spaces of the pages of a file: recorded by the engraver, or measured from boxes."""

    def __init__(
        self, images: Sequence[ImageEntry], table: AnnotationTable, names: Sequence[str]
    ) -> None:
        self._recorded = [image.staff_space for image in images]
        self._table = table
        self._staff = [i for i, name in enumerate(names) if name == STAFF]
        self._noteheads = [i for i, name in enumerate(names) if FULL_NOTEHEAD.match(name)]

    def of(self, image: int, rows: NDArray[np.int64]) -> float | None:
        """Return the staff space of a page in pixels, or None if it is unknown.

        Args:
            image: Index of the page.
            rows: Indices of its annotations.
        """
        if (recorded := self._recorded[image]) is not None:
            return recorded
        table = self._table
        staves, noteheads = (
            rows[np.isin(table.categories[rows], categories)]
            for categories in (self._staff, self._noteheads)
        )
        return staff_space.measure(
            table.boxes_xyxy[staves], table.corners[staves], table.boxes_xyxy[noteheads]
        )


def _check_geometry(table: AnnotationTable, path: Path) -> None:
    """Reject boxes in another format, non-finite coordinates, and reversed corners."""
    x0, y0, x1, y1 = table.boxes_xyxy.T
    far = table.gaps > MAX_GAP_PX
    rejected = len(far) > 0 and far.mean() > MAX_GAP_FRACTION
    as_xywh = np.stack((x0, y0, x0 + x1, y0 + y1), axis=1)[far]
    explained = np.abs(as_xywh - corner_bounds(table.corners[far])).max(1, initial=0) <= MAX_GAP_PX
    error = partial(InputError, path=path, where="annotations.a_bbox")
    gap = f"{far.sum()} of {len(far)} differ from the bounds of o_bbox by more than {MAX_GAP_PX:g}"
    if rejected and explained.mean() > 0.5:
        raise error(
            f"{gap} px: a_bbox seems to be [x, y, width, height], but DeepScoresV2 has corners; "
            "correct the file first",
        )
    for invalid, problem in (
        (~np.isfinite(table.gaps), "non-finite"),
        ((x1 < x0) | (y1 < y0), "reversed corners"),
    ):
        if invalid.any():
            example = table.boxes_xyxy[invalid.argmax()].tolist()
            raise error(
                f"{problem}: {count_of(table.ids[invalid].tolist(), 'annotation')}; "
                f"the first is {example}, expected [x0, y0, x1, y1] with x0 <= x1 and y0 <= y1",
            )
    if rejected:
        raise error(
            f"{gap} px: one of them has another format or is for another image size; correct the "
            "file first",
        )


def _images(
    entries: list[ImageEntry], path: Path, images: Path | None
) -> dict[int, tuple[PurePosixPath, int, int]]:
    for i, entry in enumerate(entries):
        if not re.fullmatch(NUMBER, str(entry.id)):
            where = f"images[{i}].id"
            raise InputError(f"expected a number, got {shown(entry.id)}", path=path, where=where)
    rows = ((int(e.id), e.filename, e.width, e.height) for e in entries)
    return checked_images(rows, path, "filename", images)


def _image_rows(
    table: AnnotationTable, row_of_image: dict[int, int], path: Path
) -> NDArray[np.int64]:
    """Return the index in ``images`` of each annotation's image, shape ``(N,)``."""
    ids, inverse = np.unique(table.images, return_inverse=True)
    rows = np.array([row_of_image.get(i, -1) for i in ids.tolist()], np.int64)[inverse]
    if (orphaned := rows < 0).any():
        raise InputError(
            f"unknown image: {count_of(table.ids[orphaned].tolist(), 'annotation')}; the first has "
            f"img_id {table.images[orphaned][0]}",
            path=path,
            where="annotations.img_id",
        )
    return rows


def _category_names(
    categories: dict[str, CategoryEntry],
    table: AnnotationTable,
    mapping: CategoryMapping,
    path: Path,
) -> list[str]:
    """Return the canonical names of the annotation set's categories, indexed by id.

    Ids of other annotation sets have an empty name.
    """
    known = catalogue(mapping.name)
    if invalid := [key for key in categories if not re.fullmatch(r"[0-9]{1,6}", key)]:
        raise InputError(
            f"expected numbers below a million as ids, got {shown(invalid[0])}",
            path=path,
            where="categories",
        )
    if repeated := [i for i, n in Counter(map(int, categories)).items() if n > 1]:
        raise InputError(f"duplicate: {count_of(repeated, 'id')}", path=path, where="categories")
    set_of = {int(key): category.annotation_set for key, category in categories.items()}
    used = np.unique(table.categories[table.categories != NO_ID]).tolist()
    if unknown := [i for i in used if i not in set_of]:
        raise InputError(
            f"not in categories: {count_of(unknown, 'category id')}",
            path=path,
            where="annotations.cat_id",
        )
    if misplaced := [i for i in used if set_of[i] != mapping.annotation_set]:
        raise InputError(
            f"{count_of(misplaced, 'category id')} of annotation set {set_of[misplaced[0]]} in the "
            f"position of {mapping.annotation_set}",
            path=path,
            where="annotations.cat_id",
        )
    names = [""] * (max(set_of, default=0) + 1)
    for key, category in categories.items():
        if category.annotation_set == mapping.annotation_set:
            names[int(key)] = known.canonical(category.name, mapping.annotation_set)
    return names


def _warn_of_differing_ids(
    images: list[ImageEntry],
    table: AnnotationTable,
    rows: NDArray[np.int64],
    path: Path,
    counts: Tally,
) -> None:
    """Warn if the ``ann_ids`` of an image differ from the annotations with its ``img_id``."""
    listed = [_listed_ids(image, f"images[{i}].ann_ids", path) for i, image in enumerate(images)]
    if not any(listed):
        return
    order = np.lexsort((table.ids, rows))
    by_image = np.split(table.ids[order], np.searchsorted(rows[order], np.arange(1, len(images))))
    differing = [
        image.filename
        for image, ids, image_ids in zip(images, listed, by_image, strict=True)
        if ids != sorted(map(str, image_ids.tolist()))
    ]
    if differing:
        counts.warnings.append(
            f"{path.name}: ann_ids and img_id disagree for {count_of(differing, 'image')}; "
            "img_id was used"
        )


def _listed_ids(image: ImageEntry, where: str, path: Path) -> list[str]:
    return sorted(map(str, decode(image.ann_ids, list[Id], path, where)))


def _count_dropped(
    table: AnnotationTable, table_labels: NDArray[np.int64], names: list[str], counts: Tally
) -> None:
    without_id = int((table.categories == NO_ID).sum())
    if without_id:
        counts.dropped[tally.NO_ID_IN_SET, "null"] += without_id
    unmapped = (table_labels < 0) & (table.categories != NO_ID)
    counts.drop(tally.NOT_IN_CLASS_MAP, table.categories[unmapped], names)


def _check_inside(
    table: AnnotationTable,
    mapped: NDArray[np.bool_],
    limits: NDArray[np.float64],
    path: Path,
) -> None:
    """Reject boxes beyond their page, whose width and height are in ``limits``, ``(N, 2)``."""
    excess = np.maximum(-table.boxes_xyxy[:, :2], table.boxes_xyxy[:, 2:] - limits).max(
        1, initial=0
    )
    if (outside := mapped & (excess > 0)).any():
        raise InputError(
            f"extends beyond the page by up to {excess[outside].max():.3g} px: "
            f"{count_of(table.ids[outside].tolist(), 'annotation')}; use --clip to clip boxes to "
            "the page",
            path=path,
            where="annotations.a_bbox",
        )
