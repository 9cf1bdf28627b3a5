"""Silencing of library loggers while a command prints its own summary."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ultralytics.utils import LOGGER


@contextmanager
def quiet(log: logging.Logger = LOGGER, level: int = logging.WARNING) -> Iterator[None]:
    """Suppress the messages of a logger below a level.

    Args:
        log: Logger to silence; Ultralytics' by default.
        level: Lowest level that is still logged.
    """
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)
