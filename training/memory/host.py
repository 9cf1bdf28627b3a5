"""Main memory available to a training, of the machine or within the limit of its container.

A container or cluster job may have less memory than the machine, and a process that exceeds the
limit is killed. Linux reports the limits of control groups in files.

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
    """Main memory in bytes."""

    total: int
    available: int
    """Bytes that programs can still allocate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Files:
    """File names of a version of control groups."""

    folder: str
    limit: str
    usage: str
    cache: str
    """Line of ``memory.stat`` with the file cache, which is dropped when memory is needed."""


_V2 = _Files(folder="", limit="memory.max", usage="memory.current", cache="inactive_file")
_V1 = _Files(
    folder="memory",
    limit="memory.limit_in_bytes",
    usage="memory.usage_in_bytes",
    cache="total_inactive_file",
)


def host_memory(root: Path = Path("/")) -> HostMemory:
    """Read how much main memory this process can use.

    Args:
        root: Folder that contains ``proc`` and ``sys``.
    """
    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    for limit, left in _limits(root):
        total, available = min(total, limit), min(available, max(left, 0))
    return HostMemory(total=total, available=available)


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and remaining bytes of each control group that this process belongs to."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        files = _V2 if not controllers else _V1 if "memory" in controllers.split(",") else None
        if files:
            top = root / "sys/fs/cgroup" / files.folder
            group_folder = top / group.lstrip("/")
            # A container may see its own group as the top; the path then does not exist.
            for folder in (group_folder, *group_folder.parents):
                if limit := _limit(folder, files):
                    yield limit
                if folder == top:
                    break


def _limit(folder: Path, files: _Files) -> tuple[int, int] | None:
    limit = _number(folder / files.limit)  # "max": no limit
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
