"""Writes a folder so that it is there whole or not at all."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from class_maps import ConfigError, OmrError
from converters.files.overwriting import check_folder

MANIFEST = "manifest.json"
"""Every folder of ours holds one; a folder without is never replaced."""


@contextlib.contextmanager
def atomic_folder(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes ``target`` when the block ends well.

    The folder lies beside ``target``, so that the last step is a renaming. What a killed run
    leaves behind is a hidden ``.NAME.partial``, which the next run for the same target removes.

    Args:
        target: The folder to make.
        force: Replace ``target``, if it is one of ours.

    Raises:
        ConfigError: ``target`` is there already, or is being written by another process.
        OmrError: The disk is full, or the folder cannot be written.
    """
    check_target(target, force=force)
    made = [folder for folder in target.absolute().parents if not folder.exists()]
    partial = target.parent / f".{target.name}.partial"
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with _locked(partial, target):
            try:
                for leftover in partial.iterdir():
                    _remove(leftover)
                yield partial
                _swap(partial, target)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                with contextlib.suppress(OSError):
                    for folder in made:
                        folder.rmdir()
                raise
    except OSError as error:
        place, reason = error.filename or target, error.strerror or error
        raise OmrError(f"{place}: {reason}; nothing was written to {target}") from error


def check_target(target: Path, *, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Check that ``target`` can become a folder written by :func:`atomic_folder`.

    Args:
        target: Folder to create.
        force: Whether the user allows replacing an existing folder that contains a manifest.
        inputs: Files and folders that must not be inside ``target``.

    Raises:
        ConfigError: ``target`` must not be replaced, see :func:`check_folder`, or is the current
            folder.
    """
    if target.resolve() == Path.cwd():
        raise ConfigError(
            f"{target}: is the current folder, which cannot be replaced; choose another folder"
        )
    check_folder(target, marker=MANIFEST, force=force, inputs=inputs)


@contextlib.contextmanager
def _locked(folder: Path, target: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the system lets go when the process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{target}: is being written by another process") from None
        yield
    finally:
        os.close(descriptor)


def _swap(partial: Path, target: Path) -> None:
    old = target.parent / f".{target.name}.replaced"
    _remove(old)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
