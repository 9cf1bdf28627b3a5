"""Runs a command and says how long it took and how much memory it held."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import psutil


def measure(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak MB of a command, from its start to its end.

    Memory is the highest sum over the process and its children (RSS, looked at ten times a
    second). A command that fails ends this one too, with what it said.
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
    """Bytes of memory, mapped files included; 0 if the process has just ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
