"""Atomic writing of folders: a folder appears complete or not at all."""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from class_maps import ConfigError, OmrError
from converters.files.kept_work import RECORDS, has_finished, remove_records
from converters.files.output_lock import locked_path
from converters.files.overwriting import Contents, check_folder
from converters.files.walking import encoded, in_order, names_below, only_in_first
from converters.versions import TOOLKIT

MANIFEST = "manifest.json"
"""File in every folder created by omr; folders without it are never replaced."""
LIST = ".omr-files"
"""File in every folder created by omr: a JSON list of the paths of its other files."""
OCCUPIED = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}
"""Errors of renaming a folder if a file or a non-empty folder has the new name."""
SPARE_FILES = 6
"""Files that are open while a folder is filled, so that it can be removed if too many are."""
_PARTIAL = re.compile(r"\.partial-[0-9a-f]{8}$")
"""End of the name of a temporary folder."""
CREATED, CHANGED = "was created while omr was working", "changed while omr was working"


@contextlib.contextmanager
def atomic_folder(
    target: Path,
    *,
    force: bool = False,
    inputs: Iterable[Path] = (),
) -> Iterator[Path]:
    """Yield an empty folder to fill, which is renamed to ``target`` if the block succeeds.

    The temporary folder ``.NAME.partial-HEX`` is in the same folder as ``target``, whose links are
    followed. If the block fails, it is removed, or renamed to ``.NAME.parts`` if it contains
    records of finished work (:mod:`~converters.files.kept_work`); :func:`take_kept` continues with
    it. A process that is killed leaves the temporary folder behind; the next process with the same
    target does the same with it. Only content that ``target`` had when the block began is replaced:
    if ``target`` contains anything else when the block ends, it is kept and the new folder gets
    another name.

    Args:
        target: Folder to create; locked during the block.
        force: Whether to replace ``target`` if omr created it.
        inputs: Files and folders that must not be inside ``target``.

    Raises:
        ConfigError: ``target`` must not be replaced, or another omr process is writing it.
        OmrError: The disk is full, the folder cannot be written, or ``target`` has changed.
        KeyboardInterrupt: The user stopped the block; the message states that nothing was written.
    """
    inputs = tuple(inputs)
    real = Path(os.path.realpath(target))
    _remove_records(real)
    _check_target(target, real, force=force, inputs=inputs)
    with locked_path(target, real, option="OUT"):
        try:
            _clean_up_killed(real)
            _check_target(target, real, force=force, inputs=inputs)
            with contextlib.closing(Contents(real)) as before, _partial(real) as partial:
                yield partial
                _write_list(partial)
                _swap(partial, real, before, target)
        except OSError as error:
            path, reason = error.filename or target, error.strerror or error
            raise OmrError(f"{path}: {reason}; nothing was written to {target}") from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{target}: interrupted; nothing was written") from None
        _remove_records(real)  # not before: a kill between both would cost all work
        _remove_old(_aside(real), target)


def _remove_records(real: Path) -> None:
    """Remove the records from a complete folder, possibly of a process that was killed."""
    with contextlib.suppress(OSError):
        if (real / LIST).is_file():
            remove_records(real)


def _check_target(target: Path, real: Path, *, force: bool, inputs: Iterable[Path]) -> None:
    """Check that a folder, which may be a link to ``real``, can be replaced."""
    if Path.cwd().is_relative_to(real):
        relation = "is" if Path.cwd() == real else "contains"
        raise ConfigError(
            f"{target}: {relation} the current folder, which cannot be replaced; choose another "
            "folder"
        )
    check_folder(
        target,
        marker=MANIFEST,
        others=unlisted,
        force=force,
        is_marker=_is_manifest,
        inputs=inputs,
    )
    if real.is_mount():
        raise ConfigError(
            f"{target}: is a mount point, which cannot be replaced; choose a folder inside it"
        )


def _is_manifest(path: Path) -> bool:
    """Check whether omr wrote a manifest: web apps and packages have files of this name too."""
    try:
        manifest = json.loads(path.read_bytes()) if path.is_file() else {}
        return TOOLKIT in manifest["versions"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def _write_list(folder: Path) -> None:
    """List the files of a new folder, so that files added later are not removed with it."""
    with (folder / LIST).open("w", encoding="ascii") as file:
        file.write("[")
        for i, line in enumerate(_found(folder)):
            file.write(f",\n{line}" if i else f"\n{line}")
        file.write("\n]")


def unlisted(folder: Path) -> Iterator[str]:
    """Yield the files in a folder that omr did not write, according to the list in it.

    Raises:
        ConfigError: The folder has no such list.
        OSError: The folder cannot be read.
    """
    for line in only_in_first(_found(folder), in_order(_listed(folder))):
        yield json.loads(line)


def _found(folder: Path) -> Iterator[str]:
    """Yield a line for each file in a folder, in order, apart from the list and records."""
    names = (name for name in names_below(folder) if not name.startswith(f"{RECORDS}/"))
    return in_order(encoded(name) for name in names if name != LIST)


def _listed(folder: Path) -> Iterator[str]:
    """Yield the lines of a list of files, which is read again as it was written."""
    try:
        if not (folder / LIST).is_file():
            raise ValueError("missing")
        with (folder / LIST).open(encoding="ascii") as file:
            if file.readline() != "[\n":
                raise ValueError("no list")
            for line in file:
                if line == "]":
                    return
                name = json.loads(line.rstrip(",\n"))
                yield encoded(str(name))
        raise ValueError("truncated")
    except (OSError, ValueError, RecursionError):
        raise ConfigError(
            f"{folder}: has no readable {LIST}, so omr does not know which of the files it wrote; "
            "remove the folder yourself, or choose another one"
        ) from None


@contextlib.contextmanager
def parts_folder(target: Path, *, inputs: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield the path ``.NAME.parts`` of a folder that several processes fill together.

    Args:
        target: Folder that will be made of the parts; no process creates it during the block.
        inputs: Files and folders that must not be inside ``target``.

    Raises:
        ConfigError: ``target`` cannot be created, or another omr process is writing it.
        OmrError: The disk is full, or the folder cannot be written.
    """
    real = Path(os.path.realpath(target))
    _check_target(target, real, force=True, inputs=inputs)
    with locked_path(target, real, option="OUT", is_shared=True):
        try:
            yield _kept_path(real)
        except OSError as error:
            path, reason = error.filename or target, error.strerror or error
            raise OmrError(f"{path}: {reason}") from error


def take_kept(partial: Path) -> bool:
    """Replace an empty temporary folder by the one that was kept; return whether there is one."""
    kept = _kept_path(partial.with_name(_PARTIAL.sub("", partial.name)[1:]))
    if not kept.is_dir():
        return False
    kept.rename(partial)
    return True


def _kept_path(real: Path) -> Path:
    """Return the name of a temporary folder while no process works on it."""
    return real.with_name(f".{real.name}.parts")


def _keep(partial: Path, real: Path) -> None:
    """Keep a temporary folder, in place of an older one."""
    _remove(_kept_path(real))
    partial.rename(_kept_path(real))


def _remove_or_keep(partial: Path, real: Path) -> None:
    """Remove a temporary folder after a failure, or keep it; it may have been renamed."""
    with contextlib.suppress(OSError):
        if has_finished(partial):
            _keep(partial, real)
    shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def _partial(real: Path) -> Iterator[Path]:
    """Create a temporary folder, and remove or keep it unless it was renamed."""
    # No name is reused, because worker processes may outlive a killed process by a second.
    partial = real.with_name(f".{real.name}.partial-{secrets.token_hex(4)}")
    partial.mkdir()
    with contextlib.ExitStack() as stack:  # undone in reverse order
        stack.callback(_remove_or_keep, partial, real)
        for _ in range(SPARE_FILES):
            stack.callback(os.close, os.open(real.parent, os.O_RDONLY))
        yield partial


def _aside(real: Path) -> Path:
    """Return the name that an old folder has while it is replaced."""
    return real.with_name(f".{real.name}.replaced")


def _clean_up_killed(real: Path) -> None:
    """Restore an old folder that a killed process set aside; remove or keep temporary folders."""
    _put_back(real)
    _remove(_aside(real))
    leftover = re.compile(rf"\.{re.escape(real.name)}{_PARTIAL.pattern}")
    for path in [*real.parent.iterdir()]:
        if leftover.fullmatch(path.name):
            _keep(path, real) if has_finished(path) else _remove(path)


def _swap(partial: Path, real: Path, before: Contents, target: Path) -> None:
    """Set the old folder aside and rename the new one; nothing is replaced that was not checked.

    Args:
        partial: New folder.
        real: Final path of the new folder.
        before: Contents of the old folder when it was checked.
        target: Path for error messages.

    Raises:
        OmrError: The final path is occupied; the new folder got another name.
    """
    try:
        if not before.is_empty and real.exists():
            real.rename(_aside(real))
            if new := before.added(_aside(real)):
                raise _kept(partial, real, target, f"{CHANGED} ({new})")
        partial.rename(real)
    except OSError as error:
        problem = CREATED if error.errno in OCCUPIED else f"{error.strerror}"
        raise _kept(partial, real, target, problem) from error
    finally:
        _put_back(real)


def _kept(partial: Path, real: Path, target: Path, problem: str) -> OmrError:
    """Give a new folder another name, and return the error that reports the name."""
    names = (f"{real.name}.new{number or ''}" for number in count())
    kept = next(path for path in map(real.with_name, names) if not os.path.lexists(path))
    partial.rename(kept)
    _remove_records(kept)
    return OmrError(f"{target}: {problem}, so it was not replaced; the result is in {kept}")


def _put_back(real: Path) -> None:
    """Give the old folder its name again, unless there is a new one."""
    if _aside(real).exists() and not os.path.lexists(real):
        _aside(real).rename(real)


def _remove_old(aside: Path, target: Path) -> None:
    """Remove the old folder once it was replaced."""
    try:
        _remove(aside)
    except (OSError, KeyboardInterrupt) as error:
        kind = OmrError if isinstance(error, OSError) else KeyboardInterrupt
        raise kind(
            f"{aside}: the old folder could not be removed; {target} is complete, remove the old "
            "one yourself"
        ) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
