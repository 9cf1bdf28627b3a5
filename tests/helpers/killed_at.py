"""Kills this process at its Nth change of a file in a folder; run by tests in a process of its own.

Arguments: N (0 to kill nothing), source, target. Writes the number of changes.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import class_maps
from converters.conversion import ConversionOptions, convert
from converters.parts import plan
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions

OPTIONS = ConversionOptions(
    class_map=class_maps.load("harmony"),
    formats=("yolo", "coco", "parquet"),
    preparation=PreparationOptions(tiles=TileOptions(size=100, overlap=20)),
)
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


def main() -> None:
    """Convert, and be killed."""
    number, source, target = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if (event in CHANGES or is_write) and str(target.parent) in str(arguments[0]):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    plan.PART_PAGES = 1
    sys.addaudithook(watch)
    convert(source, target, OPTIONS)
    sys.stdout.write(f"{count}")


if __name__ == "__main__":
    main()
