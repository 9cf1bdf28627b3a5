import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from class_maps import OmrError
from converters.files import process_pool
from converters.files.process_pool import in_order


def square(number: int) -> int:
    return number * number


def die(_number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 500])
def test_results_come_in_the_order_of_the_items(n: int, workers: int) -> None:
    assert list(in_order(square, range(n), workers)) == [i * i for i in range(n)]


def current_folder(_number: int) -> Path:
    return Path.cwd()


def test_reused_processes_follow_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert set(in_order(current_folder, range(9), 2)) == {tmp_path / name}


def test_an_error_of_the_iterable_is_raised() -> None:
    def items() -> Iterator[int]:
        yield from range(300)
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        list(in_order(square, items(), 2))


def test_processes_after_an_error_are_new() -> None:
    """Processes that have just been ended were used again in half of the calls."""
    for _ in range(4):
        test_an_error_of_the_iterable_is_raised()
        assert list(in_order(square, range(9), 2)) == [i * i for i in range(9)]


def test_a_killed_worker_is_a_one_line_error() -> None:
    with pytest.raises(
        OmrError, match=r"^a worker process was killed, possibly because memory ran out;"
    ):
        list(in_order(die, range(9), 2))


def touch(path: Path) -> None:
    time.sleep(0.05)
    path.touch()


def test_no_process_works_on_after_the_iterator_was_closed(tmp_path: Path) -> None:
    """They would write to a folder that is being removed."""
    with closing(in_order(touch, [tmp_path / str(n) for n in range(100)], 2)) as results:
        next(results)
    n_written = len([*tmp_path.iterdir()])
    time.sleep(0.3)
    assert len([*tmp_path.iterdir()]) == n_written < 100
    assert list(in_order(square, range(9), 2)) == [i * i for i in range(9)]


ORPHANED = """
import os, sys
from converters.files.process_pool import _executor
print(_executor(1).submit(os.getpid).result(), flush=True)
sys.stdin.read()
"""


def test_workers_end_when_their_parent_is_killed() -> None:
    command = [sys.executable, "-c", ORPHANED]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    deadline = time.monotonic() + 30
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the worker is still there"
        time.sleep(0.1)


@pytest.mark.parametrize("delay_s", [0.0, 0.2, 0.5])
def test_ctrl_c_while_workers_start_prints_no_tracebacks(delay_s: float) -> None:
    code = """
from time import sleep
from converters.files.process_pool import in_order, warm_up
warm_up(4, "cv2")
print("started", flush=True)
try:
    list(in_order(sleep, [9] * 9, 4))
except KeyboardInterrupt:
    raise SystemExit(3)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        time.sleep(delay_s)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (3, "")


@pytest.mark.parametrize("least", [1, 1000])
def test_chunks_of_files_keep_their_order(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_pool, "LEAST_FILES", least)
    monkeypatch.setattr(process_pool, "CHUNK", 3)
    items = [*range(-10, 10)]
    assert [*process_pool.for_files(abs, items)] == [*map(abs, items)]
    assert [*process_pool.for_files(abs, [])] == []


@pytest.mark.parametrize("least", [1, 1000])
def test_an_error_in_a_chunk_is_raised(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_pool, "LEAST_FILES", least)
    monkeypatch.setattr(process_pool, "CHUNK", 2)
    with pytest.raises(ValueError, match=r"math domain error|expected a nonnegative"):
        [*process_pool.for_files(math.sqrt, [4.0, 1.0, 9.0, -1.0, 16.0])]
