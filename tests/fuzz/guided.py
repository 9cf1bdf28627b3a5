"""Fuzzing of all readers that prefers inputs which reach new code, with atheris.

    python -m tests.fuzz.guided --seconds 600

The first byte of an input selects the reader, and the others are the file. An input with which a
reader fails is written to ``crash-*`` in the current folder; ``--input crash-...`` reads it again.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import atheris

HELPERS = Path(__file__).parents[1] / "helpers"
INSTRUMENTED = ["class_maps", "converters", "eval", "omr", "reading", "settings", "training"]
MAX_BYTES = 20_000
MEMORY_MB = 4096
"""Limit of memory, of which the libraries take about 1 GB."""

sys.path.insert(0, str(HELPERS))
with atheris.instrument_imports(include=INSTRUMENTED):
    from tests.fuzz.checks import ALLOWED_S, Fuzzed, check
    from tests.fuzz.mutations import TOKENS
    from tests.fuzz.targets import TARGETS, prepare
    from tests.fuzz.weights_targets import weights_targets


def main() -> None:
    """Fuzz until the time is over, or a reader fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--input", type=Path, help="read this input only, and do not fuzz")
    parser.add_argument("--reader", action="append", help="name of a target (default: all)")
    options = parser.parse_args()
    current = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds, work, dictionary = folder / "seeds", folder / "work", folder / "dictionary"
        for path in (seeds, work, folder / "new"):
            path.mkdir()
        targets: list[Fuzzed] = [*TARGETS, *weights_targets(folder)]
        write_seeds(targets, options.reader or [target.name for target in targets], seeds)
        write_dictionary(dictionary)
        inputs = [current / options.input] if options.input else [folder / "new", seeds]
        arguments = [
            *(f"-max_total_time={options.seconds}", f"-timeout={ALLOWED_S:.0f}"),
            *(f"-max_len={MAX_BYTES}", f"-rss_limit_mb={MEMORY_MB}"),
            *(f"-dict={dictionary}", f"-artifact_prefix={current}{os.sep}"),
            *map(str, inputs),
        ]
        os.chdir(work)
        prepare(work)

        def read(data: bytes) -> None:
            if data:
                check(targets[data[0] % len(targets)], data[1:], work)

        atheris.Setup([sys.argv[0], *arguments], read)
        atheris.Fuzz()  # ends the process


def write_seeds(targets: list[Fuzzed], names: list[str], folder: Path) -> None:
    """Write the valid files of some readers, each after the number of its reader."""
    for number, target in enumerate(targets):
        for i, seed in enumerate(target.seeds() if target.name in names else ()):
            (folder / f"{target.name}-{i}").write_bytes(bytes([number]) + seed)


def write_dictionary(file: Path) -> None:
    """Write the short tokens in the form that libFuzzer reads."""
    tokens = (token for token in TOKENS if len(token) < 64)
    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n' for token in tokens)
    file.write_text("".join(lines), "ascii")


if __name__ == "__main__":
    main()
