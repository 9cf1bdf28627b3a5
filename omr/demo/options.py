"""Options of the demo and fixed settings of its commands, importable without heavy packages."""

import math
from dataclasses import dataclass
from pathlib import Path

STEPS = 1520
"""Training steps: two epochs of the engraved pages."""
MODEL = "omr-tiny"
BATCH = 4
"""Images per step: few, because a short run gains more from many steps than from large ones."""
OPTIMISATION = ("--lr", 0.005, "--warmup-epochs", 0.1)
TILE = 320
"""Side of a tile in pixels."""
BLANK_TILES = 0.1
"""Fraction of the training tiles without symbols to keep."""
STAFF_SPACE = 12
"""Staff space in pixels: large enough for stems 1.5 px wide, with whole bars in a tile."""
PAGES = 120
"""Pages to engrave: tiles for two epochs. More pages teach more than more epochs."""
SIZE = "1960x1500"
"""Size of an engraved page in pixels, lower than a sheet of paper, so that less stays empty."""
VAL = 0.12
"""Fraction of the works to hold out."""
FEWEST_PAGES = math.ceil(1 / VAL)
"""Minimum number of pages for one of them to be held out."""
HOLDOUT_FONT = "Petaluma"
"""Music font of the held-out pages, the one that looks least like the others."""
JOINT_HEADS, JOINT_CLASSES = "harmony+coco", "harmony"
"""Head config for training on music and shapes together, and the class map of the music."""
SHAPES = {"n_train": 400, "n_val": 50}
"""Images of drawn shapes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoOptions:
    """Options of ``omr demo``."""

    out: Path
    """Folder to write."""
    data: Path | None = None
    """Data set that ``omr convert`` reads; None to engrave pages."""
    pages: int = PAGES
    """Pages to engrave without ``data``."""
    classes: str = "harmony"
    """Class map: a name or a YAML file."""
    joint: bool = False
    """Whether to train on drawn shapes in COCO format as well."""
    steps: int = STEPS
    device: str = ""
    """``cpu``, ``0`` ...; empty for the first CUDA device, or the CPU."""
    seed: int = 0
    force: bool = False
    """Whether to replace ``out``, if a demo created it."""
