"""Tools for NPUs, which are installed in a folder of their own and run as processes.

``make npu`` installs the versions in ``npu-tools.lock`` to the folder ``npu-tools`` of the
environment that omr runs in. Their processes use the torch of that environment.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from class_maps import MissingExtraError, OmrError, one_line, shortened

VARIABLE = "OMR_NPU_TOOLS"
"""Environment variable with the folder of the tools, if they are installed elsewhere."""
DEFAULT_FOLDER = "npu-tools"
LOCK = Path(__file__).with_name("npu-tools.lock")
"""Packages of the tools with their hashes."""
CONVERTER, COMPILER = "litert_torch", "ethosu"
"""Folders of the packages that convert a network to TFLite, and compile it for an Arm Ethos-U."""


def tools_folder() -> Path:
    """Return the folder in which the tools are installed.

    Raises:
        MissingExtraError: They are not installed.
    """
    folder = Path(os.environ.get(VARIABLE) or Path(sys.prefix, DEFAULT_FOLDER))
    missing = [name for name in (CONVERTER, COMPILER) if not (folder / name).is_dir()]
    if missing:
        raise MissingExtraError(
            f"the tools for NPUs are not installed in {folder}; run make npu in the source folder "
            f"of omr, or python -m pip install --no-deps --require-hashes --target {folder} -r "
            f"{LOCK}"
        )
    return folder


def run_tool(arguments: Sequence[str | Path], *, task: str, folder: Path) -> str:
    """Run Python with the tools, and return what it printed.

    Args:
        arguments: Arguments of Python.
        task: Name of the task for the error message, such as ``converting to TFLite``.
        folder: Current folder of the process.

    Raises:
        MissingExtraError: The tools are not installed.
        OmrError: The process failed.
    """
    paths = [str(tools_folder()), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-P", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise OmrError(f"{task} failed: {_reason(done)}")
    return done.stdout


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a failed process printed, or how it ended."""
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}"
    lines = [
        line for line in (*done.stdout.splitlines(), *done.stderr.splitlines()) if line.strip()
    ]
    return shortened(one_line(lines[-1])) if lines else f"exit status {done.returncode}"
