"""The ``omr convert`` command that recreates a data set from its source with other tiles."""

import shlex
from pathlib import Path

from class_maps import load, shipped
from converters.conversion import ConversionOptions
from converters.files.hashes import sha256
from converters.manifest import Manifest
from converters.prepare.cleaning import CleaningOptions
from converters.prepare.tiles import TileOptions, default_overlap

SOURCE = "SOURCE"
"""Placeholder for the source of a data set; a manifest contains its hash but not its path."""
TO_CUT = f"To cut the tiles ({SOURCE} is the source that the data was converted from):"
"""Heading of the command."""


def reproduce_command(manifest: Manifest, out: Path, tile: int) -> str | None:
    """Return the command that recreates a data set with other tiles.

    Args:
        manifest: Manifest of the data set.
        out: Folder to create.
        tile: Side of the new tiles in pixels.

    Returns:
        The command; None if the manifest is incomplete, or its class map does not come with omr.
    """
    recorded, options = manifest.class_map, manifest.options
    if (
        options is None
        or recorded.name not in shipped()
        or sha256((class_map := load(recorded.name)).path) != recorded.sha256
    ):
        return None
    n_sources = max(1, len(manifest.data_sets))
    arguments: list[object] = ["omr", "convert", *[SOURCE] * n_sources, out]
    arguments += ["--classes", recorded.name, "--tile", tile]
    if tiles := options.tiles:
        if tiles.overlap != default_overlap(tiles.size):
            arguments += ["--overlap", tile * tiles.overlap // tiles.size]
        arguments += _changed(tiles, TileOptions(size=1, overlap=0), "min_visible", "blank_tiles")
    if options.staff_space:
        arguments += ["--scale", f"staff-space:{options.staff_space:.12g}"]
    source = class_map.sources.get(manifest.source)
    if source and manifest.annotation_set not in {None, source.annotation_set}:
        arguments += ["--annotation-set", manifest.annotation_set]
    arguments += _changed(options.cleaning, CleaningOptions(), "dedup_iou", "min_side")
    arguments += ["--clip"] if options.cleaning.clip else []
    defaults = ConversionOptions(class_map=class_map)
    arguments += _changed(options, defaults, "val", "split_by", "seed")
    return shlex.join(map(str, arguments))


def _changed(options: object, defaults: object, *names: str) -> list[object]:
    """List the command-line options that differ from their defaults."""
    arguments: list[object] = []
    for name in names:
        if (value := getattr(options, name)) != getattr(defaults, name):
            arguments += [f"--{name.replace('_', '-')}", value]
    return arguments
