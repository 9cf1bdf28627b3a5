"""Output file that the user need not ask for, such as a report next to the printed result."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from class_maps import ConfigError
from converters.files.atomic_files import output_files
from converters.files.overwriting import check_files


def check_output(file: Path, option: str, *, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Check that an output file can be written, and is not a file that the command reads.

    Args:
        file: File to write.
        option: Option that names the file.
        force: Whether to replace an existing file.
        inputs: Files that are never replaced because they are read.

    Raises:
        ConfigError: The file must not be written, or its folder does not exist.
    """
    if not file.parent.is_dir():
        raise ConfigError(f"{file.parent}: no such folder; create it, or choose another {option}")
    check_files(file, force=force, inputs=inputs)


@contextmanager
def optional_output(file: Path | None, *, force: bool) -> Iterator[Path | None]:
    """Lock an output file during the work, and yield the path to write to; None without a file.

    Args:
        file: File to write; None for none.
        force: Whether to replace an existing file.

    Raises:
        ConfigError: The file cannot be written, or another omr process is writing it.
    """
    if file is None:
        yield None
        return
    with output_files(file, force=force) as (part,):
        yield part
