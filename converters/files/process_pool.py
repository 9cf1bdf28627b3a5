"""Runs functions in worker processes, in order and in batches.

The processes are started once and stay for the next call; they begin on their own, without what
this process has in memory, so that no lock is copied while a thread holds it.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import islice
from typing import Any, TypeVar

from class_maps import OmrError

T = TypeVar("T")
R = TypeVar("R")

BATCH = 64
"""Items in memory together, for each worker."""
IDLE_S = 60
"""Seconds after which processes without work end. With loky's 10 a busy machine often lets them end
just when the next work comes."""
PARENT_CHECK_S = 1.0
"""Seconds until a worker notices that it has been left alone."""


def warm_up(workers: int, module: str) -> None:
    """Start the processes and let them import ``module`` while this one does something else."""
    if workers > 1:
        for _ in range(workers):
            _executor(workers).submit(import_module, module)


def in_order(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Yield ``function(item)`` of each item, as the built-in ``map`` does.

    A batch of items is complete before it is sent, so that an error of the iterable comes up in
    this process. A handful of items is not worth a second process.

    Raises:
        OmrError: A worker was killed.
    """
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    iterator = iter(items)
    batch = list(islice(iterator, BATCH * workers))
    if workers == 1 or len(batch) <= workers:
        yield from map(function, batch)
        yield from map(function, iterator)
        return
    try:
        while batch:
            yield from _executor(workers).map(function, batch)
            batch = list(islice(iterator, BATCH * workers))
    except TerminatedWorkerError as error:
        raise OmrError(
            "a worker process was killed, perhaps for want of memory; try fewer --workers"
        ) from error


def _executor(workers: int) -> Any:  # noqa: ANN401
    from joblib.externals.loky import get_reusable_executor

    return get_reusable_executor(max_workers=workers, timeout=IDLE_S, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Let this worker end when the process that started it is killed; loky's would stay."""

    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()
