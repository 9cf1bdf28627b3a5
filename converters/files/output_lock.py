"""Locks of outputs: only one omr process at a time writes to an output.

A lock is advisory, and held on a file: ``OUT/.omr.lock`` for folders that are filled in place,
``.OUT.omr.lock`` next to OUT for folders that appear when they are complete. The system releases
the lock when the process ends. A killed process leaves the file behind; the next process takes it
over.
"""

import contextlib
import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from class_maps import ConfigError
from converters.files.walking import entries_below

LOCK = ".omr.lock"
"""Name of a lock file in a folder, and end of the names of all lock files."""
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of file systems without locks, where outputs are not protected."""

_held: set[int] = set()
"""File descriptors of the locks that this process holds."""


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Create a folder if it is missing, and hold its lock; a folder that stays empty is removed.

    Args:
        folder: Folder to fill; a link is followed.

    Raises:
        ConfigError: Another omr process is writing to the folder, or the folder cannot be created.
    """
    real = Path(os.path.realpath(folder))
    with _removed_if_empty(real), _locked(real / LOCK, folder, "--out"):
        yield


@contextlib.contextmanager
def locked_path(
    out: Path, real: Path, *, option: str = "--out", is_shared: bool = False
) -> Iterator[None]:
    """Hold the lock of a file or folder that appears once complete.

    Missing parent folders are created, and removed again if they stay empty.

    Args:
        out: Path that the user gave, for error messages.
        real: The same path without links.
        option: Option or argument that sets the output, for error messages.
        is_shared: Whether other processes may hold the lock at the same time, if they share it too.

    Raises:
        ConfigError: Another omr process is writing the output, or its folder cannot be written.
    """
    lock = real.with_name(f".{real.name}{LOCK}")
    with _removed_if_empty(real.parent), _locked(lock, out, option, is_shared=is_shared):
        yield


def check_unlocked(folder: Path) -> None:
    """Check that no other omr process writes to a folder, or to an output inside it.

    Raises:
        ConfigError: Another omr process is writing to the folder.
    """
    for name, entry in entries_below(folder):
        if name.endswith(LOCK):
            _check_unlocked(Path(entry.path))


@contextlib.contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove a folder and its parents if the block created them and left them empty."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


@contextlib.contextmanager
def _locked(lock: Path, out: Path, option: str, *, is_shared: bool = False) -> Iterator[None]:
    """Hold a lock; create its file and missing parent folders, and remove the file afterwards.

    The file of a shared lock stays, because other processes may hold it.

    Args:
        lock: Lock file.
        out: Output that the lock protects, for error messages.
        option: Option or argument that sets the output, for error messages.
        is_shared: Whether other processes may hold it at the same time.
    """
    try:
        descriptor = _acquire(lock, out, option, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from error
    _held.add(descriptor)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if not is_shared and _is_current(descriptor, lock):
                lock.unlink()
        _held.discard(descriptor)
        os.close(descriptor)


def _acquire(lock: Path, out: Path, option: str, kind: int) -> int:
    """Lock a file, and return its descriptor."""
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # the last holder has just removed the folder
            continue
        if not _flock(descriptor, kind):
            with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
                raise _is_written(out, file.read(), option)
        if _is_current(descriptor, lock):
            break
        os.close(descriptor)  # the last holder has just removed the file
    with contextlib.suppress(OSError):  # a full disk
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {platform.node()}".encode())
    return descriptor


def _flock(descriptor: int, kind: int) -> bool:
    """Lock an open file without waiting; return whether no other process holds it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    return True


def _is_current(descriptor: int, lock: Path) -> bool:
    """Return whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), lock.stat())
    except FileNotFoundError:
        return False


def _check_unlocked(lock: Path) -> None:
    with contextlib.suppress(OSError), lock.open(encoding="utf-8", errors="replace") as file:
        is_own = any(_is_current(descriptor, lock) for descriptor in _held)
        if not is_own and not _flock(file.fileno(), fcntl.LOCK_SH):
            name = lock.name.removesuffix(LOCK).removeprefix(".")
            out = lock.with_name(name) if name else lock.parent
            raise _is_written(out, file.read(), "--out")


def _is_written(out: Path, holder: str, option: str) -> ConfigError:
    """Build the error about an output that another process writes to.

    Args:
        out: Output that is being written.
        holder: Content of the lock file: process and machine.
        option: Option or argument that sets the output.
    """
    pid, _, host = holder.partition(" ")
    process = f" (pid {pid})" if host == platform.node() else f" (pid {pid} on {host})"
    return ConfigError(
        f"{out}: another omr process{process if pid else ''} is writing here; wait for it or "
        f"choose another {option}"
    )


def _close_copies() -> None:
    """Close a forked child's copies of the locks, which would outlive this process."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_copies)
