"""Names below a folder, in order and compared, in bounded memory however many there are."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from heapq import merge
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

CHUNK = 50_000
"""Lines that are sorted in memory; more are merged from unnamed temporary files."""


def entries_below(folder: Path | str, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the files and folders in a folder and its subfolders, in no order.

    Args:
        folder: Folder to list; one that does not exist has no entries. Links are not followed.
        prefix: Start of the names, which are relative to the folder.

    Raises:
        OSError: A folder cannot be read.
    """
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            yield prefix + entry.name, entry
            if entry.is_dir(follow_symlinks=False):
                yield from entries_below(entry.path, f"{prefix}{entry.name}/")


def names_below(folder: Path) -> Iterator[str]:
    """Yield the paths of the files in a folder and its subfolders, in no order."""
    return (name for name, e in entries_below(folder) if not e.is_dir(follow_symlinks=False))


def encoded(value: str | list[object]) -> str:
    """Encode a name, or a name with numbers, as a line of ASCII."""
    return json.dumps(value)


def in_order(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines of ASCII in order.

    Raises:
        OSError: A temporary file cannot be written.
    """
    iterator = iter(lines)
    with ExitStack() as stack:
        chunks: list[Iterable[str]] = []
        while chunk := sorted(islice(iterator, CHUNK)):
            chunks.append(chunk if len(chunk) < CHUNK else _on_disk(chunk, stack))
        yield from merge(*chunks)


def _on_disk(lines: Iterable[str], stack: ExitStack) -> Iterator[str]:
    """Write lines to a temporary file, and return an iterator that reads them."""
    file: IO[str] = stack.enter_context(TemporaryFile("w+", encoding="ascii"))  # noqa: SIM115
    file.writelines(f"{line}\n" for line in lines)
    file.seek(0)
    return (line.removesuffix("\n") for line in file)


def only_in_first(first: Iterable[str], second: Iterable[str]) -> Iterator[str]:
    """Yield the lines of one ordered sequence that another one does not have."""
    others = iter(second)
    other = next(others, None)
    for line in first:
        while other is not None and other < line:
            other = next(others, None)
        if other != line:
            yield line
