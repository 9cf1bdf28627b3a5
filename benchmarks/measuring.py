"""Time and peak memory of a command."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import psutil


def measure(command: Sequence[str]) -> tuple[float, float]:
    """Run a command, and return its time in seconds and its peak memory in MB.

    Memory is the highest sum over the process and its children (RSS, sampled ten times per
    second). If the command fails, this process exits with its output.
    """
    peak, started = 0, time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = psutil.Popen(
            command, env=os.environ | {"YOLO_OFFLINE": "true"}, stdout=log, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            peak = max(peak, sum(map(_rss, [process, *process.children(recursive=True)])))
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        if process.returncode:
            log.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{log.read()}")
    return seconds, peak / 2**20


def _rss(process: psutil.Process) -> int:
    """Return the RSS of a process in bytes; 0 if it has just ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
