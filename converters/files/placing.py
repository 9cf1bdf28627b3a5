"""Placing of existing files at another path: copied, or linked to save space."""

import os
import shutil
from contextlib import suppress
from pathlib import Path


def link(path: Path, target: Path) -> None:
    """Make ``target`` a hard link to a file, or a symbolic link where there cannot be one.

    Raises:
        OSError: ``target`` cannot be written.
    """
    with suppress(OSError):  # another file system, or a file of another user
        target.hardlink_to(path.resolve())
        return
    target.symlink_to(path.resolve())


def link_or_copy(path: Path, target: Path) -> None:
    """Make ``target`` a hard link to a file, or a copy of it where there cannot be one.

    Raises:
        OSError: ``target`` cannot be written.
    """
    try:
        os.link(path.resolve(), target)
    except OSError:
        shutil.copyfile(path, target)
