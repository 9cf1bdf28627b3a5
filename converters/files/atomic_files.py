"""Files that are there whole or not at all, whatever happens while they are written."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_file(file: Path) -> Iterator[Path]:
    """Give a file to write, which takes the place of another one when the block ends well.

    It lies beside the other, so that the last step is a renaming. A process that is killed leaves
    the old file as it was, and perhaps a ``NAME.part``, which the next write replaces.

    Args:
        file: The file to make or to replace; its folder is there.

    Raises:
        OSError: It cannot be written, say because the disk is full; the old one is kept.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        yield part
        _flush(part)
        part.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _flush(file.parent)  # else a power cut could bring back the old name


def _flush(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
