"""Reader of TensorBoard event files, which reports how much of a file is intact."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from class_maps import InputError, MissingExtraError

PATTERN = "*tfevents*"
"""Names of event files, as TensorBoard recognises them."""
HEADER_BYTES, FOOTER_BYTES = 12, 4
"""Bytes around the data of a record: its length with a checksum, and the checksum of the data."""
VERSION = "brain.Event:"
"""Start of the version in the first record of every event file."""
HYPERPARAMETERS = "_hparams_/"
"""Start of the tags of hyperparameters, which belong to a run, not to a step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFile:
    """Event file, as far as it can be read."""

    path: Path
    size: int
    """Bytes of the file."""
    read_bytes: int
    """Bytes before the first damaged or incomplete record."""
    n_records: int
    """Intact records before it."""
    first_steps: Mapping[str, int]
    """First step of each tag."""
    last_step: int | None
    """Highest step with a value; None without values."""
    restart: int | None
    """Step from which on a resumed run discards what it wrote before; None if it does not."""

    @property
    def first_step(self) -> int | None:
        """Lowest step with a value; None without values."""
        return min(self.first_steps.values(), default=None)

    @property
    def damage(self) -> str:
        """Description of what could not be read; empty if the file is intact."""
        if self.read_bytes == self.size:
            return ""
        until = "" if self.last_step is None else f", up to step {self.last_step:,}"
        return (
            f"{self.path}: damaged or incomplete after {self.read_bytes:,} of {self.size:,} bytes; "
            f"{self.read_bytes / self.size:.1%} could be read{until}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return lists and numbers."""
        return {
            "path": str(self.path),
            "bytes": self.size,
            "read_bytes": self.read_bytes,
            "records": self.n_records,
            "first_step": self.first_step,
            "last_step": self.last_step,
            "tags": sorted(self.first_steps),
        }


@dataclass(kw_only=True, slots=True)
class _Tally:
    """Counts of the records of a file."""

    read_bytes: int = 0
    n_records: int = 0
    first_steps: dict[str, int] = field(default_factory=dict)
    last_step: int | None = None
    restart: int | None = None

    def add(self, raw: bytes) -> None:
        """Count a record.

        Raises:
            DecodeError: It is not an event, or the first one is not a version.
        """
        from google.protobuf.message import DecodeError
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        event = Event.FromString(raw)
        if not self.n_records and not event.file_version.startswith(VERSION):
            raise DecodeError
        self.n_records += 1
        self.read_bytes += HEADER_BYTES + len(raw) + FOOTER_BYTES
        step = int(event.step)
        if event.session_log.status == SessionLog.START:
            self.restart = step if self.restart is None else min(self.restart, step)
        for value in event.summary.value:
            if not value.tag.startswith(HYPERPARAMETERS):
                self.first_steps[value.tag] = min(self.first_steps.get(value.tag, step), step)
                self.last_step = step if self.last_step is None else max(self.last_step, step)


def check_tensorboard_reader() -> None:
    """Check that TensorBoard is installed, without importing torch.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "omr log needs tensorboard: pip install 'omr-toolkit[log]'"
        ) from error


def event_files(run: Path) -> list[Path]:
    """Return the event files of a run, earliest first: their names begin with the time.

    Args:
        run: Event file, or a folder that contains event files.

    Raises:
        InputError: There are none.
    """
    if not run.is_dir():
        return [run]
    if files := sorted(path for path in run.glob(PATTERN) if path.is_file()):
        return files
    inner = sorted({str(path.parent) for path in run.glob(f"*/{PATTERN}")})
    remedy = f"; did you mean {inner[0]}?" if inner else ""
    raise InputError(f"contains no event files of TensorBoard ({PATTERN}){remedy}", path=run)


def read_event_file(path: Path) -> EventFile:
    """Read an event file up to the first damaged or incomplete record.

    Args:
        path: Event file.

    Raises:
        InputError: The file is empty or is not an event file.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    tally, size = _Tally(), path.stat().st_size
    if not size:
        raise InputError("the file is empty; remove it, or restore it", path=path)
    try:
        for raw in RawEventFileLoader(str(path)).Load():  # stops at a damaged record
            tally.add(raw)
    except DecodeError:
        tally.n_records = 0
    if not tally.n_records:
        raise InputError("not an event file of TensorBoard, or its start is damaged", path=path)
    return EventFile(
        path=path,
        size=size,
        read_bytes=tally.read_bytes,
        n_records=tally.n_records,
        first_steps=tally.first_steps,
        last_step=tally.last_step,
        restart=tally.restart,
    )


def raw_events(file: EventFile) -> Iterator[bytes]:
    """Yield the data of the intact records of a file whose checksums have been verified.

    Args:
        file: File that :func:`read_event_file` has read.
    """
    with file.path.open("rb") as stream:
        for _ in range(file.n_records):
            length = int.from_bytes(stream.read(HEADER_BYTES)[:8], "little")
            yield stream.read(length)
            stream.seek(FOOTER_BYTES, 1)
