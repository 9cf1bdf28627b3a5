"""Time and peak memory of a command."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandCost:
    """Time and memory of a command."""

    wall_s: float
    cpu_s: float
    """Sum over the process and its children, as far as it was sampled."""
    peak_mb: float
    """Highest sum of their RSS."""


def measure(command: Sequence[str]) -> tuple[float, float]:
    """Run a command, and return its time in seconds and its peak memory in MB."""
    cost = measure_cost(command)
    return cost.wall_s, cost.peak_mb


def measure_cost(command: Sequence[str]) -> CommandCost:
    """Run a command, and sample its processes ten times per second.

    If the command fails, this process exits with its output.
    """
    peak, started = 0, time.perf_counter()
    cpu_s: dict[int, float] = {}
    with tempfile.TemporaryFile("w+") as log:
        process = psutil.Popen(
            command, env=os.environ | {"YOLO_OFFLINE": "true"}, stdout=log, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            peak = max(peak, sum(_rss(child, cpu_s) for child in _family(process)))
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        if process.returncode:
            log.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{log.read()}")
    return CommandCost(wall_s=seconds, cpu_s=sum(cpu_s.values()), peak_mb=peak / 2**20)


def _family(process: psutil.Popen) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _rss(process: psutil.Process, cpu_s: dict[int, float]) -> int:
    """Return the RSS of a process in bytes, and note its CPU time; 0 if it has just ended."""
    try:
        times = process.cpu_times()
        cpu_s[process.pid] = times.user + times.system
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
