"""Records of TensorBoard event files, each with checksums, so that intact ones follow damage.

A record is its length, a checksum of the length, the data, and a checksum of the data, see
https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LENGTH_BYTES, CHECKSUM_BYTES = 8, 4
HEADER_BYTES = LENGTH_BYTES + CHECKSUM_BYTES
FRAME_BYTES = HEADER_BYTES + CHECKSUM_BYTES
"""Bytes of a record around its data."""
POSSIBLE_HEADER = re.compile(rb"(?=(?!\0{4}).{4}\0{4}.{4})", re.DOTALL)
"""Start of a length from 1 byte to 4 GiB; events are smaller than 2 GiB, and never empty."""
SCAN_BYTES = 1 << 20
"""Bytes that are searched at a time for the next record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """Intact record."""

    start: int
    """Position in the file, in bytes."""
    data: bytes

    @property
    def end(self) -> int:
        """Position of the next record, in bytes."""
        return self.start + FRAME_BYTES + len(self.data)


def intact_records(path: Path, size: int) -> Iterator[Record]:
    """Yield the records of a file whose checksums are right; all other bytes are damaged.

    Args:
        path: File; without an intact record at its start, nothing is yielded.
        size: Bytes of the file to read.
    """
    with path.open("rb") as stream:
        record = _record_at(stream, 0, size)
        while record:
            yield record
            end = record.end
            record = _record_at(stream, end, size) or _next_record(stream, end, size)


def verified_record(stream: IO[bytes], start: int) -> Record:
    """Read a record that :func:`intact_records` has yielded.

    Args:
        stream: Event file.
        start: Position of the record.
    """
    stream.seek(start)
    length = int.from_bytes(stream.read(HEADER_BYTES)[:LENGTH_BYTES], "little")
    return Record(start=start, data=stream.read(length))


def _record_at(stream: IO[bytes], start: int, size: int) -> Record | None:
    """Return the record at a position; None if it is damaged or incomplete."""
    end = _end_of(stream, start, size)
    if end is None:
        return None
    content = stream.read(end - start - HEADER_BYTES)
    data, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    return Record(start=start, data=data) if _matches(data, checksum) else None


def _end_of(stream: IO[bytes], start: int, size: float) -> int | None:
    """Return where the record at a position ends; None if its length is damaged or too large."""
    stream.seek(start)
    header = stream.read(HEADER_BYTES)
    length = header[:LENGTH_BYTES]
    end = start + FRAME_BYTES + int.from_bytes(length, "little")
    return end if end <= size and _matches(length, header[LENGTH_BYTES:]) else None


def _next_record(stream: IO[bytes], position: int, size: int) -> Record | None:
    """Return the first intact record after the damaged one at a position; None without one.

    A search could find a record in the data of another one, such as an event file in a text.
    Therefore the length of the damaged record is used if the next record begins there, or if the
    file ends within it: the rest of the file belongs to a record whose writer was killed. If bytes
    were lost instead, fewer bytes of intact records follow than were lost.
    """
    end = _end_of(stream, position, math.inf)
    if end is not None and end >= size:
        return None
    if end is not None and (record := _record_at(stream, end, size)):
        return record
    position += 1
    while position + FRAME_BYTES <= size:
        stream.seek(position)
        block = stream.read(SCAN_BYTES)
        for match in POSSIBLE_HEADER.finditer(block):
            if record := _record_at(stream, position + match.start(), size):
                return record
        position += max(len(block) - HEADER_BYTES, 0) + 1
    return None


def _matches(content: bytes, checksum: bytes) -> bool:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    return len(checksum) == CHECKSUM_BYTES and masked_crc32c(content) == int.from_bytes(
        checksum, "little"
    )
