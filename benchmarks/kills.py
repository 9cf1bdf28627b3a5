"""Commands that are killed at random moments and repeated: is the output that of one run?

    python -m benchmarks.kills --moments 50

Each command is killed with SIGKILL at a moment drawn evenly from the time that it takes, and then
repeated with the same arguments; `omr convert` also as jobs with `--shard`, and merged.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.scale import write_files

ANNOTATIONS = 3_000
"""Annotations of a file, on 1,000 pages: a part of the conversion."""
OMR = (sys.executable, "-m", "omr")


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files in a folder, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(commands: Sequence[Sequence[str]], work: Path) -> None:
    """Run commands to their end."""
    for command in commands:
        subprocess.run([*OMR, *command], cwd=work, check=True, capture_output=True)


def kill_after(command: Sequence[str], work: Path, seconds: float) -> bool:
    """Run a command, kill it after some seconds, and return whether it was still running."""
    process = subprocess.Popen(
        [*OMR, *command],
        cwd=work,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    was_running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return was_running


def leftovers(work: Path, before: set[str]) -> list[str]:
    """Return what is in a folder now besides OUT, apart from locks."""
    names = {path.name for path in work.iterdir()} - before - {"out"}
    return sorted(name for name in names if not name.endswith(".omr.lock"))


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(path, target)


def attack(
    commands: Sequence[Sequence[str]], work: Path, moments: int, seed: int
) -> tuple[int, int, int]:
    """Kill the last of the commands at random moments, and repeat it.

    Returns:
        Numbers of kills that hit a running command, of outputs that differ from that of an
        undisturbed run, and of repeated commands that left other files behind.
    """
    before = {path.name for path in work.iterdir()}
    run(commands[:-1], work)
    prepared = [path for path in work.iterdir() if path.name not in before]
    copies = {path: work.parent / f"copy{path.name}" for path in prepared}
    for path, copy in copies.items():
        _copy(path, copy)
    started = time.monotonic()
    run(commands[-1:], work)
    seconds = time.monotonic() - started
    expected = contents(work / "out")
    hits = differing = untidy = 0
    rng = random.Random(seed)
    for _ in range(moments):
        shutil.rmtree(work / "out")
        for path, copy in copies.items():
            _copy(copy, path)
        hits += kill_after(commands[-1], work, rng.uniform(0, seconds))
        if not (work / "out").exists():
            run(commands[-1:], work)
        differing += contents(work / "out") != expected
        untidy += bool(leftovers(work, before))
    return hits, differing, untidy


def cases(work: Path) -> Mapping[str, Sequence[Sequence[str]]]:
    """Make the inputs, and return the commands of each case; the last one is killed."""
    write_files(work / "shards", 4, ANNOTATIONS)
    run([["engrave", "pages", "--pages", "4", "--size", "700x900"]], work)
    convert = ["convert", "shards", "out", "--labels-only", "--format", "yolo,coco"]
    return {
        "convert": [convert],
        "convert --merge": [
            *([*convert, "--shard", f"{i}/3"] for i in (1, 2, 3)),
            [*convert, "--merge"],
        ],
        "convert --tile": [["convert", "pages", "out", "--tile", "256"]],
        "engrave": [["engrave", "out", "--pages", "4", "--size", "700x900"]],
        "predict": [["predict", "pages/images", "out", "--overlay", "none", "--format", "yolo"]],
    }


def main() -> None:
    """Kill commands, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=50, help="Kills of each command.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| command | kills | while running | output differs | other files left |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "work")
        work.mkdir()
        for name, commands in cases(work).items():
            counts = attack(commands, work, arguments.moments, arguments.seed)
            print(
                f"| `{name}` | {arguments.moments} | {' | '.join(map(str, counts))} |", flush=True
            )
            shutil.rmtree(work / "out")


if __name__ == "__main__":
    main()
