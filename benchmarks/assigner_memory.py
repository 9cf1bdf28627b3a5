"""Memory that a call adds on a CPU: the peak of the process (RSS) less its size before."""

import ctypes
import gc
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt``."""
USUAL = 32 * 2**20
"""Bytes at which glibc's dynamic threshold settles in a process with large tensors."""
SMALL = 64 * 2**10


def added_mb(call: Callable[[], Result]) -> tuple[float, Result]:
    """Measure the peak in MB that a call adds, and return its result.

    With glibc, tensors above 64 kB are returned to the system as soon as they are freed, so that
    memory from earlier work does not distort the result.
    """
    gc.collect()
    with _eager_release():
        before = _start_peak()
        result = call()
        return (_peak() - before) / 2**20, result


@contextmanager
def _eager_release() -> Iterator[None]:
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        yield
        return
    libc.mallopt(M_MMAP_THRESHOLD, SMALL)
    libc.malloc_trim(0)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_THRESHOLD, USUAL)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * USUAL)


def _start_peak() -> int:
    """Reset the peak where the system allows it, and return the current one in bytes."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """Return the peak of this process in bytes, on Linux since the last :func:`_start_peak`."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return int(status.split("VmHWM:")[1].split()[0]) * 2**10


def limit_gb(more: float) -> None:
    """Limit the additional memory of this process, to protect a shared machine."""
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + int(more * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
