"""Processes that are set up in parallel and then measure one after the other."""

import contextlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.gpu.figures import Setup

WAIT_S = 5.0
"""Seconds to wait for a killed process."""


class WaitingProcess:
    """Process that sets up a training run and then waits for the signal to measure.

    Args:
        module: Module of ``benchmarks.gpu`` that measures.
        setup: Setup of the run to measure.
    """

    def __init__(self, module: str, setup: Setup) -> None:
        self.out = Path(setup.out)
        self.out.mkdir(parents=True)
        command = [sys.executable, "-m", f"benchmarks.gpu.{module}", json.dumps(asdict(setup))]
        with (self.out / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def ready(self) -> bool:
        """Whether the training run is set up."""
        return (self.out / "ready").exists()

    @property
    def ended(self) -> bool:
        """Whether the process has ended for any reason."""
        return self._process.poll() is not None

    def go(self) -> None:
        """Start the measurement."""
        stdin = self._process.stdin
        if stdin and not self.ended:
            stdin.write(b"go\n")
            stdin.flush()

    def stop(self) -> None:
        """End the process if it still runs."""
        if not self.ended:
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the driver
            self._process.wait(WAIT_S)
        if self._process.stdin:
            self._process.stdin.close()

    def last_line(self) -> str:
        """Return the last line of the output, which contains the error if there was one."""
        lines = self.log().split("\n")
        return next((line.strip()[-300:] for line in reversed(lines) if line.strip()), "no output")

    def log(self) -> str:
        """Return the whole output."""
        return (self.out / "log.txt").read_text("utf-8", "replace")
