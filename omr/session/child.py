"""Process of a session that runs one command, or the trials; it ends with the session's process.

Usage: ``python -m omr.session.child PARENT ARGUMENT...``, with the process id of the session, and
the arguments of ``omr``, or only ``trials``.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

MODULE = "omr.session.child"
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


def _main() -> None:
    from converters.files.process_pool import end_with_parent

    parent, *arguments = sys.argv[1:]
    end_with_parent(int(parent))
    if arguments == [TRIALS]:
        from omr.session.trials import run_trials

        run_trials()
        return
    from omr.cli import main

    sys.argv = ["omr", *arguments]
    main()


if __name__ == "__main__":
    _main()
