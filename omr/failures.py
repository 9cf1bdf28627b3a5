"""Failures of a command that are not bugs: one line on stderr and an exit status.

Errors of the operating system belong to these failures: full disks, missing permissions and limits
are not bugs. With ``--verbose`` such errors are printed with their traceback as well.
"""

import contextlib
import errno
import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from rich.markup import escape

from class_maps import OmrError, one_line
from omr.console import err
from omr.help_layout import HelpGroup

_SHARED_MEMORY = re.compile(r"unable to \w+ .*(</torch_|shared memory)")
"""Errors of torch about shared memory, which is full or read-only in some containers."""
_NO_MEMORY = re.compile(r"Insufficient memory|can't allocate memory|CUDA out of memory")
"""Errors of OpenCV and torch about memory."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as in a shell: 128 + SIGINT."""


class InterruptedCommand(Exception):  # noqa: N818
    """Ctrl-C during a command; the message states what was kept."""


class CommandGroup(HelpGroup):
    """Group of commands that report Ctrl-C; Typer would exit without a message."""

    def make_context(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Parse a command line, see :func:`_interruptions`."""
        with _interruptions():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run a command, see :func:`_interruptions`."""
        with _interruptions():
            return super().invoke(ctx)


@contextlib.contextmanager
def _interruptions() -> Iterator[None]:
    """Turn Ctrl-C into an error with a message.

    Raises:
        InterruptedCommand: The user pressed Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        message = error.args[0] if error.args else "interrupted; nothing was written"
        raise InterruptedCommand(message) from None


class _Stdout(io.TextIOWrapper):
    """Standard output whose errors can be distinguished from errors of files."""

    def write(self, text: str) -> int:
        with _stdout_errors():
            return super().write(text)

    def flush(self) -> None:
        with _stdout_errors():
            super().flush()


@contextlib.contextmanager
def _stdout_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        problem = "closed" if error.errno == errno.EBADF else error.strerror
        raise OmrError(f"stdout: {problem}; the result was not printed") from error


def prepare_streams() -> None:
    """Open closed standard streams, and let stdout and stderr print all characters.

    A file would take the number of a closed stream, and receive the output of libraries. Writing to
    a closed stdout stays an error; what is printed on a closed stderr is discarded.
    """
    modes = {"stdin": os.O_RDONLY, "stdout": os.O_RDONLY, "stderr": os.O_WRONLY}
    for number, (name, mode) in enumerate(modes.items()):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)
            direction = "r" if name == "stdin" else "w"
            stream = open(number, direction, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    if type(sys.stdout) is io.TextIOWrapper:  # not replaced by a caller
        sys.stdout = _Stdout(
            sys.stdout.buffer,
            encoding=sys.stdout.encoding,
            errors="backslashreplace",
            line_buffering=sys.stdout.line_buffering,
        )


@contextlib.contextmanager
def reported_failures() -> Iterator[None]:
    """Print errors that are not bugs as one line, and exit.

    Raises:
        SystemExit: The block failed, was interrupted, or its output could not be written.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except InterruptedCommand as interruption:
        _exit(INTERRUPTED, escape(str(interruption)))
    except KeyboardInterrupt:  # the command had ended, and no longer turned it into a message
        _exit(INTERRUPTED, "")
    except BrokenPipeError:  # `omr ... | head`
        _exit(1, "")
    except Exception as error:
        message = message_of(error)
        if not message:
            raise
        logging.getLogger(__name__).debug("cause of the error", exc_info=error)
        _exit(1, f"[red]error:[/] {escape(message)}")


def _exit(status: int, message: str) -> None:
    with contextlib.suppress(OSError):
        if message:
            err.print(message, soft_wrap=True, highlight=False)
    try:
        sys.stdout.flush()
    except (OmrError, OSError):  # the interpreter would try again, and print a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def message_of(error: Exception) -> str:
    """Describe an error in one line; return nothing for a bug."""
    if isinstance(error, OmrError):
        return str(error)
    if any(os.strerror(errno.EMFILE) in str(cause) for cause in _chain(error)):
        return "too many open files; raise the limit with ulimit -n"
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        problem = str(error).partition("\n")[0] or "an allocation failed"
        return one_line(f"not enough memory: {problem}")
    if isinstance(error, RuntimeError) and _SHARED_MEMORY.search(str(error)):
        problem = str(error).partition("\n")[0]
        return one_line(f"/dev/shm: {problem}; shared memory must be writable and large enough")
    if not isinstance(error, OSError):
        return ""
    if isinstance(error, FileNotFoundError) and not _has_current_folder():
        return "the current folder no longer exists; change to another one"
    place = f"{error.filename}: " if error.filename else ""
    return one_line(f"{place}{error.strerror or error}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that led to it: libraries fail when they clean up."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _has_current_folder() -> bool:
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return False
    return True
