"""Reader of Pascal VOC XML, with one file per image, http://host.robots.ox.ac.uk/pascal/VOC/.

The data sets of Pascal VOC number pixels from 1 and include the last one, so that ``xmin`` 1 and
``xmax`` 3 are the first three pixels. Tools such as LabelImg, CVAT and Roboflow write the edges of
boxes, from 0, into the same elements. DeepScores v1 writes fractions of the image size. CVAT writes
a rotated rectangle as the box before the rotation, with the angle in an attribute.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from class_maps import CategoryMapping, InputError, shown
from converters import tally
from converters.boxes import Boxes, corner_bounds, rotated_corners
from converters.files.hashes import sha256, state
from converters.formats.json_files import on_disk
from converters.formats.named_images import (
    find_named,
    image_folders,
    images_without,
    missing_image,
    skipped,
    split_in,
)
from converters.formats.symbol_lists import boxes_inside, mapped_labels
from converters.formats.voc_splits import ListedSplits
from converters.formats.xml_files import Element, elements, root_of, xml_files
from converters.image_headers import IMAGE_SUFFIXES
from converters.image_headers import size as image_size
from converters.names import NO_WORKS, check_image_size, checked_name
from converters.page import Page
from converters.tally import Tally

ROOT = "annotation"
_OBJECT = "object"
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_BOX = tuple(f"bndbox/{side}" for side in _SIDES)
_FLAGS = ("difficult", "truncated")
_ATTRIBUTE = "attributes/attribute"
_ROTATION = f"{_ATTRIBUTE}/rotation"
_FIELDS = {"name", *_FLAGS, *_BOX}
_SIZE = ("size/width", "size/height")
_SOURCE = ("source/database", "source/annotation")
_HEADER = {"filename", "folder", *_SIZE, *_SOURCE}
_PASCAL = "VOC"
"""Part of the names of the databases whose pixels are numbered from 1: The VOC2007 Database."""


def recognises(path: Path) -> bool:
    """Check whether an XML file, or any XML file in a folder, is of Pascal VOC."""
    return any(map(_is_voc, xml_files(path)))


def _is_voc(file: Path) -> bool:
    root = root_of(file)
    return root is not None and root.tag == ROOT


def open_files(path: Path, images: Path | None = None) -> list["VocFile"]:
    """Open a file, or all files in a folder and its subfolders.

    Args:
        path: File or folder.
        images: Folder of the images; None to search next to the files and above them.

    Raises:
        InputError: A file is damaged, or an image is missing.
    """
    root = path if path.is_dir() else path.parent
    files = xml_files(path)
    listed = ListedSplits([file for file in files if _is_voc(file)], root)
    opened = [VocFile(file, root, images) for file in files if _is_voc(file)]
    for source in opened:
        source.split = listed.of_file.get(source.path, source.split)
    if opened and path.is_dir():
        read = [file.image_folder / image for file in opened for image in file.images]
        others = [file for file in files if not _is_voc(file)]
        opened[0].warnings = (
            *skipped(others, root, "XML file", "of another format"),
            *images_without("VOC file", read, (file.image_folder for file in opened)),
            *listed.remarks(),
            *_marked(opened),
        )
    return opened


def _marked(files: Sequence["VocFile"]) -> Iterator[str]:
    """Yield a remark on the symbols that are marked difficult or truncated."""
    totals = {flag: sum(file.marked[flag] for file in files) for flag in _FLAGS}
    if numbers := [f"{n} {flag}" for flag, n in totals.items() if n]:
        yield f"symbols marked in the source, and read like all others: {', '.join(numbers)}"


class VocFile:
    """One decoded file; implements :class:`~converters.formats.AnnotationSource`.

    Args:
        path: The file.
        root: Folder of the data set. A subfolder named after a split contains its pages, unless a
            list says otherwise, see :func:`open_files`.
        images: Folder of the images, see :func:`open_files`.

    Raises:
        InputError: The file is malformed or cannot be read, or its image is missing.
    """

    works = NO_WORKS

    def __init__(self, path: Path, root: Path, images: Path | None = None) -> None:
        self.path, self.state, self.split = path, state(path), split_in(path, root)
        self.warnings: Sequence[str] = ()
        self.marked = dict.fromkeys(_FLAGS, 0)
        """Number of symbols with each mark."""
        self._names: list[str] = []
        self._places: list[str] = []
        self._degrees: list[float] = []
        rows: list[tuple[float, ...] | None] = []
        header: Mapping[str, str] = {}
        for element in elements(path, {_OBJECT}, _FIELDS, header=_HEADER, named=_ATTRIBUTE):
            if element.tag == _OBJECT:
                rows.append(self._row(element))
            elif element.fields is not None:
                header = element.fields
            elif element.tag != ROOT:
                raise InputError(f"the root is {element.tag}; expected {ROOT}", path=path)
        self.image_folder, image = _located(path, root, header, images)
        self._has_box = np.array([row is not None for row in rows], bool)
        boxes_xyxy = np.array([row for row in rows if row is not None], np.float64).reshape(-1, 4)
        is_relative = _is_relative(boxes_xyxy)
        size = None if is_relative else _size(header, path)
        width, height = size or image_size(self.image_folder / image)
        check_image_size(width, height, path, "size")
        self.images = {image: (width, height)}
        """Width and height of the image in pixels."""
        if is_relative:
            boxes_xyxy *= [width, height, width, height]
        elif any(_PASCAL in header.get(field, "") for field in _SOURCE):
            boxes_xyxy[:, :2] -= 1
        self._boxes_xyxy, self._corners = boxes_xyxy, None
        degrees = np.array(self._degrees, np.float64)[self._has_box]
        self._is_rotated = degrees != 0
        if self._is_rotated.any():
            self._corners = rotated_corners(boxes_xyxy, degrees)
            around = corner_bounds(self._corners)
            self._boxes_xyxy = np.where(self._is_rotated[:, None], around, boxes_xyxy)

    def _row(self, element: Element) -> tuple[float, ...] | None:
        """Add the name and the marks of an object, and return its box; None without one."""
        fields = element.fields or {}
        name = fields.get("name", "")
        where = f"line {element.line}" + (f", {shown(name)}" if name else "")
        if not name:
            raise InputError("missing name", path=self.path, where=where)
        self._names.append(name)
        self._places.append(where)
        for flag in _FLAGS:
            self.marked[flag] += fields.get(flag, "0") not in {"0", "", "false", "False"}
        rotation = fields.get(_ROTATION) or "0"
        self._degrees.append(_number(rotation, _ROTATION, self.path, where) % 360)
        missing = [field for field in _BOX if not fields.get(field)]
        if len(missing) == len(_BOX):  # an object with a polygon or a rotated box only
            return None
        if missing:
            raise InputError(f"missing {missing[0]}", path=self.path, where=where)
        box_xyxy = tuple(_number(fields[field], field, self.path, where) for field in _BOX)
        for low, high in (0, 2), (1, 3):
            if box_xyxy[low] > box_xyxy[high]:
                reason = (
                    f"{_SIDES[low]} {box_xyxy[low]:g} is greater than {_SIDES[high]} "
                    f"{box_xyxy[high]:g}; swap or correct them"
                )
                raise InputError(reason, path=self.path, where=where)
        return box_xyxy

    def sha256(self) -> str:
        """Hash the file."""
        return sha256(self.path)

    def categories(self, _mapping: CategoryMapping) -> tuple[str, ...]:
        """Return the names of the objects, in the order of the file."""
        return tuple(dict.fromkeys(self._names))

    def pages(
        self,
        mapping: CategoryMapping,
        labels: Mapping[str, int],
        counts: Tally,
        *,
        clip: bool = False,
        workers: int = 1,
    ) -> Iterator[Page]:
        """Yield the page.

        Args:
            mapping: Class of each category.
            labels: Label of each class.
            counts: Receives the numbers of objects read, and of those dropped because their
                category has no class, or because they have no box.
            clip: Accept boxes that extend beyond the image; cleaning clips them later.
            workers: Not used; the file has been decoded already.

        Raises:
            InputError: An object extends beyond the image.
        """
        [(image, (width, height))] = self.images.items()
        places = [self._places[i] for i in np.flatnonzero(self._has_box)]
        boxes_xyxy = boxes_inside(self._boxes_xyxy, (width, height), places, self.path, clip=clip)
        page_labels = mapped_labels(self._names, mapping, labels, counts)
        is_mapped = page_labels >= 0
        without = page_labels[is_mapped & ~self._has_box]
        counts.drop(tally.NO_BOX, without, list(labels))
        is_kept = is_mapped[self._has_box]
        box_labels = page_labels[self._has_box]
        rotated = tally.count(box_labels[is_kept & self._is_rotated], list(labels))
        counts.changed.update({(tally.ROTATED, name): n for name, n in rotated.items()})
        yield Page(
            image=image,
            width=width,
            height=height,
            boxes_xyxy=boxes_xyxy[is_kept],
            labels=box_labels[is_kept],
            corners=None if self._corners is None else self._corners[is_kept],
            n_annotations=len(page_labels),
        )


def _is_relative(boxes_xyxy: Boxes) -> bool:
    """Check whether coordinates are fractions of the image size, some slightly more than 1."""
    is_small = len(boxes_xyxy) > 0 and boxes_xyxy.max() < 2
    return bool(is_small and (boxes_xyxy % 1).any())


def _located(
    path: Path, root: Path, header: Mapping[str, str], images: Path | None
) -> tuple[Path, PurePosixPath]:
    """Find the image of a file by its ``filename``, or else by the name of the file itself.

    Returns:
        Image folder, and the name of the image in it.
    """
    folders = image_folders(path, root, images)
    name = header.get("filename", "")
    if name:
        image = checked_name(name, path, "filename", images)
        if image.suffix.lower() not in IMAGE_SUFFIXES:
            return find_named(image, folders, path, "filename")
        if folder := header.get("folder", "").replace("\\", "/").rpartition("/")[2]:
            folders = [*folders, *(folder_above / folder for folder_above in folders)]
        for candidate in folders:
            if actual := on_disk(candidate, image):
                return candidate, actual
    try:
        return find_named(PurePosixPath(path.stem), folders, path)
    except InputError:
        wanted = name or f"{path.stem}.png or with another image suffix"
        raise missing_image(wanted, folders, path, "filename" if name else "") from None


def _size(header: Mapping[str, str], path: Path) -> tuple[int, int] | None:
    """Return the width and height in a file; None if it has none, or 0 as written by some tools."""
    sides = [_number(header.get(field) or "0", field, path, "") for field in _SIZE]
    if not all(side.is_integer() for side in sides) or not all(sides):
        return None
    return int(sides[0]), int(sides[1])


def _number(text: str, field: str, path: Path, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{field}: expected a number, got {shown(text)}", path=path, where=where)
    return value
