"""What every reader does with a damaged file: it succeeds, or raises an OmrError of one line."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from class_maps import OmrError, one_line

ALLOWED_S = 10.0
"""Processor time that a single file may take."""


class Fuzzed(Protocol):
    """Reader of damaged files."""

    @property
    def name(self) -> str: ...

    def seeds(self) -> Iterator[bytes]: ...

    def run(self, data: bytes, folder: Path) -> None: ...


def check(target: Fuzzed, data: bytes, folder: Path) -> None:
    begin = time.process_time()
    message = ""
    try:
        target.run(data, folder)
    except OmrError as error:
        message = str(error)
    assert message == one_line(message)
    assert time.process_time() - begin < ALLOWED_S
