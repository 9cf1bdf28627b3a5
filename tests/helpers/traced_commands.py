"""Commands that run in one process, whose file accesses are recorded."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRACE = Path(__file__).parent / "file_trace"
LOG_VARIABLE = "OMR_FILE_TRACE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """Accesses of a command."""

    accesses: tuple[tuple[str, str], ...]
    """Kind and path, or name, of every access."""
    changed: tuple[str, ...]
    """Files and folders that are new, changed or missing after the command."""


@dataclass(slots=True)
class _Recorded:
    accesses: list[tuple[str, str]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def run_traced(command_lines: Sequence[Sequence[str]], folder: Path) -> list[Trace]:
    """Run commands in one process; its home, temporary and current folder are inside ``folder``.

    Args:
        command_lines: Arguments of each command.
        folder: Existing folder; ``work`` inside it is the current folder.
    """
    for name in ("home", "tmp", "work"):
        (folder / name).mkdir(exist_ok=True)
    log = folder / "log"
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "XDG_CACHE_HOME": str(folder / "home" / "cache"),
        "XDG_CONFIG_HOME": str(folder / "home" / "config"),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (TRACE, ROOT))),
        LOG_VARIABLE: str(log),
    }
    done = subprocess.run(
        [sys.executable, "-P", __file__],
        input=json.dumps([list(map(str, line)) for line in command_lines]),
        env=environment,
        cwd=folder / "work",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return _read(log)


def _read(log: Path) -> list[Trace]:
    recorded: list[_Recorded] = []
    is_running = False
    for line in log.read_text("utf-8").splitlines():
        record = json.loads(line)
        if record["kind"] in {"start", "end"}:
            is_running = record["kind"] == "start"
            recorded += [_Recorded()] * is_running
        elif record["kind"] == "changed":
            recorded[-1].changed = record["what"]
        elif is_running and record["what"] != str(log):
            recorded[-1].accesses.append((record["kind"], record["what"]))
    return [
        Trace(accesses=tuple(dict.fromkeys(r.accesses)), changed=tuple(r.changed)) for r in recorded
    ]


def _main() -> None:
    """Run the commands on standard input."""
    from omr.cli import main

    folder = Path.cwd().parent
    for arguments in json.load(sys.stdin):
        if "--find-lr" in arguments:
            import training.lr_finder

            training.lr_finder.N_STEPS = 3
        if "analyze-density" in arguments:
            import training.density.simulated_augmentation

            training.density.simulated_augmentation.FEWEST_DRAWS = 20
        if "demo" in arguments:
            from omr.demo import options

            options.STAFF_SPACE, options.TILE = 2, 96
        before = _contents(folder)
        _mark("start", arguments)
        sys.argv = ["omr", *arguments]
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise
        _mark("end", arguments)
        after = _contents(folder)
        changed = [path for path in before | after if before.get(path) != after.get(path)]
        _mark("changed", sorted(changed))


def _contents(folder: Path) -> dict[str, tuple[int, ...]]:
    """Map files to size, inode and times of change, and folders to nothing."""
    contents: dict[str, tuple[int, ...]] = {}
    for parent, folders, files in os.walk(folder):
        contents |= {os.path.join(parent, name): () for name in folders}  # noqa: PTH118
        for name in files:
            path = Path(parent, name)
            stat = path.lstat()
            if path != folder / "log":
                times = (stat.st_mtime_ns, stat.st_ctime_ns)
                contents[str(path)] = (stat.st_size, stat.st_ino, *times)
    return contents


def _mark(kind: str, what: object) -> None:
    with Path(os.environ[LOG_VARIABLE]).open("a", encoding="utf-8") as log:
        log.write(json.dumps({"kind": kind, "what": what}) + "\n")


if __name__ == "__main__":
    _main()
