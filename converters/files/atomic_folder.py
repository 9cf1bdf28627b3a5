"""Atomic writing of folders: a folder appears complete or not at all."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from class_maps import ConfigError, OmrError
from converters.files.overwriting import check_folder

MANIFEST = "manifest.json"
"""File in every folder created by omr; folders without it are never replaced."""


@contextlib.contextmanager
def atomic_folder(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill, which is renamed to ``target`` if the block succeeds.

    The temporary folder ``.NAME.partial`` is in the same folder as ``target``. A process that is
    killed leaves it behind; the next one with the same target removes it.

    Args:
        target: Folder to create.
        force: Whether to replace ``target`` if omr created it.

    Raises:
        ConfigError: ``target`` must not be replaced, or another process is writing it.
        OmrError: The disk is full, or the folder cannot be written.
    """
    check_target(target, force=force)
    created = [folder for folder in target.absolute().parents if not folder.exists()]
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
                    for folder in created:
                        folder.rmdir()
                raise
    except OSError as error:
        path, reason = error.filename or target, error.strerror or error
        raise OmrError(f"{path}: {reason}; nothing was written to {target}") from error


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
    """Lock ``folder`` for this process; the system releases the lock when the process ends."""
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
