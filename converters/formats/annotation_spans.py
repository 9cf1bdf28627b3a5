"""Positions of the annotations in large JSON files, shared by the jobs of a conversion.

They are at the end of a gigabyte of text, or before its images: without their position, all of it
has to be read to find the images.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from class_maps import ConfigError
from converters.files.atomic_files import atomic_file
from converters.files.hashes import state
from converters.files.output_lock import locked_path


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive pages of a file, and where their annotations are."""

    first: int
    """Index of the first page."""
    stop: int
    """Index behind the last page."""
    n_annotations: int
    ranges: tuple[tuple[int, int], ...]
    """Start and stop in bytes of complete annotations, in the order of the file."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Position of the annotations in a file."""

    size: int
    """Size of the file in bytes."""
    modified_ns: int
    """Modification time of the file in nanoseconds."""
    start: int
    """Byte offset of the first byte of the annotations."""
    stop: int
    """Byte offset behind their last byte."""
    batches: tuple[Batch, ...] | None = None
    """All pages; empty if the file has to be read as a whole, None if this is not known."""


@dataclass(kw_only=True, slots=True)
class _Spans:
    """Spans by the absolute path of their file."""

    known: dict[str, Span] = field(default_factory=dict)
    has_new: bool = False


_spans: ContextVar[_Spans | None] = ContextVar("spans", default=None)


@contextmanager
def shared_spans(index: Path) -> Iterator[None]:
    """Use the spans in an index during the block, and add those of the files that it lacks.

    Args:
        index: File of the spans, written when the block ends, unless another process is writing it.
    """
    spans = _Spans()
    with suppress(OSError, msgspec.DecodeError):  # missing or damaged: files are read completely
        spans.known = msgspec.json.decode(index.read_bytes(), type=dict[str, Span])
    token = _spans.set(spans)
    try:
        yield
    finally:
        _spans.reset(token)
    if spans.has_new:
        with suppress(ConfigError), locked_path(index, index), atomic_file(index) as part:
            part.write_bytes(msgspec.json.encode(spans.known))


def known_span(path: Path) -> Span | None:
    """Return the span of the annotations in a file; None if it is not known."""
    spans = _spans.get()
    span = spans.known.get(str(path.absolute())) if spans else None
    return span if span and is_of(span, path) else None


def remember_span(path: Path, span: Span) -> None:
    """Add the annotations of a file to the index in use, if there is one."""
    spans = _spans.get()
    if spans is not None and is_of(span, path):
        spans.known[str(path.absolute())] = span
        spans.has_new = True


def is_of(span: Span, path: Path) -> bool:
    """Check that a file has not changed since its span was found."""
    return state(path) == (span.size, span.modified_ns)
