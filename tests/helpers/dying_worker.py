"""Kills a worker of Dask in the middle of its first part; a preload module of workers."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARKER = "DYING_WORKER"
"""Environment variable with the path of a file; the worker that creates it dies."""


def dask_setup(_worker: object) -> None:
    """Replace the function that makes parts."""
    from converters.parts import making

    original = making.make_part

    def make_part(*arguments: Any) -> Iterator[Any]:  # noqa: ANN401
        for page in original(*arguments):
            try:
                Path(os.environ[MARKER]).touch(exist_ok=False)
            except FileExistsError:
                yield page
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    making.make_part = make_part  # type: ignore[assignment]
