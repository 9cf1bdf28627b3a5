"""Engrave test pages with LilyPond or MuseScore; see :mod:`benchmarks.foreign`."""

import argparse
import sys
from pathlib import Path

import benchmarks.foreign
from benchmarks.foreign.dataset import write
from class_maps import OmrError


def main() -> None:
    """Engrave a data set, and print the number of its symbols."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.foreign",
        description=benchmarks.foreign.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder to create")
    parser.add_argument("--engraver", choices=("lilypond", "musescore"), required=True)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--force", action="store_true", help="replace a folder created by omr")
    arguments = parser.parse_args()
    try:
        manifest = write(
            arguments.out,
            arguments.engraver,
            arguments.pages,
            arguments.seed,
            force=arguments.force,
        )
    except OmrError as error:
        sys.exit(str(error))
    print(f"{arguments.out}: {sum(manifest['categories'].values())} symbols")


if __name__ == "__main__":
    main()
