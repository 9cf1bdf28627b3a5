"""Errors that occur in the processes of a loader."""

import contextlib
import re
from collections.abc import Iterator

from class_maps import OmrError

USER_ERROR = re.compile(
    r"Caught (InputError|OmrError) in .*\n.*(?:InputError|OmrError): (.*)\Z", re.S
)
"""Message that torch makes of a user's error: its type, a traceback, and the original message."""


@contextlib.contextmanager
def without_worker_traceback() -> Iterator[None]:
    """Raise a user's error of a loader process as it is raised in this process: in one line.

    Raises:
        OmrError: An image cannot be used.
    """
    try:
        yield
    except (RuntimeError, OmrError) as error:
        if match := USER_ERROR.match(str(error).rstrip()):
            raise OmrError(match[2]) from None
        raise
