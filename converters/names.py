"""Names of images and works, and lists of names in messages."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from class_maps import InputError

FOLDER = "images"
"""Name of the image folder. Readers of YOLO data sets find labels by replacing the last occurrence
of this name in a path, so no folder inside the image folder may have it."""

_WORK = re.compile(r"lg-(?P<work>\d+)-aug-.+--page-\d+$")
"""Image names of DeepScoresV2 and of engraved pages: ``lg-<work>-aug-<font>--page-<n>``."""


def checked_images(
    entries: Iterable[tuple[int, str, int, int]], path: Path, field: str
) -> dict[int, tuple[PurePosixPath, int, int]]:
    """Check the list of images of an annotation file.

    Args:
        entries: Id, name, width and height of each image; sizes in pixels.
        path: Annotation file.
        field: Name of the field that contains the image name, for error messages.

    Returns:
        Path inside the image folder, width and height of each image by id, in the same order.

    Raises:
        InputError: A name points outside the image folder, a size is not positive, or an id or a
            name is a duplicate.
    """
    images: dict[int, tuple[PurePosixPath, int, int]] = {}
    for i, (image_id, name, width, height) in enumerate(entries):
        if width < 1 or height < 1:
            raise InputError(
                f"invalid image size: {width} x {height} px", path=path, where=f"images[{i}]"
            )
        if image_id in images:
            raise InputError(f"duplicate id: {image_id}", path=path, where=f"images[{i}].id")
        image = _checked_name(name, path, f"images[{i}].{field}")
        images[image_id] = image, width, height
    names = Counter(image for image, _, _ in images.values())
    if repeated := sorted(str(name) for name, n in names.items() if n > 1):
        raise InputError(f"duplicate: {count_of(repeated, 'file')}", path=path, where="images")
    return images


def _checked_name(name: str, path: Path, where: str) -> PurePosixPath:
    image = PurePosixPath(name)
    if not image.name or image.is_absolute() or ".." in image.parts or set(name) & {"\\", "\0"}:
        raise InputError(f"points outside the image folder: {name!r}", path=path, where=where)
    if image.parts[0] == FOLDER and len(image.parts) > 1:
        image = image.relative_to(FOLDER)  # in some files, names are relative to the folder above
    if FOLDER in image.parts:
        raise InputError(
            f"contains a folder called {FOLDER}, in which YOLO readers do not find labels: "
            f"{name!r}; rename it",
            path=path,
            where=where,
        )
    return image


def work_of(image: PurePosixPath) -> str | None:
    """Return the work that a page belongs to, or None if the image's name does not contain it."""
    match = _WORK.match(image.stem)
    return match["work"] if match else None


def count_of(items: Sequence[object], noun: str, most: int = 3) -> str:
    """Count items and list the first of them: ``3 annotations (7, 9, 11)``.

    Args:
        items: Items to count.
        noun: Singular of the noun to count.
        most: Maximum number of items to list; ``...`` stands for the rest.
    """
    listed = ", ".join(str(item) for item in items[:most]) + (", ..." if len(items) > most else "")
    plural = noun if len(items) == 1 else f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{len(items)} {plural} ({listed})"
