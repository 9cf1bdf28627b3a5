"""Overwrite protection: checks whether output files and folders may be written.

Every command calls these checks before its work starts, so that no time is wasted if the output is
refused.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from class_maps import ConfigError


def check_folder(
    folder: Path,
    *,
    marker: str,
    force: bool,
    inputs: Iterable[Path] = (),
    resumable: bool = False,
) -> None:
    """Check that an output folder is free, or may be replaced.

    Args:
        folder: Output folder; missing and empty folders are always accepted.
        marker: Name of the file that identifies folders created by the calling command. No other
            folder is ever replaced.
        force: Whether the user allows replacing an existing folder.
        inputs: Files and folders that are still needed and therefore must not be inside ``folder``;
            paths that do not exist are ignored.
        resumable: Whether the error message mentions ``--resume``.

    Raises:
        ConfigError: The folder must not be replaced, or cannot be read.
    """
    try:
        if is_free(folder):
            return
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from error
    if not force:
        choices = "--force to replace it, or --resume to continue" if resumable else ""
        raise ConfigError(
            f"{folder}: already exists; choose another folder, "
            f"{choices or 'or use --force to replace it'}"
        )
    if not (folder / marker).is_file():
        raise ConfigError(
            f"{folder}: contains no {marker}, so omr did not create it and will not replace it; "
            "choose another folder"
        )
    for path in inputs:
        if path.exists() and is_inside(path, folder):
            raise ConfigError(
                f"{path}: is inside {folder}, which would be replaced; choose another output folder"
            )


def check_files(
    *files: Path, force: bool, inputs: Iterable[Path] = (), exclusive: bool = False
) -> None:
    """Check that output files do not exist yet, or may be replaced.

    Args:
        files: Output files, all in one folder.
        force: Whether the user allows replacing existing files.
        inputs: Files that are never replaced because they are read.
        exclusive: Refuse a folder that contains other files.

    Raises:
        ConfigError: A file must not be replaced, or the folder contains other files.
    """
    folder, existing = files[0].parent, [file for file in files if file.exists()]
    for path in inputs:
        if path.exists() and any(file.samefile(path) for file in existing):
            raise ConfigError(f"{path}: is an input and will not be replaced; choose another file")
    if exclusive and not is_free(folder):
        names = [file.name for file in files]
        if not folder.is_dir() or any(entry.name not in names for entry in folder.iterdir()):
            raise ConfigError(
                f"{folder}: contains files other than {' and '.join(names)}; choose another folder"
            )
    if existing and not force:
        raise ConfigError(_existing_message(folder, files, existing))


def _existing_message(folder: Path, files: Sequence[Path], existing: Sequence[Path]) -> str:
    if len(files) == 1:
        return f"{files[0]}: already exists; choose another file, or use --force to replace it"
    names = " and ".join(file.name for file in existing)
    return (
        f"{folder}: already contains {names}; choose another folder, or use --force to replace them"
    )


def is_free(folder: Path) -> bool:
    """Check whether a folder does not exist or is empty, so that writing it destroys nothing."""
    if folder.is_dir():
        return not any(folder.iterdir())
    return not folder.exists() and not folder.is_symlink()


def is_inside(path: Path, folder: Path) -> bool:
    """Check whether ``path`` is ``folder`` or inside it, and would be replaced with it."""
    return path.resolve().is_relative_to(folder.resolve())
