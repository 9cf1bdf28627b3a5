"""Names of images and works, and how many of them a message lists."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from class_maps import InputError

_WORK = re.compile(r"lg-(?P<work>\d+)-aug-.+--page-\d+$")
"""DeepScoresV2's images, and those engraved here: ``lg-<work>-aug-<font>--page-<n>``."""


FOLDER = "images"
"""What the folder of images is called. Readers of YOLO folders look for labels where this word
stands last in a path, so it may not stand in a name again."""


def checked_images(
    entries: Iterable[tuple[int, str, int, int]], path: Path, field: str
) -> dict[int, tuple[PurePosixPath, int, int]]:
    """Check the list of images of a file.

    Args:
        entries: Id, name, width and height of each.
        path: The file.
        field: What the file calls the name.

    Returns:
        Image inside the image folder, width and height by id, in the same order.

    Raises:
        InputError: A name leads out of the folder, a size is none, or something stands twice.
    """
    images: dict[int, tuple[PurePosixPath, int, int]] = {}
    for i, (image_id, name, width, height) in enumerate(entries):
        if width < 1 or height < 1:
            raise InputError(
                f"an image cannot be {width} x {height} px", path=path, where=f"images[{i}]"
            )
        if image_id in images:
            raise InputError(f"id {image_id} stands twice", path=path, where=f"images[{i}].id")
        image = _checked_name(name, path, f"images[{i}].{field}")
        images[image_id] = image, width, height
    names = Counter(image for image, _, _ in images.values())
    if repeated := sorted(str(name) for name, n in names.items() if n > 1):
        raise InputError(f"{several(repeated, 'file')} twice", path=path, where="images")
    return images


def _checked_name(name: str, path: Path, where: str) -> PurePosixPath:
    image = PurePosixPath(name)
    if not image.name or image.is_absolute() or ".." in image.parts or set(name) & {"\\", "\0"}:
        raise InputError(f"leaves the image folder: {name!r}", path=path, where=where)
    if image.parts[0] == FOLDER and len(image.parts) > 1:
        image = image.relative_to(FOLDER)  # some files count from the folder above
    if FOLDER in image.parts:
        raise InputError(
            f"has a folder called {FOLDER}, behind which labels are not found: {name!r}; rename it",
            path=path,
            where=where,
        )
    return image


def work_of(image: PurePosixPath) -> str | None:
    """The work that an image's name says it is a page of; None where it does not say."""
    found = _WORK.match(image.stem)
    return found["work"] if found else None


def several(items: Sequence[object], what: str, most: int = 3) -> str:
    """``3 annotations (7, 9, 11)``; the first ``most`` of them."""
    shown = ", ".join(str(item) for item in items[:most]) + (", ..." if len(items) > most else "")
    plural = what if len(items) == 1 else f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{len(items)} {plural} ({shown})"
