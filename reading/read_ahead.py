"""Reading of files in threads, ahead of the code that uses them."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

MOST_THREADS = 8
"""Maximum number of threads that read images."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Result], chunk_size: int
) -> Iterator[list[Result]]:
    """Read items in threads, one chunk ahead of the one that is being used.

    Args:
        items: Arguments of ``read``; taken from the iterable a chunk at a time.
        read: Function that is called in a thread.
        chunk_size: Items per chunk.

    Yields:
        Results in the order of the items. An error in ``read`` or ``items`` is raised after the
        results of all earlier chunks.
    """
    source = iter(items)
    n_threads = min(os.cpu_count() or 1, chunk_size, MOST_THREADS)
    executor = ThreadPoolExecutor(n_threads, thread_name_prefix="read_ahead")

    def started() -> list[Future[Result]]:
        return [executor.submit(read, item) for item in islice(source, chunk_size)]

    try:
        pending: list[Future[Result]] | Exception = started()
        while pending:
            if isinstance(pending, Exception):
                raise pending
            results = [future.result() for future in pending]
            try:
                pending = started()
            except Exception as error:
                pending = error
            yield results
    finally:
        executor.shutdown(cancel_futures=True)
