"""Reader and writer of COCO detection JSON, https://cocodataset.org/#format-data.

Boxes are ``[x, y, width, height]`` in pixels. Written ids start at 1, because pycocotools uses the
id 0 for "no match". An oriented box is written as the polygon of its four corners.

Predictions have a ``score``, and the fields without which CVAT refuses a file: ``segmentation``,
``info`` and ``licenses``, all of them empty.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import CategoryMapping, InputError
from converters import tally
from converters.boxes import xyxy_to_xywh
from converters.files.hashes import sha256, state
from converters.formats.coco_annotations import CocoTable, Id, key_of, read_table
from converters.formats.json_files import (
    LocatedImages,
    annotation_files,
    find_images,
    json_files,
    referenced_images,
    root_keys,
)
from converters.image_headers import size
from converters.json_text import check_unique_keys, decode, offset_in
from converters.names import NO_WORKS, checked_images
from converters.page import SCORE_DIGITS, Page
from converters.tally import Tally

ANNOTATION_FOLDER = "annotations"


class CocoWriter:
    """Writes ``annotations/instances_<split>.json``, one annotation at a time.

    Args:
        folder: Output folder.
        names: Names of the classes.
        images: Image file of each page that is not in the output folder.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        images: Mapping[PurePosixPath, Path] | None = None,
    ) -> None:
        self._folder, self._names = folder / ANNOTATION_FOLDER, names
        self._images = images or {}
        self._files: dict[str, CocoFileWriter] = {}

    def add(self, split: str, page: Page) -> None:
        """Write the annotations of one page."""
        if split not in self._files:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"instances_{split}.json"
            self._files[split] = CocoFileWriter(path, self._names, self._images)
        self._files[split].add(page)

    def close(self) -> None:
        """Write the images and categories after the annotations."""
        for file in self._files.values():
            file.close()


class CocoFileWriter:
    """Writes one file, which is reopened for each page, so that an error leaves no file open.

    The list of images is kept in a temporary file until the end.

    Args:
        path: File to write.
        names: Names of the classes.
        files: Image file of each page that is not in the output folder.
    """

    def __init__(
        self, path: Path, names: Sequence[str], files: Mapping[PurePosixPath, Path] | None = None
    ) -> None:
        self._path, self._names, self._image_files = path, names, files or {}
        self._images_path = path.with_suffix(".images")
        self._images_path.write_bytes(b"")
        self._n_images = self._n = 0
        self._header: dict[str, Any] = {}
        _append(self._path, '{"annotations": [')

    def add(self, page: Page) -> None:
        """Write the annotations of one page."""
        self._n_images += 1
        name = self._image_files.get(page.image, page.image).as_posix()
        size = {"width": page.width, "height": page.height}
        image = json.dumps({"id": self._n_images, "file_name": name, **size})
        _append(self._images_path, f"{',' if self._n_images > 1 else ''}\n{image}")
        if page.scores is not None:
            self._header = {"info": {}, "licenses": []}
        rows = list(annotations(page, image_id=self._n_images, first_id=self._n + 1))
        commas = [",\n" if self._n + i else "\n" for i in range(len(rows))]
        text = "".join(c + json.dumps(row) for c, row in zip(commas, rows, strict=True))
        _append(self._path, text)
        self._n += len(rows)

    def close(self) -> None:
        """Write the images and categories after the annotations."""
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(self._names)]
        rest = json.dumps({**self._header, "categories": categories}, indent=1)
        with self._path.open("ab") as out, self._images_path.open("rb") as images:
            out.write(b'],\n"images": [')
            shutil.copyfileobj(images, out)
            out.write(f"],\n{rest[2:]}\n".encode())
        self._images_path.unlink()


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as out:
        out.write(text)


def annotations(page: Page, *, image_id: int, first_id: int) -> Iterator[dict[str, Any]]:
    """Yield the annotations of a page as COCO objects.

    Args:
        page: Page whose symbols are written; category ids are labels + 1.
        image_id: Id of the page's image.
        first_id: Id of the first annotation; the following ones are consecutive.
    """
    boxes_xywh = xyxy_to_xywh(page.boxes_xyxy).tolist()
    corners = None if page.corners is None else page.corners.reshape(-1, 8).tolist()
    scores = None if page.scores is None else page.scores.round(SCORE_DIGITS).tolist()
    for i, (bbox, label) in enumerate(zip(boxes_xywh, page.labels.tolist(), strict=True)):
        row = {
            "id": first_id + i,
            "image_id": image_id,
            "category_id": label + 1,
            "bbox": bbox,
            "area": bbox[2] * bbox[3],
            "iscrowd": 0,
        }
        if corners is not None:
            row["segmentation"] = [corners[i]]
        if page.symbol_ids is not None:
            row["symbol_id"] = int(page.symbol_ids[i])
        if page.cut is not None:
            row["cut"] = bool(page.cut[i])
        if scores is not None:
            row = {"segmentation": []} | row | {"score": scores[i]}
        yield row


class _Category(msgspec.Struct):
    id: Id
    name: str


class _Image(msgspec.Struct, gc=False):
    id: Id
    file_name: str
    width: int | float | None = None
    """Width in pixels; Label Studio writes null for images without annotations."""
    height: int | float | None = None


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: msgspec.Raw
    categories: list[_Category]


def recognises(path: Path) -> bool:
    """Check whether a file, or the first JSON file in a folder, is COCO JSON.

    Raises:
        InputError: The file cannot be read or is not a JSON object.
    """
    files = json_files(path)
    return bool(files) and {"images", "annotations", "categories"} <= root_keys(files[0]).names


def open_files(path: Path, images: Path | None = None) -> list["CocoFile"]:
    """Open a file, or all annotation files in a folder.

    Args:
        path: File or folder, see :func:`~converters.formats.json_files.json_files`.
        images: Folder of the images; None to find it, see
            :func:`~converters.formats.json_files.find_images`.

    Raises:
        InputError: A file is not COCO JSON or cannot be read.
    """
    return [CocoFile(*file, images=images) for file in annotation_files(path)]


class CocoFile:
    """One decoded annotation file; implements :class:`~converters.formats.AnnotationSource`.

    Raises:
        InputError: The file is not COCO JSON or cannot be read.
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
        _, file = _decode(path)
        located = _located(file, path, images)
        self.image_folder, self.warnings = located.folder, (*warnings, *located.warnings)
        unsized = {key_of(image.id) for image in file.images if not _is_sized(image)}
        self.images: dict[PurePosixPath, tuple[int, int]] = {
            image: size(located.folder / image) if key in unsized else (width, height)
            for key, (image, width, height) in located.images.items()
        }
        """Width and height of each image in pixels."""
        self._names = _category_names(file, path)
        self._row_of_image = {key: i for i, key in enumerate(located.images)}

    def __reduce__(self) -> tuple[Callable[[], "CocoFile"], tuple[()]]:
        """Pickle how the file is opened, and not its content."""
        return self._reopened, ()

    def sha256(self) -> str:
        """Hash the file."""
        return sha256(self.path)

    def categories(self, _mapping: CategoryMapping) -> tuple[str, ...]:
        """Return the names of the categories in the order of their ids."""
        return tuple(self._names.values())

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
            mapping: Entry of the class map for this data set: the class of each category.
            labels: Label of each class.
            counts: Receives the numbers of annotations read, and of annotations dropped because
                their category has no class, they are crowd regions (one box for many objects), or
                they have no box.
            clip: Accept boxes that extend beyond the image; cleaning clips them later.
            workers: Not used.

        Raises:
            InputError: An annotation has an unknown image or category, or an invalid box.
        """
        sizes = np.array(list(self.images.values()), np.float64).reshape(-1, 2)
        table = self._table().inside(sizes, self.path, counts, clip=clip)
        names = list(self._names.values())
        label_of = np.array([labels.get(mapping.class_of.get(name, ""), -1) for name in names], int)
        table_labels = label_of[table.categories]
        is_kept = _count_dropped(table, table_labels, names, counts)
        for change, is_changed in (
            (tally.ROTATED, table.is_rotated),
            (tally.POLYGON, table.is_polygon),
        ):
            changed = tally.count(table_labels[is_changed & is_kept], list(labels))
            counts.changed.update({(change, name): n for name, n in changed.items()})
        order = np.argsort(table.images, kind="stable")
        bounds = np.searchsorted(table.images[order], np.arange(len(self.images) + 1))
        for i, (image, (width, height)) in enumerate(self.images.items()):
            of_image = order[bounds[i] : bounds[i + 1]]
            rows = of_image[is_kept[of_image]]
            yield Page(
                image=image,
                width=width,
                height=height,
                boxes_xyxy=table.boxes_xyxy[rows],
                labels=table_labels[rows],
                corners=None if table.corners is None else table.corners[rows],
                symbol_ids=None if table.ids is None else table.ids[rows],
                n_annotations=len(of_image),
            )

    def _table(self) -> CocoTable:
        """Decode the annotations, which are not kept: a data set may have many files."""
        data, file = _decode(self.path)
        row_of_name = {key: i for i, key in enumerate(self._names)}
        return read_table(data, file.annotations, row_of_name, self._row_of_image, self.path)


def _decode(path: Path) -> tuple[bytes, _File]:
    """Return the bytes of a file, and its decoded content except for the annotations."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    file = decode(data, _File, path)
    start = offset_in(data, file.annotations)
    end = start + len(memoryview(file.annotations))
    check_unique_keys(data[:start] + b"[]" + data[end:], path)
    return data, file


def _located(file: _File, path: Path, images: Path | None) -> LocatedImages[Id]:
    """Find the images of a file; those without a size have one pixel."""
    referenced = None
    if images is None:
        referenced = referenced_images([image.file_name for image in file.images], path)
    if referenced:
        folder, names = referenced
        entries = _entries(file, names, path)
        checked = checked_images(entries, path, "file_name", are_paths=True)
        return LocatedImages(folder, checked, [])
    names = [image.file_name for image in file.images]
    checked = checked_images(_entries(file, names, path), path, "file_name", images)
    return find_images(path, checked, images)


def _is_sized(image: _Image) -> bool:
    return image.width is not None and image.height is not None


def _entries(file: _File, names: Sequence[str], path: Path) -> Iterator[tuple[Id, str, int, int]]:
    """Yield the id, name, width and height of each image."""
    for i, (image, name) in enumerate(zip(file.images, names, strict=True)):
        for side in ("width", "height"):
            value = getattr(image, side)
            if isinstance(value, float) and not value.is_integer():
                where = f"images[{i}].{side}"
                raise InputError(f"expected whole pixels, got {value}", path=path, where=where)
        is_sized = _is_sized(image)
        width, height = (image.width or 0, image.height or 0) if is_sized else (1, 1)
        yield key_of(image.id), name, int(width), int(height)


def _category_names(file: _File, path: Path) -> dict[Id, str]:
    """Return the name of each category by its id, in the order of the ids."""
    names = {key_of(category.id): category.name for category in file.categories}
    if len(names) < len(file.categories):
        raise InputError("duplicate id", path=path, where="categories")
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _count_dropped(
    table: CocoTable, table_labels: NDArray[np.int64], names: Sequence[str], counts: Tally
) -> NDArray[np.bool_]:
    """Count the annotations read and dropped; return a mask of the kept ones, shape ``(N,)``."""
    is_mapped, has_box = table_labels >= 0, table.has_box
    counts.read += len(table_labels)
    for reason, rows in (
        (tally.CROWD, table.is_crowd),
        (tally.NOT_IN_CLASS_MAP, ~table.is_crowd & ~is_mapped),
        (tally.NO_BOX, ~table.is_crowd & is_mapped & ~has_box),
    ):
        counts.drop(reason, table.categories[rows], names)
    return np.asarray(~table.is_crowd & is_mapped & has_box)
