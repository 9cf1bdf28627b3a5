"""Calls of external programs."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from class_maps import OmrError

ENVIRONMENT = {"QT_QPA_PLATFORM": "offscreen"}
"""Environment variables with which MuseScore runs without a screen."""
LIMIT_S = 300


def check(programs: Sequence[str], package: str) -> None:
    """Check that programs are installed.

    Raises:
        OmrError: A program is missing.
    """
    if missing := [program for program in programs if shutil.which(program) is None]:
        raise OmrError(f"{missing[0]} is not installed; run apt-get install {package}")


def run(command: Sequence[str]) -> str:
    """Run a program and return what it prints.

    Raises:
        OmrError: The program failed.
    """
    result = subprocess.run(
        command,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT_S,
        check=False,
    )
    output = result.stdout.decode(errors="replace")
    if result.returncode:
        last = output.strip().splitlines()[-1:] or [f"exit status {result.returncode}"]
        raise OmrError(f"{' '.join(command)}: failed: {last[0]}")
    return output
