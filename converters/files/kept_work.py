"""Finished work in an incomplete folder, with which a repeated command continues."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from converters.tracking import Say

RECORDS = ".omr-parts"
"""Folder of the records in an incomplete folder; it is removed before the folder is complete."""
DONE = ".done"
"""End of the names of records; the first one is written when something is finished."""


def has_finished(folder: Path) -> bool:
    """Check whether a folder contains a record of finished work."""
    return any((folder / RECORDS).glob(f"*{DONE}"))


def make_records_folder(folder: Path) -> None:
    """Create the folder of records."""
    (folder / RECORDS).mkdir(parents=True, exist_ok=True)


def remove_records(folder: Path) -> None:
    """Remove the folder of records, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder / RECORDS)


@contextlib.contextmanager
def said_if_kept(folder: Path, target: Path, units: str, say: Say) -> Iterator[None]:
    """Say after a failure that finished work is kept.

    Args:
        folder: Incomplete folder.
        target: Its final path, as the user gave it.
        units: What was finished, such as ``pages``.
        say: Receives the line.
    """
    try:
        yield
    except BaseException:
        if has_finished(folder):
            say(
                f"finished {units} are kept; the same command with OUT {target} continues with them"
            )
        raise
