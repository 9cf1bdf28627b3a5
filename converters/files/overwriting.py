"""Overwrite protection: checks whether output files and folders may be written.

Every command calls these checks before its work starts, so that no time is wasted if the output is
refused.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from tempfile import SpooledTemporaryFile

from class_maps import ConfigError, short_list
from converters.files.output_lock import LOCK, check_unlocked
from converters.files.walking import encoded, entries_below, in_order, names_below, only_in_first

BUFFERED_BYTES = 1 << 20
"""Size up to which the contents of a folder are in memory, and not in an unnamed temporary file."""
MOST_NAMES = 3
"""Maximum number of names in a message."""
WORTHLESS = ("*.cache", ".DS_Store", "._*", "Thumbs.db", "desktop.ini")
"""Names of files that operating systems and Ultralytics put into folders and can create again."""


def check_folder(
    folder: Path,
    *,
    marker: str,
    others: Callable[[Path], Iterable[str]],
    force: bool,
    is_marker: Callable[[Path], bool] = Path.is_file,
    inputs: Iterable[Path] = (),
    resumable: bool = False,
) -> None:
    """Check that an output folder is free, or may be replaced.

    Args:
        folder: Output folder; missing and empty folders are always accepted.
        marker: Name of the file that identifies folders created by the calling command. No other
            folder is ever replaced.
        others: Returns the files in a folder that omr did not write, by their paths relative to
            it. A folder that contains such a file is not replaced.
        force: Whether the user allows replacing an existing folder.
        is_marker: Checks whether omr wrote a marker; other programs may use the same name.
        inputs: Files and folders that are still needed and therefore must not be inside ``folder``;
            paths that do not exist are ignored.
        resumable: Whether the error message mentions ``--resume``.

    Raises:
        ConfigError: The folder must not be replaced, cannot be read, or another omr process is
            writing to an output inside it.
    """
    inputs = tuple(inputs)
    try:
        replaces = not is_free(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from error
    if replaces and not force:
        choices = "--force to replace it, or --resume to continue" if resumable else ""
        raise ConfigError(
            f"{folder}: already exists; choose another folder, "
            f"{choices or 'or use --force to replace it'}"
        )
    if replaces and not is_marker(folder / marker):
        raise _not_created(folder, marker)
    check_inputs(folder, inputs)
    check_unlocked(folder)
    if replaces:
        _check_only(folder, others(folder))


def _not_created(folder: Path, marker: str) -> ConfigError:
    is_other = (folder / marker).exists()
    problem = f"its {marker} is not from omr" if is_other else f"contains no {marker}"
    return ConfigError(
        f"{folder}: {problem}, so omr did not create it and will not replace it; choose another "
        "folder"
    )


def _check_only(folder: Path, others: Iterable[str]) -> None:
    """Check that other files in a folder are :data:`WORTHLESS`, so that nothing is lost with it."""
    if names := sorted(name for name in others if not is_worthless(name)):
        raise ConfigError(
            f"{folder}: contains files that omr did not write ({short_list(names, MOST_NAMES)}), "
            "so it was not replaced; move them, or choose another folder"
        )


def unwritten(folder: Path, is_written: Callable[[str], bool]) -> Iterator[str]:
    """Yield the files in a folder of which a check says that omr did not write them."""
    return (name for name in names_below(folder) if not is_written(name))


def is_worthless(path: str) -> bool:
    """Check whether a file is a lock, or one that other programs create again."""
    return any(fnmatchcase(Path(path).name, pattern) for pattern in (*WORTHLESS, LOCK))


def check_inputs(folder: Path, inputs: Iterable[Path]) -> None:
    """Check that replacing a folder removes no file that is still needed.

    Args:
        folder: Output folder.
        inputs: Files and folders, 100,000 of them in a second; those that do not exist are ignored.

    Raises:
        ConfigError: An input is inside ``folder``, possibly through a link.
    """
    if is_free(folder):
        return
    root, resolved = folder.resolve(), cache(Path.resolve)
    for path in inputs:
        is_plain = path.is_file() and not path.is_symlink()
        real = resolved(path.parent) / path.name if is_plain else path.resolve()
        if real.is_relative_to(root) and path.exists():
            raise ConfigError(
                f"{path}: is inside {folder}, which would be replaced; choose another output folder"
            )


class Contents:
    """The contents of a folder at one time: its files with inodes and times of change, and folders.

    Args:
        folder: Folder, which need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._lines = SpooledTemporaryFile(BUFFERED_BYTES, "w+", encoding="ascii")  # noqa: SIM115
        self._lines.writelines(f"{line}\n" for line in _described(folder))
        self.is_empty = not self._lines.tell()

    def added(self, folder: Path) -> str:
        """List what was added to a folder or changed in it since then; empty if nothing was."""
        self._lines.seek(0)
        before = (line.removesuffix("\n") for line in self._lines)
        new = only_in_first(_described(folder), before)
        names = sorted({json.loads(line)[0] for line in new} - {LOCK})
        return short_list(names, MOST_NAMES)

    def close(self) -> None:
        """Remove the temporary file."""
        self._lines.close()


def _described(folder: Path) -> Iterator[str]:
    """Yield a line for each file and folder in a folder, in order."""
    return in_order(encoded([name, *_state(entry)]) for name, entry in entries_below(folder))


def _state(entry: os.DirEntry[str]) -> tuple[int, int]:
    """Return inode and time of change in nanoseconds of a file; 0 and 0 of a folder."""
    if entry.is_dir(follow_symlinks=False):
        return 0, 0
    stat = entry.stat(follow_symlinks=False)
    return stat.st_ino, stat.st_mtime_ns


def check_files(
    *files: Path, force: bool, inputs: Iterable[Path] = (), exclusive: bool = False
) -> None:
    """Check that output files do not exist yet, or may be replaced.

    Args:
        files: Output files, all in one folder.
        force: Whether the user allows replacing existing files.
        inputs: Input files, which are never replaced.
        exclusive: Refuse a folder that contains other files.

    Raises:
        ConfigError: A file must not be replaced, one of the paths is a folder or a device, or the
            folder contains other files.
    """
    folder, existing = files[0].parent, [file for file in files if file.exists()]
    for file in existing:
        if not file.is_file():
            raise ConfigError(f"{file}: is not a regular file; choose another file")
    for path in inputs:
        if path.exists() and any(file.samefile(path) for file in existing):
            raise ConfigError(f"{path}: is an input and will not be replaced; choose another file")
    if exclusive and not is_free(folder):
        names = [file.name for file in files]
        allowed = {*names, LOCK}
        if not folder.is_dir() or any(entry.name not in allowed for entry in folder.iterdir()):
            raise ConfigError(
                f"{folder}: contains files other than {' and '.join(names)}; choose another folder"
            )
    if existing and not force:
        raise ConfigError(_existing_message(folder, files, existing))


def _existing_message(folder: Path, files: Sequence[Path], existing: Sequence[Path]) -> str:
    if len(files) == 1:
        return f"{files[0]}: already exists; choose another file, or use --force to replace it"
    *others, last = (file.name for file in existing)
    names = f"{', '.join(others)} and {last}" if others else last
    pronoun = "them" if others else "it"
    return (
        f"{folder}: already contains {names}; choose another folder, or use --force to replace "
        f"{pronoun}"
    )


def is_free(folder: Path) -> bool:
    """Check whether a folder does not exist or is empty, so that writing it destroys nothing.

    Links are followed, and a lock does not count as content.
    """
    if folder.is_dir():
        return all(entry.name == LOCK for entry in folder.iterdir())
    return not os.path.lexists(os.path.realpath(folder))


def is_inside(path: Path, folder: Path) -> bool:
    """Check whether ``path`` is ``folder`` or inside it, and would be replaced together with it."""
    return path.resolve().is_relative_to(folder.resolve())
