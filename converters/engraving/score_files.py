"""Search of a folder for music files, with a reason for each file that is skipped."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from class_maps import InputError

SUFFIXES = (".krn", ".mei", ".musicxml", ".mxl", ".xml")
"""File types: Humdrum, MEI, and MusicXML with or without compression."""


@dataclass(kw_only=True, slots=True)
class ScoreFiles:
    """Music files in a folder and its subfolders."""

    folder: Path
    """Folder that names are relative to."""
    files: list[Path] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Reason by name for each file or folder that has the suffix of a score, but is not read."""
    others: Counter[str] = field(default_factory=Counter)
    """Number of files with other suffixes."""


def find(source: Path) -> ScoreFiles:
    """List the music files in a folder, its subfolders and linked folders; a file is listed alone.

    Raises:
        InputError: The path is neither a file nor a folder.
    """
    if source.is_file():
        return ScoreFiles(folder=source.parent, files=[source])
    if not source.is_dir():
        problem = "not a regular file or folder" if source.exists() else "no such file or folder"
        raise InputError(f"{problem} of scores", path=source)
    result = ScoreFiles(folder=source)
    seen: set[tuple[int, int]] = set()
    folders, linked = [source], list[Path]()
    while folders or linked:
        folder = folders.pop() if folders else linked.pop(0)
        try:
            status = folder.stat()
            entries = sorted(folder.iterdir())
        except OSError as error:
            result.skipped[name_of(folder, source)] = f"cannot be listed: {error.strerror}"
            continue
        if (status.st_dev, status.st_ino) in seen:
            result.skipped[name_of(folder, source)] = "links to a folder that is read already"
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            if entry.is_dir():
                (linked if entry.is_symlink() else folders).append(entry)
            _sort_in(entry, result)
    result.files.sort()
    result.skipped = dict(sorted(result.skipped.items()))
    return result


def _sort_in(entry: Path, result: ScoreFiles) -> None:
    suffix = entry.suffix.lower()
    if suffix not in SUFFIXES:
        if not entry.is_dir():
            result.others[suffix or "no suffix"] += 1
    elif reason := _reason_to_skip(entry):
        result.skipped[name_of(entry, result.folder)] = reason
    else:
        result.files.append(entry)


def _reason_to_skip(entry: Path) -> str:
    if entry.is_dir():
        return "a folder; only the scores in it are read"
    if entry.name.startswith("._"):
        return "metadata of macOS, not a score"
    if not entry.exists():
        return "a broken link"
    return "" if entry.is_file() else "not a regular file"


def name_of(path: Path, folder: Path) -> str:
    """Return the name of a file relative to a folder, with bytes that are not UTF-8 replaced."""
    name = path.relative_to(folder).as_posix()
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
