"""Commands of omr in processes that are killed, without seconds of imports for each.

A launcher imports omr once and forks a process for each command. It runs in a process with a single
thread, and reads its jobs as lines of JSON.
"""

import gc
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

MODULES = (
    *("omr.__main__", "omr.cli", "omr.conversion_summary", "omr.prediction", "eval.sheets.sheets"),
    *("converters.conversion", "converters.engraving.dataset"),
    *("pydantic.fields", "pydantic.json_schema", "pydantic.type_adapter"),
)
"""Modules that every launcher imports; typer imports those of pydantic with its first command."""
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
"""Audit events that change a folder, besides opening a file to write it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A command to run."""

    words: tuple[str, ...]
    """Arguments of ``omr``."""
    folder: str
    """Current folder."""
    kill_after_s: float | None = None
    """Time after which the process is killed; None to let it end."""
    kill_at: int = 0
    """Number of the change in the folder before which the process kills itself; 0 for none."""
    part_pages: int = 1
    """Least number of pages of a part of a conversion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a command ended."""

    was_killed: bool
    status: int
    """Exit status."""
    seconds: float
    n_changes: int
    """Number of changes of files in the folder; 0 if it was killed."""
    log: str
    """Standard output and standard error."""


class Launcher:
    """A process that runs commands."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, words: Sequence[str], folder: Path, **more: Any) -> Outcome:  # noqa: ANN401
        """Run a command; see :class:`Job` for the other arguments."""
        assert self._process.stdin
        assert self._process.stdout
        job = Job(words=tuple(words), folder=str(folder), **more)
        self._process.stdin.write(f"{json.dumps(asdict(job))}\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))


@contextmanager
def launcher(*modules: str) -> Iterator[Launcher]:
    """Start a launcher.

    Args:
        modules: Other modules to import.
    """
    command = [sys.executable, "-m", "benchmarks.forked_commands", *modules]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Launcher(process)
        assert process.stdin
        process.stdin.close()


def _run(job: Job) -> Outcome:
    """Fork a process that runs a command, and wait for its end."""
    log, changes = os.memfd_create("log"), os.memfd_create("changes")
    started = time.monotonic()
    process = os.fork()
    if not process:
        _be_command(job, log, changes)
    with os.fdopen(os.pidfd_open(process)) as end:
        ended, _, _ = select.select([end], [], [], job.kill_after_s)
    if not ended:
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    outcome = Outcome(
        was_killed=os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
        status=status,
        seconds=time.monotonic() - started,
        n_changes=int(os.pread(changes, 100, 0) or 0),
        log=os.pread(log, 1 << 16, 0).decode(errors="replace"),
    )
    os.close(log)
    os.close(changes)
    return outcome


def _be_command(job: Job, log: int, changes: int) -> None:
    """Run a command in this process, which ends."""
    from converters.parts import plan
    from omr.__main__ import main

    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(job.folder)
        plan.PART_PAGES = job.part_pages
        sys.argv = ["omr", *job.words]
        count = _count_changes(job)
        try:
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        sys.stdout.flush()
        os.write(changes, str(count[0]).encode())
    finally:
        os._exit(status)


def _count_changes(job: Job) -> list[int]:
    """Count the changes in the folder in a list; this process dies before one of them."""
    count = [0]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if (event in CHANGES or is_write) and job.folder in str(arguments[0]):
            count[0] += 1
            if count[0] == job.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    return count


def main() -> None:
    """Run the jobs on standard input."""
    for name in (*MODULES, *sys.argv[1:]):
        import_module(name)
    gc.freeze()
    for line in sys.stdin:
        values = json.loads(line)
        outcome = _run(Job(**values | {"words": tuple(values["words"])}))
        sys.stdout.write(f"{json.dumps(asdict(outcome))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
