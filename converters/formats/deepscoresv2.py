"""Reader of DeepScoresV2 JSON, https://zenodo.org/records/4012193, for one annotation set.

Pages engraved by omr have the same format and the single annotation set ``engraved``.

A file contains ``annotation_sets``, ``categories`` (a dict by id), ``images`` (a list) and
``annotations`` (a dict by id). Two fields are easily misread. ``a_bbox`` contains two corners, not
width and height as in COCO: every ``a_bbox`` is compared with the bounds of its ``o_bbox``.
``cat_id`` contains one id per annotation set: only that of the chosen set is read, as reading all
of them would duplicate every box.

Shapes: N annotations of a batch of pages.
"""

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import CategoryMapping, InputError, catalogue, shown
from class_maps.catalogues import ENGRAVED
from converters import staff_space, tally
from converters.boxes import onto_border
from converters.files.hashes import sha256, state
from converters.formats.annotation_batches import batches_of
from converters.formats.annotation_spans import Batch, Span, remember_span
from converters.formats.deepscores_checks import (
    GeometryCheck,
    ListedIds,
    category_names,
    changed,
    check_inside,
    image_rows,
)
from converters.formats.deepscores_json import NUMBER, ImageEntry, open_json
from converters.formats.deepscores_tables import (
    MALFORMED,
    NO_ID,
    AnnotationTable,
    Chunk,
    chunks_of,
    decode_annotations,
    decoded_chunks,
)
from converters.formats.json_files import annotation_files, find_images, json_files, root_keys
from converters.names import NO_WORKS, checked_images
from converters.page import Page
from converters.tally import Tally

LARGE_BYTES = 256 << 20
"""Size of the annotations from which they are read in batches of pages. The first pass over them
takes an eighth of the time of a conversion of labels, and smaller files need little memory."""
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
        known: Span | None = None,
    ) -> None:
        self.path, self.split, self.state = path, split, state(path)
        self._arguments = path, split, tuple(warnings), images
        self._file, self._span, self._text = open_json(path, known)
        checked = _images(self._file.images, path, images)
        located = find_images(path, checked, images)
        self.image_folder, self.warnings = located.folder, (*warnings, *located.warnings)
        self._row_of_image = {image_id: row for row, image_id in enumerate(located.images)}
        self.images: dict[PurePosixPath, tuple[int, int]] = {
            image: (width, height) for image, width, height in located.images.values()
        }
        """Width and height of each image in pixels."""

    def __reduce__(self) -> tuple[Callable[..., "DeepScoresFile"], tuple[Hashable, ...]]:
        """Pickle how the file is opened and where its annotations are, and not its content."""
        places = self.path.absolute(), self.image_folder.absolute()
        return _reopened, (*self._arguments, self._span, places)

    def sha256(self) -> str:
        """Hash the file."""
        return sha256(self.path)

    @property
    def other_text(self) -> list[tuple[int, int]]:
        """Start and stop in bytes of the text before the annotations, and of that behind them."""
        return [(0, self._span.start), (self._span.stop, len(self._text))]

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
        is_large = self._span.stop - self._span.start >= LARGE_BYTES
        batches = self.batches(workers) if is_large else ()
        yield from self.read(batches, mapping, labels, counts, clip=clip, workers=workers)

    def read(
        self,
        batches: Sequence[Batch],
        mapping: CategoryMapping,
        labels: Mapping[str, int],
        counts: Tally,
        *,
        clip: bool,
        workers: int,
    ) -> Iterator[Page]:
        """Yield the pages of some batches, or, without batches, all pages; see :meth:`pages`."""
        if mapping.annotation_set not in self._file.annotation_sets:
            raise InputError(
                f"no annotation set {mapping.annotation_set!r} in "
                f"{shown(self._file.annotation_sets)}; "
                "choose one with --annotation-set",
                path=self.path,
                where="annotation_sets",
            )
        position = self._file.annotation_sets.index(str(mapping.annotation_set))
        geometry, listed = GeometryCheck(self.path), ListedIds(self.path)
        all_images = [*self.images.items()]
        for batch, n_annotations, table in self._tables(batches, position, workers):
            geometry.check(table, n_annotations)
            rows = image_rows(table, self._row_of_image, batch, self.path)
            names = category_names(self._file.categories, table, mapping, self.path)
            table_labels = _labels(table, names, mapping, labels)
            counts.read += len(table.ids)
            _count_dropped(table, table_labels, names, counts)
            entries = self._file.images[batch.first : batch.stop]
            listed.compare(entries, batch, table, rows)
            images = all_images[batch.first : batch.stop]
            limits = np.array([size for _, size in images], np.float64).reshape(-1, 2)[rows]
            on_page = replace(table, boxes_xyxy=onto_border(table.boxes_xyxy, limits))
            if not clip:
                check_inside(on_page, table_labels >= 0, limits, self.path)
            staves = _StaffSpaces(entries, on_page, names)
            yield from _grouped(images, entries, on_page, table_labels, rows, staves)
        counts.warnings += listed.warnings()

    def _tables(
        self, batches: Sequence[Batch], position: int, workers: int
    ) -> Iterator[tuple[Batch, int, AnnotationTable]]:
        """Yield batches of pages, the number of annotations of all of them, and those of each.

        Raises:
            InputError: An annotation is malformed.
        """
        if not batches:
            table, n_pages = self._whole_table(position, workers), len(self.images)
            n_annotations = len(table.ids)
            batch = Batch(first=0, stop=n_pages, n_annotations=n_annotations, ranges=())
            yield batch, n_annotations, table
            return
        n_annotations = sum(batch.n_annotations for batch in batches)
        chunks = [Chunk(self.path, self.path.absolute(), batch.ranges) for batch in batches]
        try:
            tables = decoded_chunks(chunks, position, workers)
            for batch, table in zip(batches, tables, strict=True):
                if len(table.ids) != batch.n_annotations:
                    raise changed(self.path)
                yield batch, n_annotations, table
        except MALFORMED:
            self._whole_table(position, workers)  # names the malformed annotation
            raise changed(self.path) from None

    def batches(self, workers: int) -> tuple[Batch, ...]:
        """Divide the pages into batches; none if the file has to be read as a whole.

        Args:
            workers: Number of processes that read the file, unless it has been divided before.
        """
        if self._span.batches is None:
            chunks = chunks_of(self._text, self._span, self.path)
            batches = batches_of(chunks, self._row_of_image, workers)
            self._span = msgspec.structs.replace(self._span, batches=batches)
            remember_span(self.path, self._span)
        return self._span.batches or ()

    def _whole_table(self, position: int, workers: int) -> AnnotationTable:
        text, span = self._text, self._span
        return decode_annotations(text, span, self.path, position=position, workers=workers)


@lru_cache(maxsize=1)  # a worker makes many parts of a large file
def _reopened(
    path: Path,
    split: str,
    warnings: tuple[str, ...],
    images: Path | None,
    known: Span,
    _places: tuple[Path, Path],
) -> DeepScoresFile:
    """Open a file again in a worker, unless it was the last one, in the same place and state."""
    return DeepScoresFile(path, split, warnings, images=images, known=known)


def _labels(
    table: AnnotationTable,
    names: Sequence[str],
    mapping: CategoryMapping,
    labels: Mapping[str, int],
) -> NDArray[np.int64]:
    """Return the label of each annotation, shape ``(N,)``; -1 without a class."""
    label_of = np.array([labels.get(mapping.class_of.get(name, ""), -1) for name in names])
    has_id = table.categories != NO_ID
    table_labels = np.full(len(has_id), -1)
    table_labels[has_id] = label_of[table.categories[has_id]]
    return table_labels


def _grouped(
    images: Sequence[tuple[PurePosixPath, tuple[int, int]]],
    entries: Sequence[ImageEntry],
    table: AnnotationTable,
    table_labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    staff_spaces: "_StaffSpaces",
) -> Iterator[Page]:
    """Yield a page per image, with the annotations that have a label."""
    order = np.argsort(rows, kind="stable")  # (N,) annotations by image
    bounds = np.searchsorted(rows[order], np.arange(len(images) + 1))
    for i, (image, (width, height)) in enumerate(images):
        image_rows = order[bounds[i] : bounds[i + 1]]
        kept = image_rows[table_labels[image_rows] >= 0]
        degradation = entries[i].degradation
        yield Page(
            image=image,
            width=width,
            height=height,
            boxes_xyxy=table.boxes_xyxy[kept],
            labels=table_labels[kept],
            corners=table.corners[kept],
            symbol_ids=table.ids[kept],
            staff_space=staff_spaces.of(i, image_rows),
            capture=degradation.capture if degradation else "",
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


def _images(
    entries: list[ImageEntry], path: Path, images: Path | None
) -> dict[int, tuple[PurePosixPath, int, int]]:
    for i, entry in enumerate(entries):
        if not re.fullmatch(NUMBER, str(entry.id)):
            where = f"images[{i}].id"
            raise InputError(f"expected a number, got {shown(entry.id)}", path=path, where=where)
    rows = ((int(e.id), e.filename, e.width, e.height) for e in entries)
    return checked_images(rows, path, "filename", images)


def _count_dropped(
    table: AnnotationTable, table_labels: NDArray[np.int64], names: list[str], counts: Tally
) -> None:
    without_id = int((table.categories == NO_ID).sum())
    if without_id:
        counts.dropped[tally.NO_ID_IN_SET, "null"] += without_id
    unmapped = (table_labels < 0) & (table.categories != NO_ID)
    counts.drop(tally.NOT_IN_CLASS_MAP, table.categories[unmapped], names)
