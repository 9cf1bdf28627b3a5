"""Says how to convert the source of a data set again, cut into other tiles."""

import shlex
from pathlib import Path

from class_maps import load, shipped
from converters.conversion import ConversionOptions
from converters.manifest import sha256
from converters.manifest_reader import Converted
from converters.prepare.cleaning import CleaningOptions
from converters.prepare.tiles import TileOptions, usual_overlap

SOURCE = "SOURCE"
"""Stands for what a data set was made from: a conversion keeps its hash, not its place."""
TO_CUT = f"To cut the tiles; {SOURCE} is what the data were converted from:"
"""Said above the line."""


def reproduce_command(converted: Converted, out: Path, tile: int) -> str | None:
    """Write the ``omr convert`` that makes a data set again, cut into other tiles.

    Args:
        converted: How it was made.
        out: Folder to make.
        tile: Side of the tiles, pixels.

    Returns:
        None where nobody knows all of how it was made, or where its class map is not one that comes
        with omr.
    """
    made, options = converted.class_map, converted.options
    if (
        options is None
        or made.name not in shipped()
        or sha256((classes := load(made.name)).path) != made.sha256
    ):
        return None
    words: list[object] = ["omr", "convert", SOURCE, out, "--classes", made.name, "--tile", tile]
    if old := options.tiles:
        if old.overlap != usual_overlap(old.size):
            words += ["--overlap", tile * old.overlap // old.size]
        words += _changed(old, TileOptions(size=1, overlap=0), "min_visible")
    if options.staff_space:
        words += ["--scale", f"staff-space:{options.staff_space:.12g}"]
    reading = classes.sources.get(converted.source)
    if reading and converted.annotation_set not in {None, reading.annotation_set}:
        words += ["--annotation-set", converted.annotation_set]
    words += _changed(options.cleaning, CleaningOptions(), "dedup_iou", "min_side")
    words += ["--clip"] if options.cleaning.clip else []
    words += _changed(options, ConversionOptions(class_map=classes), "val", "split_by", "seed")
    return shlex.join(map(str, words))


def _changed(options: object, usual: object, *names: str) -> list[object]:
    """Options of the command line that are not as usual."""
    words: list[object] = []
    for name in names:
        if (value := getattr(options, name)) != getattr(usual, name):
            words += [f"--{name.replace('_', '-')}", value]
    return words
