"""Data sets of several annotation files, for conversions of several parts."""

import json
from pathlib import Path
from typing import Any

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


def join(folder: Path) -> Path:
    """Replace the annotation files in a folder by one with all of their pages; return its path."""
    joined: dict[str, Any] = {}
    for i, path in enumerate(sorted(folder.glob("*.json"))):
        data = json.loads(path.read_text())
        for image in data["images"]:
            image["id"] += 100 * i
            image["ann_ids"] = [str(int(key) + 100 * i) for key in image["ann_ids"]]
        for row in data["annotations"].values():
            row["img_id"] = str(int(row["img_id"]) + 100 * i)
        data["annotations"] = {str(int(k) + 100 * i): row for k, row in data["annotations"].items()}
        joined = joined or data | {"images": [], "annotations": {}}
        joined["images"] += data["images"]
        joined["annotations"] |= data["annotations"]
        path.unlink()
    (folder / "large_train.json").write_text(json.dumps(joined))
    return folder / "large_train.json"
