"""Names of images and works, and how many of them a message lists."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from class_maps import InputError

_WORK = re.compile(r"lg-(?P<work>\d+)-aug-.+--page-\d+$")
"""DeepScoresV2's images: ``lg-<work>-aug-<font>--page-<n>``."""


def checked_image_name(name: str, path: Path, where: str) -> PurePosixPath:
    """Return ``name`` as a path inside the image folder.

    Raises:
        InputError: It is empty or would lead out of the folder.
    """
    image = PurePosixPath(name)
    if not name or image.is_absolute() or ".." in image.parts or "\\" in name or "\0" in name:
        raise InputError(f"leaves the image folder: {name!r}", path=path, where=where)
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
