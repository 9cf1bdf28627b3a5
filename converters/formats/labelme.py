"""Reader and writer of the JSON files of labelme, https://github.com/wkentaro/labelme.

Each image has a file with its ``shapes``, and ``imagePath``, which is relative to the file. A
rectangle has two opposite corners in pixels. A score is written as labelme's own detectors do: into
the description of the shape, as JSON.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np

from class_maps import CategoryMapping, InputError
from converters import tally
from converters.files.atomic_folder import MANIFEST
from converters.files.hashes import state
from converters.formats.image_folders import files_in
from converters.formats.json_files import on_disk, root_keys, split_of_folder
from converters.formats.named_images import skipped
from converters.formats.page_files import write_page
from converters.formats.symbol_lists import boxes_inside, mapped_labels
from converters.image_headers import IMAGE_SUFFIXES
from converters.image_headers import size as image_size
from converters.json_text import check_unique_keys, decode
from converters.names import (
    IMAGE_FOLDER,
    NO_WORKS,
    check_image_size,
    checked_name,
)
from converters.page import SCORE_DIGITS, Page
from converters.tally import Tally

LABELME_FOLDER = "labelme"
RECTANGLE = "rectangle"
VERSION = "5.5.0"
"""Version of labelme whose format is written; later versions read it."""


class LabelmeWriter:
    """Writes ``labelme/<split>/<image>.json``, one file per page.

    Args:
        folder: Output folder.
        names: Names of the classes.
        images: Image file of each page that is not in ``images/<split>`` of the output folder.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        images: Mapping[PurePosixPath, Path] | None = None,
    ) -> None:
        self._folder, self._names, self._images = folder, names, images or {}

    def add(self, split: str, page: Page) -> None:
        """Write the file of one page."""
        folder = self._folder / LABELME_FOLDER / split
        image = self._images.get(page.image, self._folder / IMAGE_FOLDER / split / page.image)
        image_path = Path(os.path.relpath(image, (folder / page.image).parent)).as_posix()
        write_page(page, folder, ".json", _text(page, self._names, image_path))

    def close(self) -> None:
        """Do nothing, because the file of every page is complete."""


def _text(page: Page, names: Sequence[str], image_path: str) -> Iterator[str]:
    """Yield the JSON of a page, one shape at a time."""
    yield f'{{"version": "{VERSION}", "flags": {{}}, "shapes": ['
    corners = page.boxes_xyxy.reshape(-1, 2, 2).tolist()
    scores = [] if page.scores is None else page.scores.round(SCORE_DIGITS).tolist()
    for i, (label, points) in enumerate(zip(page.labels.tolist(), corners, strict=True)):
        shape = {
            "label": names[label],
            "points": points,
            "group_id": None,
            "description": json.dumps({"score": scores[i]}) if scores else "",
            "shape_type": RECTANGLE,
            "flags": {},
        }
        yield (",\n" if i else "\n") + json.dumps(shape)
    image = {"imagePath": image_path, "imageData": None}
    size = {"imageHeight": page.height, "imageWidth": page.width}
    yield "],\n" + json.dumps(image | size)[1:] + "\n"


class _Shape(msgspec.Struct, gc=False):
    label: str
    points: list[tuple[float, float]]
    shape_type: str | None = None
    group_id: int | str | None = None
    description: str | None = None


class _File(msgspec.Struct, rename="camel"):
    shapes: list[_Shape]
    image_path: str
    image_width: int | None = None
    image_height: int | None = None


def recognises(path: Path) -> bool:
    """Check whether a file, or the first JSON file in a folder or its subfolders, is of labelme."""
    with suppress(InputError):  # other formats report damaged files
        return any(map(_is_labelme, json_files_below(path)[:1]))
    return False


def open_files(path: Path, images: Path | None = None) -> list["LabelmeFile"]:
    """Open a file, or all files in a folder and its subfolders.

    Args:
        path: File or folder.
        images: Folder of the images; None if ``imagePath`` is correct, or if every image is next to
            its file.

    Raises:
        InputError: A file is damaged.
    """
    root = path if path.is_dir() else path.parent
    files = {file: _is_labelme(file) for file in json_files_below(path)}
    opened = [LabelmeFile(file, root, images) for file, is_read in files.items() if is_read]
    if opened and path.is_dir():
        read = {file.image_folder / image for file in opened for image in file.images}
        without = [
            f for f in files_in(root) if f.suffix.lower() in IMAGE_SUFFIXES and f not in read
        ]
        others = [file for file, is_read in files.items() if not is_read]
        opened[0].warnings = (
            *skipped(others, root, "file", "of another format"),
            *skipped(without, root, "image", "without a JSON file"),
        )
    return opened


def json_files_below(path: Path) -> list[Path]:
    """List a file, or the JSON files in a folder and its subfolders; none for other files."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" else []
    return sorted(f for f in files_in(path) if f.suffix.lower() == ".json" and f.name != MANIFEST)


def _is_labelme(file: Path) -> bool:
    return {"shapes", "imagePath"} <= root_keys(file).names


MAX_LISTS = 2_000_000
"""Most lists in a file, of which there is one per point and one per symbol; decoding them takes up
to 700 MB."""


class LabelmeFile:
    """One decoded file; implements :class:`~converters.formats.AnnotationSource`.

    Args:
        path: The file.
        root: Folder of the data set. A subfolder named after a split contains its pages.
        images: Folder of the images, see :func:`open_files`.

    Raises:
        InputError: The file is malformed or cannot be read.
    """

    works = NO_WORKS

    def __init__(self, path: Path, root: Path, images: Path | None = None) -> None:
        self.path, self.state = path, state(path)
        self.warnings: Sequence[str] = ()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", path=path) from error
        if content.count(b"[") > MAX_LISTS:
            reason = f"more than {MAX_LISTS:,} points; expected the symbols of a page"
            raise InputError(reason, path=path)
        file = decode(content, _File, path)
        check_unique_keys(content, path)
        self._sha256 = hashlib.sha256(content).hexdigest()
        self.split, folder = _split_and_folder(path, root)
        self.image_folder, image = _located(path, file.image_path, folder, images)
        width, height = file.image_width, file.image_height
        if width is None or height is None:
            width, height = image_size(self.image_folder / image)
        check_image_size(width, height, path)
        self.images = {checked_name(str(image), path, "imagePath"): (width, height)}
        """Width and height of the image in pixels."""
        symbols = _symbols(file.shapes)
        firsts = [symbol[0][1] for symbol in symbols]
        self._names = tuple(dict.fromkeys(shape.label for shape in file.shapes))
        self._categories = [shape.label for shape in firsts]
        boxes = [_union([_bounds(shape, i, path) for i, shape in parts]) for parts in symbols]
        self._boxes_xyxy = np.array(boxes, np.float64).reshape(-1, 4)
        self._is_polygon = np.array([shape.shape_type != RECTANGLE for shape in firsts], bool)
        self.numbers = [parts[0][0] for parts in symbols]
        """Index of each symbol's first shape."""
        self._descriptions = [shape.description for shape in firsts]
        self._has_parts = np.array([len(parts) > 1 for parts in symbols], bool)

    def sha256(self) -> str:
        """Return the hash of the file as it was read."""
        return self._sha256

    def categories(self, _mapping: CategoryMapping) -> tuple[str, ...]:
        """Return the labels of the shapes, in the order of the file."""
        return self._names

    def scores(self) -> list[float | None]:
        """Return the score of each symbol, in the order of the page; None without one."""
        return [_score(description) for description in self._descriptions]

    def pages(
        self,
        mapping: CategoryMapping,
        labels: Mapping[str, int],
        counts: Tally,
        *,
        clip: bool = False,
        workers: int = 1,
    ) -> Iterator[Page]:
        """Yield the page, without scores, because a corrected prediction is ground truth.

        Args:
            mapping: Class of each label of a shape.
            labels: Label of each class.
            counts: Receives the numbers of shapes read, and of those dropped because their label
                has no class.
            clip: Accept boxes that extend beyond the image; cleaning clips them later.
            workers: Not used; the file has been decoded already.

        Raises:
            InputError: A shape extends beyond the image.
        """
        [(image, size)] = self.images.items()
        places = [f"shapes[{number}]" for number in self.numbers]
        boxes_xyxy = boxes_inside(self._boxes_xyxy, size, places, self.path, clip=clip)
        page_labels = mapped_labels(self._categories, mapping, labels, counts)
        is_mapped = page_labels >= 0
        for change, is_changed in (
            (tally.POLYGON, self._is_polygon & ~self._has_parts),
            (tally.PARTS, self._has_parts),
        ):
            changed = tally.count(page_labels[is_changed & is_mapped], list(labels))
            counts.changed.update({(change, name): n for name, n in changed.items()})
        yield Page(
            image=image,
            width=size[0],
            height=size[1],
            boxes_xyxy=boxes_xyxy[is_mapped],
            labels=page_labels[is_mapped],
            n_annotations=len(page_labels),
        )


def _score(description: str | None) -> float | None:
    """Read the score in the description of a shape; None without one."""
    try:
        return float(json.loads(description or "{}")["score"])
    except (ValueError, TypeError, LookupError, RecursionError):  # a remark of the user
        return None


def _split_and_folder(path: Path, root: Path) -> tuple[str, PurePosixPath]:
    """Return the split of a file, and the subfolder of its image in the image folder."""
    parts = path.parent.relative_to(root).parts
    for i, part in enumerate(parts):
        if part in {IMAGE_FOLDER, LABELME_FOLDER}:
            parts = path.parent.relative_to(root).parts[i + 1 :]
    if parts and (split := split_of_folder(parts[0])):
        return split, PurePosixPath(*parts[1:])
    return split_of_folder(root.absolute().name) or "train", PurePosixPath(*parts)


def _located(
    path: Path, image_path: str, folder: PurePosixPath, images: Path | None
) -> tuple[Path, PurePosixPath]:
    """Find the image of a file.

    Args:
        path: The file.
        image_path: Path of the image, relative to the file, or absolute on some computer.
        folder: Subfolder that the name of the image has to contain.
        images: Folder of the images; None to search where ``image_path`` points and next to the
            file.

    Returns:
        Image folder, and the name of the image in it.
    """
    as_written = Path(os.path.normpath(path.parent / image_path.replace("\\", "/")))
    name = PurePosixPath(as_written.name)
    candidates = [images / folder, images] if images else [as_written.parent, path.parent]
    matches = [(parent, actual) for parent in candidates if (actual := on_disk(parent, name))]
    parent, image = matches[0] if matches else (candidates[0], name)
    n = len(folder.parts)
    if n and parent.parts[-n:] == folder.parts:
        return Path(*parent.parts[:-n]), folder / image
    return parent, image


def _symbols(shapes: Sequence[_Shape]) -> list[list[tuple[int, _Shape]]]:
    """Group the numbered shapes by symbol.

    Polygons with the same label and group are parts of one symbol, as in labelme's own converters
    for polygons. Rectangles are not, because groups also join separate symbols, such as the
    noteheads of a chord.
    """
    symbols: dict[object, list[tuple[int, _Shape]]] = {}
    for i, shape in enumerate(shapes):
        is_part = shape.group_id is not None and shape.shape_type != RECTANGLE
        key = (shape.label, shape.group_id) if is_part else i
        symbols.setdefault(key, []).append((i, shape))
    return list(symbols.values())


def _union(boxes_xyxy: Sequence[Sequence[float]]) -> list[float]:
    """Return the box around some boxes."""
    x0, y0, x1, y1 = zip(*boxes_xyxy, strict=True)
    return [min(x0), min(y0), max(x1), max(y1)]


def _bounds(shape: _Shape, i: int, path: Path) -> tuple[float, float, float, float]:
    """Return the box around a shape as xyxy."""
    if not shape.points:
        raise InputError("expected points", path=path, where=f"shapes[{i}].points")
    x, y = zip(*shape.points, strict=True)
    if shape.shape_type == "circle" and len(shape.points) == 2:  # the centre and a point on it
        radius = math.dist(*shape.points)
        return x[0] - radius, y[0] - radius, x[0] + radius, y[0] + radius
    last = int(shape.shape_type == "mask")  # its second corner is the last pixel inside
    return min(x), min(y), max(x) + last, max(y) + last
