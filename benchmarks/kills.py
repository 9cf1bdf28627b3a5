"""Commands that are killed at random moments and repeated: is the output that of one run?

    python -m benchmarks.kills --moments 50

Each command is killed with SIGKILL at a moment drawn evenly from the time that it takes, and then
repeated with the same arguments; `omr convert` also as a job with `--shard`, and while it merges.
Commands are forked from a process that has imported omr, so that all moments are those of its work.
"""

import argparse
import random
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.forked_commands import Launcher, launcher
from benchmarks.scale import write_files
from converters.files.atomic_folder import MANIFEST

FILES, PAGES, ANNOTATIONS = 6, 40, 800
"""Annotation files, and pages and annotations of each, which is a part of a conversion."""
IN_SECONDS = re.compile(rb'"seconds": [0-9.]+')
"""What `omr predict` measures, the only thing that differs between two of its runs."""
ENGRAVE = ("engrave", "--size", "500x400", "--workers", "1", "--pages")
PREDICT = ("--staff-space", "none", "--device", "cpu")
CONVERT = ("--labels-only", "--format", "yolo,coco", "--workers", "1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A command to kill."""

    words: tuple[str, ...]
    """Its arguments; it writes ``out``."""
    before: tuple[tuple[str, ...], ...] = ()
    """Commands that run once before it."""
    after: tuple[str, ...] = ()
    """Command that completes its work; nothing if it is complete."""


@dataclass(kw_only=True, slots=True)
class Counts:
    """Results of a case."""

    killed: int = 0
    """Kills that hit a running command."""
    continued: int = 0
    """Repeated commands that used finished work."""
    differing: int = 0
    """Outputs that differ from that of an undisturbed run."""
    untidy: int = 0
    """Repeated commands that left other files behind, apart from locks."""


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files in a folder by path, with all measured times as 0."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    if MANIFEST in files:
        files[MANIFEST] = IN_SECONDS.sub(b'"seconds": 0', files[MANIFEST])
    return files


def run(commands: Launcher, words: Sequence[str], work: Path) -> str:
    """Run a command to its end, and return what it has written to the terminal."""
    outcome = commands.run(words, work)
    if outcome.status:
        raise RuntimeError(f"omr {' '.join(words)}: {outcome.log}")
    return outcome.log


def _new(folder: Path, before: set[str]) -> list[Path]:
    return [path for path in folder.iterdir() if path.name not in before]


def _copy_new(folder: Path, target: Path, before: set[str]) -> None:
    target.mkdir(exist_ok=True)
    for path in _new(folder, before):
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, target / path.name)


def _remove_new(folder: Path, before: set[str]) -> None:
    for path in _new(folder, before):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def leftovers(work: Path, before: set[str]) -> list[str]:
    """Return what is in a folder now besides OUT, apart from locks."""
    names = {path.name for path in _new(work, before)} - {"out"}
    return sorted(name for name in names if not name.endswith(".omr.lock"))


def attack(commands: Launcher, case: Case, work: Path, moments: int, seed: int) -> Counts:
    """Kill a command at random moments, and repeat it.

    Args:
        commands: Runs the commands.
        case: Command to kill.
        work: Current folder, in which only the inputs are.
        moments: Number of kills.
        seed: Seed of the random moments.
    """
    before = {path.name for path in work.iterdir()}
    for words in case.before:
        run(commands, words, work)
    prepared = work.parent / "prepared"
    _copy_new(work, prepared, before)
    seconds = commands.run(case.words, work).seconds
    if case.after:
        run(commands, case.after, work)
    expected, counts, rng = contents(work / "out"), Counts(), random.Random(seed)
    for _ in range(moments):
        _remove_new(work, before)
        _copy_new(prepared, work, before)
        outcome = commands.run(case.words, work, kill_after_s=rng.uniform(0, seconds))
        counts.killed += outcome.was_killed
        if not (work / "out").exists():
            log = run(commands, case.words, work)
            counts.continued += "made before" in log
        if case.after:
            run(commands, case.after, work)
        counts.differing += contents(work / "out") != expected
        counts.untidy += bool(leftovers(work, before))
    _remove_new(work, before)
    shutil.rmtree(prepared)
    return counts


def cases(commands: Launcher, work: Path) -> Mapping[str, Case]:
    """Make the inputs, and return the cases."""
    write_files(work / "shards", FILES, ANNOTATIONS, PAGES)
    run(commands, [*ENGRAVE, "6", "pages"], work)
    convert = ("convert", "shards", "out", *CONVERT)
    jobs = tuple((*convert, "--shard", f"{i}/3") for i in (1, 2, 3))
    predict = ("predict", "pages/images", "out", *PREDICT)
    return {
        "convert": Case(words=convert),
        "convert --shard": Case(words=jobs[0], before=jobs[1:], after=(*convert, "--merge")),
        "convert --merge": Case(words=(*convert, "--merge"), before=jobs),
        "engrave": Case(words=(*ENGRAVE, "6", "out")),
        "predict": Case(words=(*predict, "--format", "coco,yolo", "--overlay", "png")),
    }


def main() -> None:
    """Kill commands, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=50, help="Kills of each command.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| command | kills | while running | continued | output differs | other files left |")
    print("|---|---|---|---|---|---|", flush=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        launcher("training.predict.tile_network") as commands,
    ):
        work = Path(folder, "work")
        work.mkdir()
        for name, case in cases(commands, work).items():
            counts = attack(commands, case, work, arguments.moments, arguments.seed)
            print(
                f"| `{name}` | {arguments.moments} | {counts.killed} | {counts.continued} | "
                f"{counts.differing} | {counts.untidy} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
