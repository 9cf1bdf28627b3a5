"""Small COCO data sets for tests."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters import images

CATEGORIES = {1: "noteheadBlack", 2: "stem"}
WIDTH, HEIGHT = 100, 80


def annotation(**fields: object) -> dict[str, Any]:
    """Return an annotation of the notehead that :func:`draw` draws, with other fields replaced."""
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 10, 10], **fields}
    return {name: value for name, value in row.items() if value is not None}


def write(
    file: Path,
    names: Sequence[str] = ("x.png",),
    annotations: Sequence[Mapping[str, Any]] | None = None,
    categories: Mapping[int, str] = CATEGORIES,
) -> Path:
    """Write an annotation file; by default, every image has one notehead."""
    if annotations is None:
        annotations = [annotation(id=i, image_id=i) for i in range(1, len(names) + 1)]
    data = {
        "images": [
            {"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for i, name in enumerate(names, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in categories.items()],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data), encoding="utf-8")
    return file


def draw(file: Path, grey: int = 255) -> Path:
    """Write an image with one black square on a grey background."""
    pixels = np.full((HEIGHT, WIDTH), grey, np.uint8)
    pixels[10:20, 10:20] = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    images.write(pixels, file)
    return file
