from pathlib import Path

import psutil
import pytest

from training.memory import batch_search
from training.memory.batch_search import HOST_RESERVE_BYTES, present_device
from training.memory.host import HostMemory, host_memory

GIB = 2**30
V1_UNLIMITED = 9_223_372_036_854_771_712
"""Limit of a group of version 1 that has none."""


def group(folder: Path, limit: object, used: int, cache: int, *, v1: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("limit_in_bytes", "usage_in_bytes") if v1 else ("max", "current")
    for name, value in zip(names, (limit, used), strict=True):
        (folder / f"memory.{name}").write_text(f"{value}\n")
    line = f"{'total_' if v1 else ''}inactive_file {cache}\n"
    (folder / "memory.stat").write_text(f"anon 7\n{line}")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 64 GiB, 48 of them free."""

    class Memory:
        total, available = 64 * GIB, 48 * GIB

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path


def within(root: Path, lines: str) -> HostMemory:
    (root / "proc/self/cgroup").write_text(lines)
    return host_memory(root)


def test_a_container_has_less_memory_than_the_machine(root: Path) -> None:
    folder = root / "sys/fs/cgroup"
    group(folder / "slurm/job", 8 * GIB, 3 * GIB, 1 * GIB)
    assert within(root, "0::/slurm/job\n") == HostMemory(total=8 * GIB, available=6 * GIB)
    group(folder / "slurm", 7 * GIB, 4 * GIB, 0)  # limit of all jobs together
    assert within(root, "0::/slurm/job\n") == HostMemory(total=7 * GIB, available=3 * GIB)
    group(folder / "slurm", "max", 4 * GIB, 0)
    assert within(root, "0::/slurm/job\n") == HostMemory(total=8 * GIB, available=6 * GIB)


def test_a_container_that_is_the_top_of_its_own_hierarchy(root: Path) -> None:
    group(root / "sys/fs/cgroup", 8 * GIB, 9 * GIB, 0)
    assert within(root, "0::/../of/the/host\n") == HostMemory(total=8 * GIB, available=0)
    assert within(root, "0::/\n") == HostMemory(total=8 * GIB, available=0)


def test_groups_of_version_1(root: Path) -> None:
    lines = "4:cpu,memory:/docker/1\n2:cpu:/\n0::/\n"
    folder = root / "sys/fs/cgroup/memory"
    group(folder, V1_UNLIMITED, 20 * GIB, 0, v1=True)
    assert within(root, lines) == HostMemory(total=64 * GIB, available=48 * GIB)
    group(folder / "docker/1", 4 * GIB, 3 * GIB, 2 * GIB, v1=True)
    assert within(root, lines) == HostMemory(total=4 * GIB, available=3 * GIB)


def test_without_limits(root: Path) -> None:
    machine = HostMemory(total=64 * GIB, available=48 * GIB)
    assert host_memory(root) == machine  # not Linux
    assert within(root, "0::/nowhere\n") == machine
    group(root / "sys/fs/cgroup", "max", 1, 1)
    assert within(root, "0::/\n") == machine
    (root / "sys/fs/cgroup/memory.max").write_text("garbage")
    assert within(root, "0::/\n") == machine


def test_files_that_cannot_be_read(root: Path) -> None:
    folder = root / "sys/fs/cgroup"
    group(folder, 8 * GIB, 3 * GIB, 1 * GIB)
    (folder / "memory.stat").write_text("garbage")
    assert within(root, "not a line\n0::/\n") == HostMemory(total=8 * GIB, available=5 * GIB)
    (folder / "memory.current").unlink()
    assert within(root, "0::/\n") == HostMemory(total=8 * GIB, available=8 * GIB)


def test_this_machine() -> None:
    memory = host_memory()
    assert 0 < memory.available <= memory.total <= psutil.virtual_memory().total


def test_a_training_on_the_cpu_gets_the_available_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, usable in ((5 * GIB, 5 * GIB - HOST_RESERVE_BYTES), (7, 0)):
        memory = HostMemory(total=8 * GIB, available=available)
        monkeypatch.setattr(batch_search, "host_memory", lambda memory=memory: memory)
        device = present_device("cpu")
        assert (device.total_bytes, device.usable_bytes) == (8 * GIB, usable)
