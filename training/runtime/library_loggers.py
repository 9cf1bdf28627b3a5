"""Silencing of libraries while a command prints its own progress or summary."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ultralytics.utils import LOGGER


@contextmanager
def quiet(log: logging.Logger = LOGGER, level: int = logging.WARNING) -> Iterator[None]:
    """Suppress the messages of a logger below a level, and repetitions of the others.

    Ultralytics shows no progress bar while its own logger is quiet.

    Args:
        log: Logger to silence; Ultralytics' by default.
        level: Lowest level that is still logged; a logger with a higher level keeps it.
    """
    before, first_time = log.level, _FirstTime()
    log.setLevel(max(before, level))
    log.addFilter(first_time)
    try:
        yield
    finally:
        log.removeFilter(first_time)
        log.setLevel(before)


@contextmanager
def muted_stderr() -> Iterator[None]:
    """Suppress output that libraries in C++ write, such as torch's profiler at start and stop."""
    stderr = os.dup(2)
    with open(os.devnull, "wb") as null:  # noqa: PTH123
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


class _FirstTime(logging.Filter):
    """Filter that drops messages that were logged before."""

    def __init__(self) -> None:
        super().__init__()
        self._messages: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the message is new."""
        message = record.getMessage()
        is_new = message not in self._messages
        self._messages.add(message)
        return is_new
