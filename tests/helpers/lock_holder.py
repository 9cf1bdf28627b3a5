"""A process that writes to an output folder."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HOLDER = """
import sys
from pathlib import Path
from converters.files.output_lock import locked_folder
with locked_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def held_by_another_process(folder: Path, *, killed: bool = False) -> Iterator[int]:
    """Let another process hold the lock of a folder, and yield its number.

    Args:
        folder: Folder to lock.
        killed: Whether the process is killed before the block, and leaves the file of the lock.
    """
    command = [sys.executable, "-c", HOLDER, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as holder:  # type: ignore[call-overload]
        assert holder.stdout.readline() == "locked\n"
        if killed:
            holder.kill()
            holder.wait()
        yield holder.pid
        with contextlib.suppress(BrokenPipeError):
            holder.communicate("")
