"""Names of images and works, and lists of names in messages."""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from os.path import commonpath
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal, TypeVar
from urllib.parse import unquote

from class_maps import InputError, shortened, shown

IMAGE_FOLDER = "images"
"""Name of the image folder. Readers of YOLO data sets find labels by replacing the last occurrence
of this name in a path, so no folder inside the image folder may have this name."""

ImageMode = Literal["copy", "link", "reference", "tar"]
"""How the images of a data set get into another: as copies, as links, by their path only, or as
copies in tar files, see :mod:`converters.image_tars`."""

MAX_SIDE_PX = 1_000_000
"""Maximum side of a page; a longer side is an error in the annotations, and would fill the disk."""
MAX_PIXELS = 300_000_000
"""Largest page in pixels: A3 at 1200 dpi has 279 million, which take 0.8 GB in colour."""
MAX_NAME_BYTES = 255
"""Maximum length of a file name on common file systems."""
MAX_PATH_BYTES = 1024
"""Maximum length of a path inside the image folder; leaves room for the path of that folder."""

K = TypeVar("K", bound=Hashable)

_DRIVE = re.compile(r"[A-Za-z]:$")
"""First part of an absolute path of Windows."""
LABELS = "labels"
"""Name of the folder of label files."""
PARQUET_FOLDER = "parquet"
"""Name of the folder of Parquet tables."""
SHEETS = "sheets.html"
"""Name of the file of contact sheets, which contains its pictures, so that none of them can be
taken for a page."""

_WORK = re.compile(r"lg-(?P<work>\d+)-aug-.+--page-\d+$")
"""Names of pages of DeepScoresV2 and of engraved pages: ``lg-<work>-aug-<font>--page-<n>``."""

NO_WORKS: Mapping[PurePosixPath, str] = MappingProxyType({})
"""Works of the images of a source whose works are in the names of its images, if anywhere."""

_WRITER = re.compile(r"CVC-MUSCIMA_(?P<writer>W-\d+)_N-\d+_")
"""Names of pages of MUSCIMA++, whose works are those of one writer: handwriting repeats itself."""

TILE = re.compile(r"__x\d{5,}_y\d{5,}$")
"""End of a tile's name, without suffix, see :func:`converters.prepare.tiles.tile_name`."""

_COPY = re.compile(rf"(?<=.)(\.rf\.[0-9A-Za-z]{{16,}})?({TILE.pattern.rstrip('$')})?$")
"""End of an image name that differs between the augmented copies of a page in exports of Roboflow,
and between the tiles of a page, see :func:`converters.prepare.tiles.tile_name`."""


def checked_images(
    entries: Iterable[tuple[K, str, int, int]],
    path: Path,
    field: str,
    images: Path | None = None,
    *,
    are_paths: bool = False,
) -> dict[K, tuple[PurePosixPath, int, int]]:
    """Check the list of images of an annotation file.

    Args:
        entries: Id, name, width and height of each image; sizes in pixels.
        path: Annotation file.
        field: Name of the field that contains the image name, for error messages.
        images: Folder in which to find names that point outside the image folder, such as those of
            files on another machine; None to reject them.
        are_paths: Whether names are paths of existing files, see :func:`checked_name`.

    Returns:
        Path inside the image folder, width and height of each image by id, in the same order.

    Raises:
        InputError: A name is invalid or points outside the image folder, a size is not positive or
            too large, or an id or a name is a duplicate.
    """
    checked: dict[K, tuple[PurePosixPath, int, int]] = {}
    for i, (image_id, name, width, height) in enumerate(entries):
        check_image_size(width, height, path, f"images[{i}]")
        if image_id in checked:
            where = f"images[{i}].id"
            raise InputError(f"duplicate id: {shortened(str(image_id))}", path=path, where=where)
        image = checked_name(name, path, f"images[{i}].{field}", images, is_path=are_paths)
        checked[image_id] = image, width, height
    names = Counter(image for image, _, _ in checked.values())
    if repeated := sorted(str(name) for name, n in names.items() if n > 1):
        raise InputError(f"duplicate: {count_of(repeated, 'file')}", path=path, where="images")
    return checked


def check_image_size(width: int, height: int, path: Path, where: str = "") -> None:
    """Check that a size is positive and not too large.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        path: File that contains the size, for the error message.
        where: Location of the size in that file.

    Raises:
        InputError: The size is invalid.
    """
    if width < 1 or height < 1:
        raise InputError(f"invalid image size: {width} x {height} px", path=path, where=where)
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise InputError(
            f"image size of {shown(width)} x {shown(height)} px; expected at most "
            f"{MAX_SIDE_PX:,} px per side and {MAX_PIXELS:,} px in total",
            path=path,
            where=where,
        )


def checked_name(
    name: str, path: Path, where: str, images: Path | None = None, *, is_path: bool = False
) -> PurePosixPath:
    """Check the name of an image.

    Args:
        name: Name, relative to the image folder or the folder above it.
        path: Annotation file.
        where: Location of the name in that file.
        images: Folder in which to find a name that points outside the image folder; None to reject
            it.
        is_path: Whether the name is the path of an existing file, which may contain a folder called
            ``images``.

    Returns:
        Path inside the image folder.

    Raises:
        InputError: The name is invalid or points outside the image folder.
    """
    image = PurePosixPath(name.replace("\\", "/"))  # as written on Windows
    if not image.name:
        raise InputError(f"expected a file name, got {shown(name)}", path=path, where=where)
    is_outside = "://" in name or _points_outside(image)
    if images and is_outside and image.name != "..":
        image = _end_of_path(name, image, images)
        is_outside = _points_outside(image)
    if is_outside:
        raise InputError(
            f"points outside the image folder: {shown(name)}; use --image-folder DIR to find the "
            "file in DIR by the end of its path",
            path=path,
            where=where,
        )
    check_file_name(image, path, where)
    if any(map(is_hidden, image.parts)):
        raise InputError(
            f"is a hidden file or in a hidden folder, which YOLO readers skip: {shown(name)}; "
            "rename it",
            path=path,
            where=where,
        )
    if is_path:
        return image
    if image.parts[0] == IMAGE_FOLDER and len(image.parts) > 1:
        # In some files, names are relative to the folder above.
        image = image.relative_to(IMAGE_FOLDER)
    if IMAGE_FOLDER in image.parts:
        raise InputError(
            f"contains a folder called {IMAGE_FOLDER}, in which YOLO readers do not find labels: "
            f"{shown(name)}; rename it",
            path=path,
            where=where,
        )
    return image


def _end_of_path(name: str, image: PurePosixPath, images: Path) -> PurePosixPath:
    """Return the longest end of a path or URL that is a file in a folder, or else its last part.

    The query of a URL is ignored, unless it contains the path of the image.
    """
    path = name.partition("?")[0]
    parts = PurePosixPath(path).parts if "://" in path and path[-1] != "/" else image.parts
    ends = [PurePosixPath(*parts[i:]) for i in range(1, len(parts)) if ".." not in parts[i:]]
    for end in ends:
        with suppress(OSError):
            if any((images / form).is_file() for form in (end, percent_decoded(end))):
                return end
    return PurePosixPath(parts[-1])


def percent_decoded(image: PurePosixPath) -> PurePosixPath:
    """Decode the name of an image, ``a b`` for ``a%20b``; unchanged if the result is invalid.

    Args:
        image: Name, relative to the image folder.
    """
    decoded = PurePosixPath(*map(unquote, image.parts))
    is_valid = len(decoded.parts) == len(image.parts) and not decoded.is_absolute()
    is_valid &= IMAGE_FOLDER not in decoded.parts and not any(map(is_hidden, decoded.parts))
    return decoded if is_valid else image


def is_hidden(name: str) -> bool:
    """Check whether a file or folder is hidden, such as the ``._*`` files of macOS."""
    return name.startswith(".")


def _points_outside(image: PurePosixPath) -> bool:
    return image.is_absolute() or ".." in image.parts or bool(_DRIVE.match(image.parts[0]))


def check_file_name(image: PurePosixPath, path: Path, where: str = "") -> None:
    """Check that a file system can store a file with this name.

    Args:
        image: Name, relative to a folder.
        path: File that contains the name, for the error message.
        where: Location of the name in that file.

    Raises:
        InputError: The name is too long, or cannot be encoded as UTF-8.
    """
    try:
        sizes = [len(part.encode("utf-8")) for part in image.parts]
    except UnicodeEncodeError:
        raise InputError(
            f"file name that is not Unicode text: {shown(str(image))}; rename it",
            path=path,
            where=where,
        ) from None
    if "\0" in str(image):
        raise InputError(f"invalid file name: {shown(str(image))}", path=path, where=where)
    if max(sizes) > MAX_NAME_BYTES or sum(sizes) + len(sizes) > MAX_PATH_BYTES:
        raise InputError(
            f"file name of {max(sizes)} bytes in a path of {sum(sizes) + len(sizes) - 1}: "
            f"{shown(str(image))}; expected at most {MAX_NAME_BYTES} in a path of {MAX_PATH_BYTES}",
            path=path,
            where=where,
        )


def page_of(image: PurePosixPath) -> str:
    """Return the name of the page that an image shows: the same for all its copies and tiles."""
    return image.with_name(_COPY.sub("", image.stem, count=1) + image.suffix).as_posix()


def work_of(image: PurePosixPath) -> str | None:
    """Return the work that a page belongs to, or None if the image's name does not contain it.

    Pages of MUSCIMA++ are grouped by writer instead.
    """
    stem = PurePosixPath(page_of(image)).stem
    match = _WORK.match(stem) or _WRITER.match(stem)
    return match[1] if match else None


def source_names(folders: Iterable[tuple[str, Path]]) -> dict[tuple[str, Path], str]:
    """Name the image folders of the splits that consist of several.

    Args:
        folders: Splits and their image folders.

    Returns:
        First part of the path by which a folder differs from the others of its split.
    """
    of_split = defaultdict[str, set[Path]](set)
    for split, folder in folders:
        of_split[split].add(folder)
    names = {}
    for split, paths in of_split.items():
        common = Path(commonpath(path.absolute() for path in paths))
        for path in paths if len(paths) > 1 else ():
            names[split, path] = (*path.absolute().relative_to(common).parts, common.name)[0]
    return names


def count_of(items: Sequence[object], noun: str, most: int = 3) -> str:
    """Count items and list the first of them: ``3 annotations (7, 9, 11)``.

    Args:
        items: Items to count.
        noun: Singular of the noun to count.
        most: Maximum number of items to list; ``...`` stands for the rest.
    """
    listed = ", ".join(shortened(str(item)) for item in items[:most]) + (
        ", ..." if len(items) > most else ""
    )
    plural = noun if len(items) == 1 else f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{len(items)} {plural} ({listed})"
