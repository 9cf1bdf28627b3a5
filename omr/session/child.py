"""Start of a session's processes, and the devices that they see."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

MODULE = "omr.child_process"
TRIALS = "trials"
CPU = "cpu"
VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable with the GPUs that a process sees."""


def start(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    log: IO[bytes],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a process that runs ``omr``, or the trials.

    Ctrl-C in a terminal does not reach it: the session interrupts it, and waits for it.

    Args:
        arguments: Arguments of ``omr``, or only ``TRIALS``.
        environment: Environment variables.
        log: File for stderr, and for stdout if that is None.
        stdin: Standard input, as for ``subprocess.Popen``.
        stdout: Standard output, likewise.
    """
    paths = os.pathsep.join(path or os.curdir for path in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", MODULE, str(os.getpid()), *arguments],
        env={**environment, "PYTHONPATH": paths},
        start_new_session=True,
        stdin=stdin,
        stdout=log if stdout is None else stdout,
        stderr=log,
    )


def environment_of(devices: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that sees only some devices.

    Args:
        devices: Indices among the GPUs that this process sees, or ``cpu``; empty for all GPUs.
        environ: Environment of this process.
    """
    if not devices:
        return dict(environ)
    visible = [name for name in environ.get(VISIBLE, "").split(",") if name]
    ids = [visible[int(i)] if int(i) < len(visible) else i for i in devices if i != CPU]
    return {**environ, VISIBLE: ",".join(ids)}
