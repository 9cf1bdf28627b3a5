"""Memory that a call adds, on a CPU: the peak of the process (RSS) less what it held before."""

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
"""Bytes at which glibc's moving threshold ends up in a process that works with large tensors."""
SMALL = 64 * 2**10


def added_mb(call: Callable[[], Result]) -> tuple[float, Result]:
    """MB that a call adds at most, and its result.

    Where the C library is glibc every tensor above 64 kB is given back as soon as it is freed, so
    that what lies about from earlier work neither hides nor adds anything.
    """
    gc.collect()
    with _giving_back():
        before = _start_peak()
        result = call()
        return (_peak() - before) / 2**20, result


@contextmanager
def _giving_back() -> Iterator[None]:
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
    """Forget the peak so far, where that can be done, and tell what is held now, bytes."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """Peak of this process in bytes, since the last :func:`_start_peak` on Linux."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return int(status.split("VmHWM:")[1].split()[0]) * 2**10


def limit_gb(more: float) -> None:
    """Let this process take only so much more memory, so that a shared machine stays alive."""
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + int(more * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
