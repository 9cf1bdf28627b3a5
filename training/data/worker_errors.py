"""Errors raised in the worker processes of a data loader."""

import contextlib
import re
from collections.abc import Iterator

from class_maps import OmrError

USER_ERROR = re.compile(
    r"Caught (InputError|OmrError) in .*\n.*(?:InputError|OmrError): (.*)\Z", re.S
)
"""Message of a user error that torch re-raises: its type, a traceback, and the original message."""


@contextlib.contextmanager
def without_worker_traceback() -> Iterator[None]:
    """Re-raise a user error of a worker process without its traceback, as a one-line message.

    Raises:
        OmrError: An image cannot be used.
    """
    try:
        yield
    except (RuntimeError, OmrError) as error:
        if match := USER_ERROR.match(str(error).rstrip()):
            raise OmrError(match[2]) from None
        raise
