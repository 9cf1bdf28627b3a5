"""Atomic writing of files: a file is either complete or keeps its previous content."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_file(file: Path) -> Iterator[Path]:
    """Yield a temporary file to write, which is renamed to ``file`` if the block succeeds.

    The temporary file ``NAME.part`` is in the same folder. A process that is killed leaves the old
    file unchanged, and possibly the temporary one, which the next write replaces.

    Args:
        file: File to create or replace; its folder must exist.

    Raises:
        OSError: The file cannot be written, for example because the disk is full; the old file is
            kept.
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
    _flush(file.parent)  # so that a power failure does not undo the renaming


def _flush(path: Path) -> None:
    """Wait until a file or folder has been written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
