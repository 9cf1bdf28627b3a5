"""Reader and writer of COCO detection JSON, https://cocodataset.org/#format-data.

Boxes are ``[x, y, width, height]`` in pixels. Written ids start at 1, because pycocotools uses the
id 0 for "no match". An oriented box is written as the polygon of its four corners.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np

from class_maps import InputError, Source
from converters import tally
from converters.boxes import xywh_to_xyxy, xyxy_to_xywh
from converters.files.hashes import sha256
from converters.formats.json_files import image_folder, json_files, root_keys, split_of
from converters.names import checked_images, count_of
from converters.page import Page
from converters.tally import Tally

FOLDER = "annotations"


class CocoWriter:
    """Writes ``annotations/instances_<split>.json``, one annotation at a time."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder / FOLDER, names
        self._files: dict[str, _SplitFile] = {}

    def add(self, split: str, page: Page) -> None:
        """Write the annotations of one page."""
        if split not in self._files:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"instances_{split}.json"
            self._files[split] = _SplitFile(path)
        self._files[split].add(page)

    def close(self) -> None:
        """Write the images and categories after the annotations."""
        for file in self._files.values():
            file.close(self._names)


class _SplitFile:
    """The file of one split. It is opened anew for each page, so that an error leaves none open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._images: list[dict[str, Any]] = []
        self._n = 0
        self._write('{"annotations": [')

    def add(self, page: Page) -> None:
        name, size = page.image.as_posix(), {"width": page.width, "height": page.height}
        self._images.append({"id": len(self._images) + 1, "file_name": name, **size})
        rows = list(annotations(page, image_id=len(self._images), first_id=self._n + 1))
        commas = [",\n" if self._n + i else "\n" for i in range(len(rows))]
        self._write("".join(c + json.dumps(row) for c, row in zip(commas, rows, strict=True)))
        self._n += len(rows)

    def close(self, names: Sequence[str]) -> None:
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
        rest = {"images": self._images, "categories": categories}
        self._write("],\n" + json.dumps(rest, indent=1)[2:] + "\n")

    def _write(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as out:
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
        yield row


class _Category(msgspec.Struct):
    id: int
    name: str


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    width: int
    height: int


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def recognises(path: Path) -> bool:
    """Check whether a file, or the first JSON file in a folder, is COCO JSON.

    Raises:
        InputError: The file cannot be read or is not a JSON object.
    """
    files = json_files(path)
    return bool(files) and {"images", "annotations", "categories"} <= root_keys(files[0]).names


def open_files(path: Path) -> list["CocoFile"]:
    """Open a file, or all JSON files in a folder.

    Raises:
        InputError: A file is not COCO JSON or cannot be read.
    """
    return [CocoFile(file) for file in json_files(path)]


class CocoFile:
    """One decoded annotation file; implements :class:`~converters.formats.AnnotationSource`.

    Raises:
        InputError: The file is not COCO JSON or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.split = split_of(path)
        self._file = _decode(path)
        self._images = checked_images(
            ((i.id, i.file_name, i.width, i.height) for i in self._file.images), path, "file_name"
        )
        self.images: dict[PurePosixPath, tuple[int, int]] = {
            image: (width, height) for image, width, height in self._images.values()
        }
        """Width and height of each image in pixels."""
        self.image_folder = image_folder(path, self.images)

    def sha256(self) -> str:
        """Hash the file."""
        return sha256(self.path)

    def categories(self, _source: Source) -> tuple[str, ...]:
        """Return the names of the categories in the order of their ids."""
        return tuple(c.name for c in sorted(self._file.categories, key=lambda c: c.id))

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
            source: Entry of the class map for this data set: the class of each category.
            labels: Label of each class.
            counts: Receives the numbers of annotations read, and of those dropped: categories
                without a class, and crowd regions, whose boxes contain many objects.
            clip: Accept boxes that extend beyond the image; cleaning clips them later.
            workers: Not used; the file has been decoded already.

        Raises:
            InputError: An annotation has an unknown image or category, or an invalid box.
        """
        names = {category.id: category.name for category in self._file.categories}
        _check(self._file, names, self.path, clip=clip)
        counts.read += len(self._file.annotations)
        rows: defaultdict[int, list[_Annotation]] = defaultdict(list)
        n_annotations = Counter(row.image_id for row in self._file.annotations)
        for row in self._file.annotations:
            name = names[row.category_id]
            if row.iscrowd:
                counts.dropped[tally.CROWD, name] += 1
            elif name not in source.class_of:
                counts.dropped[tally.NOT_IN_CLASS_MAP, name] += 1
            else:
                rows[row.image_id].append(row)
        for image_id, (image, width, height) in self._images.items():
            image_rows = rows[image_id]
            classes = [source.class_of[names[row.category_id]] for row in image_rows]
            boxes_xywh = np.array([row.bbox for row in image_rows], np.float64).reshape(-1, 4)
            yield Page(
                image=image,
                width=width,
                height=height,
                boxes_xyxy=xywh_to_xyxy(boxes_xywh),
                labels=np.array([labels[name] for name in classes], np.int64),
                symbol_ids=np.array([row.id for row in image_rows], np.int64),
                n_annotations=n_annotations[image_id],
            )


def _decode(path: Path) -> _File:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    except msgspec.DecodeError as error:
        raise InputError(f"not COCO JSON: {error}", path=path) from error


def _check(file: _File, names: Mapping[int, str], path: Path, *, clip: bool) -> None:
    if len(names) < len(file.categories):
        raise InputError("duplicate id", path=path, where="categories")
    sizes = {image.id: (image.width, image.height) for image in file.images}
    problems: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row in file.annotations:
        x, y, w, h = row.bbox
        width, height = sizes.get(row.image_id, (0, 0))
        if row.category_id not in names:
            problems["category_id", "unknown category: {}"].append(row.id)
        elif row.image_id not in sizes:
            problems["image_id", "unknown image: {}"].append(row.id)
        elif w < 0 or h < 0:
            problems["bbox", "negative width or height: {}"].append(row.id)
        elif not clip and (x < 0 or y < 0 or x + w > width or y + h > height):
            outside = "extends beyond the image: {}; use --clip to clip boxes to the image"
            problems["bbox", outside].append(row.id)
    if problems:
        (field, reason), ids = next(iter(problems.items()))
        where = f"annotations.{field}"
        raise InputError(reason.format(count_of(ids, "annotation")), path=path, where=where)
