"""Data sets of several annotation files, for conversions of several parts."""

import json
from pathlib import Path

import cv2
import numpy as np
from deepscores import NOTE, several_pages

PAGES = 3
"""Pages of a file."""


def write(folder: Path, files: int = 4) -> Path:
    """Write annotation files of three pages each, with images of noise, and return the folder."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for i in range(files):
        names = [f"lg-{i}{k}-aug-leland--page-1.png" for k in range(PAGES)]
        symbols = [("25", [10 + 20 * k, 20, 30 + 20 * k, 36]) for k in range(i + 1)]
        data = several_pages(names, NOTE, *symbols)
        (folder / f"shard_{i}_train.json").write_text(json.dumps(data))
        for name in names:
            cv2.imwrite(f"{folder}/images/{name}", rng.integers(0, 255, (100, 200), np.uint8))
    return folder
