"""Pool of worker processes that apply a function to items, in order and in batches.

The processes are started once and reused by later calls. They are not forked, because a fork could
copy a lock while a thread holds it.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from itertools import chain, islice
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, TypeVar

from class_maps import OmrError

T = TypeVar("T")
R = TypeVar("R")

BATCH = 64
"""Items per worker that are in memory at the same time."""
IDLE_S = 60
"""Seconds after which idle processes end. With loky's default of 10, they often end on a busy
machine just before new work arrives."""
CHUNK = 100
"""Items that :func:`for_files` sends at a time."""
LEAST_FILES = 4000
"""Number of items from which :func:`for_files` starts processes, which takes about a second."""
PARENT_CHECK_S = 1.0
"""Interval in seconds at which a worker checks that its parent process still exists."""


def warm_up(workers: int, module: str) -> None:
    """Start the processes in the background and let them import ``module``."""
    if workers > 1:
        with _interrupt_held_back():
            for _ in range(workers):
                _executor(workers).submit(import_module, module)


def in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int
) -> Generator[R, None, None]:
    """Yield ``function(item)`` for each item, in order, like the built-in ``map``.

    A batch of items is collected before it is sent, so that errors of the iterable are raised in
    this process. Fewer items than workers are processed without starting any process. After an
    error, or if the iterator is closed before its end, no process is working any more.

    Args:
        function: Function to apply; can be pickled.
        items: Items; can be pickled.
        workers: Number of processes; 1 to use only this one.

    Raises:
        OmrError: A worker process was killed.
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
            in_this_folder = in_current_folder(function)
            with _interrupt_held_back():
                results = _executor(workers).map(in_this_folder, batch)
            yield from results
            batch = list(islice(iterator, BATCH * workers))
    except TerminatedWorkerError as error:
        raise OmrError(
            "a worker process was killed, possibly because memory ran out; try fewer --workers"
        ) from error
    except BaseException:  # otherwise workers would still write to a folder that is removed
        _kill(_executor(workers))
        raise


def in_current_folder(function: Callable[[T], R]) -> Callable[[T], R]:
    """Return a function that can be pickled, and that has the current folder of this process."""
    return partial(_in_folder, _current_folder(), function)


def _current_folder() -> str:
    """Return the current folder; empty if it has been deleted."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return ""


def _in_folder(folder: str, function: Callable[[T], R], item: T) -> R:
    """Call a function in a worker, which may have been started for another current folder."""
    if folder and _current_folder() != folder:
        os.chdir(folder)
    return function(item)


def for_files(function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield ``function(item)`` for each item, in order, for functions of under a millisecond.

    Uses a process per core if there are so many items that this is worth starting them, and sends
    items in chunks. After an error, later items of its chunk are not processed.

    Args:
        function: Function to apply; can be pickled.
        items: Items; can be pickled.

    Raises:
        OmrError: A worker process was killed.
    """
    if len(items) < LEAST_FILES:
        return map(function, items)
    chunks = (items[i : i + CHUNK] for i in range(0, len(items), CHUNK))
    results = in_order(partial(_apply, function), chunks, len(os.sched_getaffinity(0)))
    return chain.from_iterable(results)


def _apply(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [*map(function, items)]


@contextmanager
def _interrupt_held_back() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach, or each would print a traceback.

    They inherit the blocked signal; this process receives it after the block, and ends them.
    """
    resource_tracker.ensure_running()  # loky would start it in the block, which unblocks the signal
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _executor(workers: int) -> Any:  # noqa: ANN401
    from joblib.externals.loky import get_reusable_executor

    return get_reusable_executor(
        max_workers=workers, timeout=IDLE_S, initializer=end_with_parent, initargs=(os.getpid(),)
    )


def _kill(executor: Any) -> None:  # noqa: ANN401
    """End the processes of an executor at once; the next call starts new ones."""
    manager = executor._executor_manager_thread
    processes = [*executor._processes.values()]
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
    if manager is not None:
        manager.join()  # until it has ended, the next call would get this executor again


def end_with_parent(parent: int) -> None:
    """End this process when its parent is killed, which would otherwise keep running.

    Args:
        parent: Process id of the parent.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
