"""Checks of the annotations of DeepScoresV2 JSON, a batch of pages at a time.

Shapes: N annotations of a batch.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from class_maps import CategoryMapping, InputError, catalogue, shown
from converters.boxes import corner_bounds
from converters.formats.annotation_spans import Batch
from converters.formats.deepscores_json import CategoryEntry, Id, ImageEntry
from converters.formats.deepscores_tables import NO_ID, AnnotationTable
from converters.json_text import decode
from converters.names import count_of

MAX_GAP_PX = 20.0
"""Largest plausible difference between a_bbox and the bounds of o_bbox; usual differences are about
1 px, and up to 14.5 px for rotated symbols."""
MAX_GAP_FRACTION = 0.001
"""Fraction of annotations beyond MAX_GAP_PX from which a file is rejected."""


def changed(path: Path) -> InputError:
    """Describe a file that no longer contains what was found in it before."""
    return InputError("changed while it was converted; convert it again", path=path)


class GeometryCheck:
    """Rejects boxes in another format, non-finite coordinates, and reversed corners.

    Args:
        path: Annotation file.
    """

    def __init__(self, path: Path) -> None:
        self._error = partial(InputError, path=path, where="annotations.a_bbox")
        self._n_far = self._n_explained = 0

    def check(self, table: AnnotationTable, n_annotations: int) -> None:
        """Check a batch.

        Args:
            table: Annotations of the batch.
            n_annotations: Number of annotations of all batches.

        Raises:
            InputError: A box is invalid, or too many boxes up to this batch differ from the
                oriented ones.
        """
        x0, y0, x1, y1 = table.boxes_xyxy.T
        far = table.gaps > MAX_GAP_PX
        as_xywh = np.stack((x0, y0, x0 + x1, y0 + y1), axis=1)[far]
        explained = (
            np.abs(as_xywh - corner_bounds(table.corners[far])).max(1, initial=0) <= MAX_GAP_PX
        )
        self._n_far += int(far.sum())
        self._n_explained += int(explained.sum())
        rejected = self._n_far > MAX_GAP_FRACTION * n_annotations
        gap = (
            f"{self._n_far} of {n_annotations} differ from the bounds of o_bbox by more than "
            f"{MAX_GAP_PX:g}"
        )
        if rejected and self._n_explained > 0.5 * self._n_far:
            raise self._error(
                f"{gap} px: a_bbox seems to be [x, y, width, height], but DeepScoresV2 has "
                "corners; correct the file first",
            )
        for invalid, problem in (
            (~np.isfinite(table.gaps), "non-finite"),
            ((x1 < x0) | (y1 < y0), "reversed corners"),
        ):
            if invalid.any():
                example = table.boxes_xyxy[invalid.argmax()].tolist()
                raise self._error(
                    f"{problem}: {count_of(table.ids[invalid].tolist(), 'annotation')}; "
                    f"the first is {example}, expected [x0, y0, x1, y1] with x0 <= x1 and y0 <= y1",
                )
        if rejected:
            raise self._error(
                f"{gap} px: one of them has another format or is for another image size; correct "
                "the file first",
            )


def image_rows(
    table: AnnotationTable, row_of_image: Mapping[int, int], batch: Batch, path: Path
) -> NDArray[np.int64]:
    """Return the index in the batch of each annotation's image, shape ``(N,)``.

    Args:
        table: Annotations of the batch.
        row_of_image: Index in ``images`` by image id.
        batch: Pages of the batch.
        path: Annotation file.

    Raises:
        InputError: An image is unknown.
    """
    ids, inverse = np.unique(table.images, return_inverse=True)
    rows = np.array([row_of_image.get(i, -1) for i in ids.tolist()], np.int64)[inverse]
    if (orphaned := rows < 0).any():
        raise InputError(
            f"unknown image: {count_of(table.ids[orphaned].tolist(), 'annotation')}; the first has "
            f"img_id {table.images[orphaned][0]}",
            path=path,
            where="annotations.img_id",
        )
    if ((rows < batch.first) | (rows >= batch.stop)).any():
        raise changed(path)
    return rows - batch.first


def category_names(
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


class ListedIds:
    """Compares the ``ann_ids`` of images with the annotations that have their ``img_id``.

    Args:
        path: Annotation file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._differing: list[str] = []
        self._any = False

    def compare(
        self,
        images: Sequence[ImageEntry],
        batch: Batch,
        table: AnnotationTable,
        rows: NDArray[np.int64],
    ) -> None:
        """Compare the images of a batch.

        Args:
            images: Images of the batch.
            batch: Pages of the batch.
            table: Annotations of the batch.
            rows: Index of each annotation's image in the batch, shape ``(N,)``.

        Raises:
            InputError: A list of ids is malformed.
        """
        order = np.lexsort((table.ids, rows))
        bounds = np.searchsorted(rows[order], np.arange(1, len(images)))
        for i, ids in enumerate(np.split(table.ids[order], bounds)[: len(images)]):
            where = f"images[{batch.first + i}].ann_ids"
            listed = decode(images[i].ann_ids, list[Id], self._path, where)
            self._any = self._any or bool(listed)
            if sorted(map(str, listed)) != sorted(map(str, ids.tolist())):
                self._differing.append(images[i].filename)

    def warnings(self) -> list[str]:
        """Return a warning about the images that differ, unless no image lists its ids."""
        if not (self._any and self._differing):
            return []
        return [
            f"{self._path.name}: ann_ids and img_id disagree for "
            f"{count_of(self._differing, 'image')}; img_id was used"
        ]


def check_inside(
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
