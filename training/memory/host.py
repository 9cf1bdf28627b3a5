"""Main memory that a training can have: the machine's, or what a container leaves of it.

A container, or a job of a cluster, may hold less than the machine, and a process that takes more is
killed. Linux tells the limits of its groups in files.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html and
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, kw_only=True, slots=True)
class HostMemory:
    """Main memory, in bytes."""

    total: int
    available: int
    """What programs can still take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Files:
    """What a version of control groups calls its files."""

    folder: str
    limit: str
    usage: str
    cache: str
    """Line of ``memory.stat``: files that were read, which make room when memory is wanted."""


_V2 = _Files(folder="", limit="memory.max", usage="memory.current", cache="inactive_file")
_V1 = _Files(
    folder="memory",
    limit="memory.limit_in_bytes",
    usage="memory.usage_in_bytes",
    cache="total_inactive_file",
)


def host_memory(root: Path = Path("/")) -> HostMemory:
    """Look at the main memory that this process can have.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    for limit, left in _limits(root):
        total, available = min(total, limit), min(available, max(left, 0))
    return HostMemory(total=total, available=available)


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """Yield the limit of each group that this process is in, and what is left of it."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        files = _V2 if not controllers else _V1 if "memory" in controllers.split(",") else None
        if files:
            top = root / "sys/fs/cgroup" / files.folder
            own = top / place.lstrip("/")
            # A container may see its own group as the top: then its place is not there.
            for folder in (own, *own.parents):
                if found := _limit(folder, files):
                    yield found
                if folder == top:
                    break


def _limit(folder: Path, files: _Files) -> tuple[int, int] | None:
    limit = _number(folder / files.limit)  # "max": there is none
    if limit is None:
        return None
    used = _number(folder / files.usage) or 0
    with suppress(OSError, ValueError):
        rows = (folder / "memory.stat").read_text("ascii").splitlines()
        used -= int(dict(row.split(" ", 1) for row in rows).get(files.cache, 0))
    return limit, limit - max(used, 0)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
