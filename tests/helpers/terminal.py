"""Pseudo-terminal in which a command runs, as in the window of a user."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path

ANSI = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


def run_in_terminal(command: Sequence[str], *, columns: int, stdout: Path) -> str:
    """Run a command whose stderr is a terminal, and return everything that it wrote there.

    Args:
        command: Program with its arguments.
        columns: Width of the terminal.
        stdout: File that stdout is redirected to.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment["TERM"] = "xterm-256color"
    with (
        stdout.open("wb") as file,
        subprocess.Popen(
            command, stdin=theirs, stdout=file, stderr=theirs, env=environment
        ) as process,
    ):
        os.close(theirs)
        written = b""
        while chunk := _read(ours):
            written += chunk
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode()


def drawn_lines(written: str) -> list[str]:
    """Return every line that a terminal showed, including those that were overwritten later."""
    return [line for line in re.split(r"[\r\n]+", ANSI.sub("", written)) if line.strip()]


def last_lines(written: str) -> list[str]:
    """Return the lines that remain on a terminal."""
    lines = [ANSI.sub("", re.split(r"\r?\x1b\[2K", line)[-1]) for line in written.split("\n")]
    return [line.rstrip() for line in lines if line.strip()]


def _read(file: int) -> bytes:
    try:
        return os.read(file, 65_536)
    except OSError:  # the other end is closed
        return b""
