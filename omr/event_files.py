"""Reader of TensorBoard event files, which reports how much of a file is intact."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from class_maps import InputError, MissingExtraError
from eval.html.number_format import counted
from omr.event_records import Record, intact_records, verified_record

PATTERN = "*tfevents*"
"""Names of event files, as TensorBoard recognises them."""
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
    n_records: int
    """Intact records."""
    skipped: tuple[tuple[int, int], ...]
    """First byte and end of each part that is damaged or incomplete."""
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
    def read_bytes(self) -> int:
        """Bytes of the intact records."""
        return self.size - sum(end - start for start, end in self.skipped)

    @property
    def damage(self) -> str:
        """Description of what could not be read; empty if the file is intact."""
        if not self.skipped:
            return ""
        n_skipped = counted(self.size - self.read_bytes, "byte was", "bytes were")
        places = f" in {len(self.skipped)} places" if len(self.skipped) > 1 else ""
        until = "" if self.last_step is None else f", up to step {self.last_step:,}"
        return (
            f"{self.path}: damaged or incomplete after {self.skipped[0][0]:,} of {self.size:,} "
            f"bytes; {n_skipped} skipped{places}, and {self.read_bytes / self.size:.1%} could be "
            f"read{until}"
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

    n_records: int = 0
    position: int = 0
    skipped: list[tuple[int, int]] = field(default_factory=list)
    first_steps: dict[str, int] = field(default_factory=dict)
    last_step: int | None = None
    restart: int | None = None

    def add(self, record: Record) -> None:
        """Count a record.

        Raises:
            DecodeError: It is not an event, or the first one is not a version.
        """
        from google.protobuf.message import DecodeError
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        event = Event.FromString(record.data)
        if not self.n_records and not event.file_version.startswith(VERSION):
            raise DecodeError
        self.n_records += 1
        self.reach(record.start)
        self.position = record.end
        step = int(event.step)
        if event.session_log.status == SessionLog.START:
            self.restart = step if self.restart is None else min(self.restart, step)
        for value in event.summary.value:
            if not value.tag.startswith(HYPERPARAMETERS):
                self.first_steps[value.tag] = min(self.first_steps.get(value.tag, step), step)
                self.last_step = step if self.last_step is None else max(self.last_step, step)

    def reach(self, position: int) -> None:
        """Skip the bytes before a position."""
        if position > self.position:
            self.skipped.append((self.position, position))


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
        InputError: The folder contains no event files.
    """
    if not run.is_dir():
        return [run]
    if files := sorted(path for path in run.glob(PATTERN) if path.is_file()):
        return files
    inner = sorted({str(path.parent) for path in run.glob(f"*/{PATTERN}")})
    remedy = f"; did you mean {inner[0]}?" if inner else ""
    raise InputError(f"contains no event files of TensorBoard ({PATTERN}){remedy}", path=run)


def read_event_file(path: Path) -> EventFile:
    """Read the intact records of an event file.

    Args:
        path: Event file.

    Raises:
        InputError: The file is empty or is not an event file.
    """
    from google.protobuf.message import DecodeError

    tally, size = _Tally(), path.stat().st_size
    if not size:
        raise InputError("the file is empty; remove it, or restore it", path=path)
    try:
        for record in intact_records(path, size):
            tally.add(record)
    except DecodeError:
        tally.n_records = 0
    if not tally.n_records:
        raise InputError("not an event file of TensorBoard, or its start is damaged", path=path)
    tally.reach(size)
    return EventFile(
        path=path,
        size=size,
        n_records=tally.n_records,
        skipped=tuple(tally.skipped),
        first_steps=tally.first_steps,
        last_step=tally.last_step,
        restart=tally.restart,
    )


def raw_events(file: EventFile) -> Iterator[bytes]:
    """Yield the data of the intact records of a file whose checksums have been verified.

    Args:
        file: File that :func:`read_event_file` has read.
    """
    ends, position = dict(file.skipped), 0
    with file.path.open("rb") as stream:
        for _ in range(file.n_records):
            record = verified_record(stream, ends.get(position, position))
            yield record.data
            position = record.end
