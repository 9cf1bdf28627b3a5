"""Logs of libraries, which say what a command says better itself."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ultralytics.utils import LOGGER


@contextmanager
def quiet(log: logging.Logger = LOGGER, level: int = logging.WARNING) -> Iterator[None]:
    """Keep a log from what is less than a level.

    Args:
        log: Ultralytics' says what it builds.
        level: Of what is still said.
    """
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)
