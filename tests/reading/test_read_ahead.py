import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from class_maps import InputError
from reading.read_ahead import read_ahead


@pytest.mark.parametrize("n", [0, 1, 4, 5])
def test_results_keep_the_order_of_the_items(n: int) -> None:
    def read(item: int) -> int:
        time.sleep(0.01 * (item % 2))
        return item * 10

    chunks = [*read_ahead(range(n), read, 2)]
    assert [result for chunk in chunks for result in chunk] == [item * 10 for item in range(n)]
    assert all(len(chunk) == 2 for chunk in chunks[:-1])


def test_one_chunk_is_read_ahead() -> None:
    items, threads = iter(range(10)), set()

    def read(_item: int) -> None:
        threads.add(threading.current_thread())

    chunks = read_ahead(items, read, 2)
    next(chunks)
    assert next(items) == 4
    assert threading.main_thread() not in threads


def test_an_error_of_an_item_comes_after_the_chunks_before_it() -> None:
    chunks = read_ahead([1, 2, 0, 4], lambda item: 1 / item, 2)
    assert next(chunks) == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(chunks)


def test_an_error_of_the_iterable_comes_after_the_chunks_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise InputError("no more pages", path=Path("list.txt"))

    chunks = read_ahead(items(), lambda item: item, 2)
    assert next(chunks) == [1, 2]
    with pytest.raises(InputError, match="no more pages"):
        next(chunks)


def test_threads_end_when_the_results_are_no_longer_wanted() -> None:
    chunks = read_ahead(range(100), lambda item: item, 2)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if "read_ahead" in thread.name]
