"""Cutting and merging of TensorBoard event files.

Events are copied record by record, so every kind of summary stays as it is: scalars, images,
histograms, text and hyperparameters, with their wall times.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from class_maps import ConfigError, listed
from converters.files.atomic_files import output_files
from converters.files.overwriting import check_files
from omr.event_files import (
    HYPERPARAMETERS,
    EventFile,
    check_tensorboard_reader,
    event_files,
    raw_events,
    read_event_file,
)

OF_STEPS = frozenset({"session_log", "tagged_run_metadata"})
"""Kinds of events without values that belong to a step; others, such as graphs, are always kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Events to keep, by default all."""

    first: int | None = None
    """First step; None for the first of the run."""
    last: int | None = None
    """Last step; None for the last of the run."""
    tags: str = ""
    """Regular expression that matches a part of the tag; empty for all tags."""
    shift: int = 0
    """Number to add to every step."""

    def __post_init__(self) -> None:
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ConfigError(f"is after --to {self.last}", option="--from", value=self.first)
        try:
            re.compile(self.tags)
        except re.error as error:
            reason = f"not a regular expression: {error}"
            raise ConfigError(reason, option="--tags", value=self.tags) from error

    def has_step(self, step: int) -> bool:
        """Return whether a step is kept."""
        is_before = self.first is not None and step < self.first
        return not is_before and (self.last is None or step <= self.last)

    def has_tag(self, tag: str) -> bool:
        """Return whether a tag is kept."""
        return re.search(self.tags, tag) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenEvents:
    """Event file that was written."""

    path: Path
    n_records: int
    sources: tuple[EventFile, ...]
    superseded: tuple[int, ...]
    """Values of each source that a later one replaces."""

    def to_json(self) -> dict[str, Any]:
        """Return nested dicts, lists and numbers."""
        sources = [
            source.to_json() | {"superseded": n}
            for source, n in zip(self.sources, self.superseded, strict=True)
        ]
        return {"path": str(self.path), "records": self.n_records, "sources": sources}


def write_events(
    runs: Sequence[Path],
    out: Path,
    selection: Selection,
    *,
    force: bool,
    track: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> WrittenEvents:
    """Write the selected events of runs as one event file.

    A later file replaces what earlier ones contain from the step on at which it resumes the run.
    If it does not record that step, it replaces, tag by tag, what follows its first value.

    Args:
        runs: Event files, or folders that contain them, earliest first.
        out: Folder of the new file, which gets the name of the first file that is read.
        selection: Steps and tags to keep.
        force: Whether to replace a file of the same name in ``out``.
        track: Wrapper around the files that shows progress.

    Raises:
        ConfigError: Nothing would be kept, a step would be negative, a file is given twice, or
            ``out`` contains files.
        InputError: A folder contains no event files, or a file is not one.
        MissingExtraError: TensorBoard is not installed.
    """
    check_tensorboard_reader()
    paths = [path for run in runs for path in event_files(run)]
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError("a file is given twice; give every run once")
    target = out / paths[0].name
    check_files(target, force=force, inputs=paths, exclusive=True)
    with output_files(target, force=force) as (part,):
        files = [read_event_file(path) for path in track(paths)]
        _check_steps(files, selection)
        _check_tags(files, selection)
        n_records, superseded = _write(part, files, selection)
    return WrittenEvents(
        path=target, n_records=n_records, sources=tuple(files), superseded=tuple(superseded)
    )


def _check_steps(files: Sequence[EventFile], selection: Selection) -> None:
    """Check that steps are kept, and that none becomes negative."""
    firsts = [file.first_step for file in files if file.first_step is not None]
    lasts = [file.last_step for file in files if file.last_step is not None]
    if not firsts:
        return
    first, last = min(firsts), max(lasts)
    reason = f"keeps nothing; the steps are {first:,} to {last:,}"
    if selection.first is not None and selection.first > last:
        raise ConfigError(reason, option="--from", value=selection.first)
    if selection.last is not None and selection.last < first:
        raise ConfigError(reason, option="--to", value=selection.last)
    least = first if selection.first is None else max(first, selection.first)
    if least + selection.shift < 0:
        reason = f"step {least:,} would become negative; expected at least {-least}"
        raise ConfigError(reason, option="--shift", value=selection.shift)


def _check_tags(files: Sequence[EventFile], selection: Selection) -> None:
    tags = sorted({tag for file in files for tag in file.first_steps})
    if tags and not any(map(selection.has_tag, tags)):
        reason = f"matches no tag; the files contain {listed(tags)}"
        raise ConfigError(reason, option="--tags", value=selection.tags)


def _write(part: Path, files: Sequence[EventFile], selection: Selection) -> tuple[int, list[int]]:
    """Write the selected records; return their number, and the replaced values of each file."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    n_records, superseded, descriptions = 0, [], _Descriptions()
    with part.open("wb") as stream:
        writer = RecordWriter(stream)
        for i, file in enumerate(files):
            events = raw_events(file)
            version = next(events)  # the new file needs it once
            chooser = _Chooser(selection=selection, later=files[i + 1 :], descriptions=descriptions)
            kept = chain([version] if i == 0 else [], filter(None, map(chooser.kept, events)))
            for raw in kept:
                writer.write(raw)
                n_records += 1
            superseded.append(chooser.n_superseded)
    return n_records, superseded


@dataclass(kw_only=True, slots=True)
class _Descriptions:
    """Descriptions of tags, which some writers store only with the first value of a tag."""

    by_tag: dict[str, Any] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    """Tags with a value in the new file."""

    def learn(self, value: Any) -> None:  # noqa: ANN401
        """Store the description of a value if it is the first of its tag."""
        if value.HasField("metadata"):
            self.by_tag.setdefault(value.tag, value.metadata)

    def complete(self, value: Any) -> bool:  # noqa: ANN401
        """Describe the first value that is written of a tag; return whether it has changed."""
        is_first = value.tag not in self.written
        self.written.add(value.tag)
        if not is_first or value.HasField("metadata") or value.tag not in self.by_tag:
            return False
        value.metadata.CopyFrom(self.by_tag[value.tag])
        return True


@dataclass(kw_only=True, slots=True)
class _Chooser:
    """Chooses the events of a file that are written."""

    selection: Selection
    later: Sequence[EventFile]
    """Files that follow."""
    descriptions: _Descriptions
    n_superseded: int = 0
    """Values that were dropped because a later file replaces them."""

    def kept(self, raw: bytes) -> bytes | None:
        """Return the selected part of an event; unchanged bytes if that is all of it."""
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event.FromString(raw)
        kind = event.WhichOneof("what")
        if kind == "summary":
            return self._kept_values(event, raw)
        if kind not in OF_STEPS:
            return raw
        return self._moved(event, raw) if self.selection.has_step(event.step) else None

    def _kept_values(self, event: Any, raw: bytes) -> bytes | None:  # noqa: ANN401
        values = event.summary.value
        is_kept = []
        for value in values:
            self.descriptions.learn(value)
            is_kept.append(self._keeps(value.tag, event.step))
        if values and not any(is_kept):
            return None
        for i in reversed(range(len(is_kept))):
            if not is_kept[i]:
                del values[i]
        is_completed = [self.descriptions.complete(value) for value in values]
        if not all(is_kept) or any(is_completed):
            raw = bytes(event.SerializeToString())
        if all(value.tag.startswith(HYPERPARAMETERS) for value in values):
            return raw
        return self._moved(event, raw)

    def _keeps(self, tag: str, step: int) -> bool:
        """Return whether a value is kept; hyperparameters always are."""
        if tag.startswith(HYPERPARAMETERS):
            return True
        if not (self.selection.has_step(step) and self.selection.has_tag(tag)):
            return False
        is_superseded = any(_replaces(file, tag, step) for file in self.later)
        self.n_superseded += is_superseded
        return not is_superseded

    def _moved(self, event: Any, raw: bytes) -> bytes:  # noqa: ANN401
        if not self.selection.shift:
            return raw
        event.step += self.selection.shift
        return bytes(event.SerializeToString())


def _replaces(file: EventFile, tag: str, step: int) -> bool:
    """Return whether a file contains a run that was resumed at or before a step."""
    if file.restart is not None:
        return step >= file.restart
    return tag in file.first_steps and step >= file.first_steps[tag]
