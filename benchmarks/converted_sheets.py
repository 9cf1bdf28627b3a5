"""Share of a conversion's processor time that its contact sheets take.

    omr engrave pages --pages 30
    python -m benchmarks.converted_sheets pages              whole pages, then tiles of 640 px
    python -m benchmarks.converted_sheets pages --tile 320   whole pages, then tiles of 320 px

Each row is one process without workers, including its start. The sheets are timed inside it,
because the difference between two conversions is smaller than the noise of a shared machine.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Clock:
    """Sum of the processor time of some functions."""

    seconds = 0.0

    def timed(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return a function that adds its time."""

        def timed(*arguments: P.args, **options: P.kwargs) -> R:
            start = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.process_time() - start

        return timed


def _convert(source: Path, out: Path, tile: int | None) -> None:
    """Convert a data set and print a row of the table."""
    import class_maps
    import omr.cli  # noqa: F401, as the command does
    from converters.conversion import ConversionOptions, convert
    from converters.names import SHEETS
    from converters.prepare import candidates, preparation
    from converters.prepare.tiles import tile_options

    clock, start = Clock(), time.process_time()
    from omr.converted_sheets import ConvertedSheets

    clock.seconds += time.process_time() - start
    vars(preparation)["find_candidates"] = clock.timed(candidates.find_candidates)
    options = ConversionOptions(
        class_map=class_maps.load("harmony"),
        preparation=preparation.PreparationOptions(tiles=tile_options(tile, None, 0.5, 1.0)),
    )
    sheets = ConvertedSheets(options.class_map.names, title=source.name, workers=1)
    for name in ("add", "write"):
        setattr(sheets, name, clock.timed(getattr(sheets, name)))
    counts = convert(source, out, options, sheets=sheets)
    rest = time.process_time() - clock.seconds
    print(
        f"| {f'tiles of {tile} px' if tile else 'whole pages'} | {counts['images']:,} | {rest:.2f} "
        f"| {clock.seconds:.2f} | {clock.seconds / rest:.1%} | {sheets.n_sheets} "
        f"| {(out / SHEETS).stat().st_size / 1e6:.1f} |",
        flush=True,
    )


def main() -> None:
    """Convert each data set whole and in tiles, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--tile", type=int, default=640)
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.convert:
        _convert(arguments.source[0], arguments.convert, arguments.tile or None)
        return
    command_line = " ".join(["python -m benchmarks.converted_sheets", *sys.argv[1:]])
    print(f"`{command_line}`, Python {platform.python_version()}, {os.cpu_count()} cores\n")
    print("| images | number | conversion s | sheets s | share | classes shown | MB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for source in arguments.source:
        for tile in (0, arguments.tile):
            with tempfile.TemporaryDirectory() as folder:
                task = [sys.executable, "-m", "benchmarks.converted_sheets", str(source)]
                options = ["--tile", str(tile), "--convert", f"{folder}/out"]
                subprocess.run([*task, *options], check=True)


if __name__ == "__main__":
    main()
