"""Atomic writing of files: a file is either complete or keeps its previous content."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from class_maps import ConfigError
from converters.files.output_lock import locked_path
from converters.files.overwriting import check_files


@contextlib.contextmanager
def output_files(*files: Path, force: bool) -> Iterator[tuple[Path, ...]]:
    """Yield temporary files to write, which become the output files of a command.

    The block contains the work of the command, so that no other process starts the same work.

    Args:
        files: Files to create in one folder, locked during the block; missing folders are created.
        force: Whether to replace files that exist.

    Raises:
        ConfigError: A file cannot be written, exists at the beginning or the end of the block, or
            another omr process is writing it.
    """
    try:
        with contextlib.ExitStack() as stack:
            for file in files:
                stack.enter_context(locked_path(file, Path(os.path.realpath(file))))
            check_files(*files, force=force)
            parts = [stack.enter_context(atomic_file(file, replace=force)) for file in files]
            yield tuple(parts)
            check_files(*files, force=force)
    except OSError as error:
        folder = os.path.realpath(files[0].parent)
        if error.filename and os.path.realpath(Path(error.filename).parent) != folder:
            raise  # the work in the block failed
        raise ConfigError(f"{files[0]}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def atomic_file(file: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary file to write, which is renamed to ``file`` if the block succeeds.

    The temporary file ``NAME.part`` is in the same folder. A process that is killed leaves the old
    file unchanged, and possibly the temporary one, which the next write replaces.

    Args:
        file: File to create or replace; its folder must exist. A link is followed.
        replace: Whether to replace a file that exists at the end of the block.

    Raises:
        FileExistsError: The file exists, and ``replace`` is not set.
        OSError: The file cannot be written, for example because the disk is full; the old file is
            kept.
    """
    real = Path(os.path.realpath(file))
    part = real.with_name(f"{real.name}.part")
    try:
        yield part
        _flush(part)
        if not replace:
            real.touch(exist_ok=False)
        part.replace(real)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _flush(real.parent)  # so that a power failure does not undo the renaming


def _flush(path: Path) -> None:
    """Wait until a file or folder has been written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
