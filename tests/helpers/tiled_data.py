"""A data set of two engraved-like pages per split, whole and in tiles, for tests of omr eval."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import deepscores
import numpy as np

import class_maps
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions

SIZE = 200, 160
NOTE, STEM = "25", "42"
SYMBOLS = ((NOTE, [10, 20, 22, 30]), (NOTE, [60, 60, 72, 70]), (STEM, [100, 20, 103, 140]))
"""Two noteheads, and a stem longer than the overlap of tiles."""
LEVELS = {NOTE: 0, STEM: 50}
"""Grey level of the ink of each category."""


def write_source(folder: Path) -> Path:
    """Write two pages per split as a DeepScoresV2 folder; the second page is shifted by 3 px."""
    for k, split in enumerate(("train", "val")):
        data = deepscores.content(size=SIZE)
        data["images"], pixels = [], {}
        for i in range(2):
            name = f"lg-{2 * k + i}-aug-gonville--page-1.png"
            pixels[name] = _add_page(data, name, 3 * i)
        deepscores.write(folder, data, f"deepscores_{split}.json")
        for name, page in pixels.items():  # instead of the blank ones
            images.write(page, folder / "images" / name)
    return folder


def _add_page(data: dict[str, Any], name: str, shift: int) -> images.Pixels:
    """Add a page to the content of a file, and return its image."""
    pixels = np.full(SIZE[::-1], 255, np.uint8)
    ids, image_id = [], len(data["images"]) + 1
    for category, (x0, y0, x1, y1) in SYMBOLS:
        box = [x0 + shift, y0, x1 + shift, y1]
        pixels[y0:y1, box[0] : box[2]] = LEVELS[category]
        ids.append(str(len(data["annotations"]) + 1))
        data["annotations"][ids[-1]] = deepscores.annotation(category, box, str(image_id))
    size = {"width": SIZE[0], "height": SIZE[1]}
    data["images"].append({"id": image_id, "filename": name, "ann_ids": ids, **size})
    return pixels


def write_data(folder: Path, *, formats: Sequence[str] = ("yolo",), **changes: Any) -> Path:  # noqa: ANN401
    """Convert the pages: into tiles of 96 px that overlap by 32 px, unless told otherwise."""
    source = folder / "source"
    if not source.exists():
        write_source(source)
    tiles = {"tiles": TileOptions(size=96, overlap=32)} | changes
    options = ConversionOptions(
        class_map=class_maps.load("harmony"),
        formats=tuple(formats),
        preparation=PreparationOptions(**tiles),
    )
    out = folder / ("data" if tiles["tiles"] else "whole")
    convert(source, out, options)
    return out


def manifest_of(data: Path) -> dict[str, Any]:
    """Read the manifest of a data set."""
    content: dict[str, Any] = json.loads((data / "manifest.json").read_text("utf-8"))
    return content
