"""Small DeepScoresV2 folders for tests."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from class_maps import catalogue
from converters import images

CATEGORIES = {
    "1": {"name": "brace", "annotation_set": "deepscores", "color": 1},
    "2": {"name": "legerLine", "annotation_set": "deepscores", "color": 2},
    "25": {"name": "noteheadBlackOnLine", "annotation_set": "deepscores", "color": 25},
    "27": {"name": "noteheadBlackInSpace", "annotation_set": "deepscores", "color": 27},
    "42": {"name": "stem", "annotation_set": "deepscores", "color": 42},
    "135": {"name": "staff", "annotation_set": "deepscores", "color": 135},
    "138": {"name": "legerLine", "annotation_set": "muscima++", "color": 2},
    "157": {"name": "noteheadFullSmall", "annotation_set": "muscima++", "color": 25},
}
NOTE = ("25", [10, 20, 30, 36])


def annotation(category: object, box: Sequence[float], image: object = "1") -> dict[str, Any]:
    """Return one annotation; a string is the category of the first of two annotation sets."""
    x0, y0, x1, y1 = box
    return {
        "a_bbox": list(box),
        "o_bbox": [x1 - 1, y1 - 1, x1 - 1, y0, x0, y0, x0, y1 - 1],
        "cat_id": [category, None] if isinstance(category, str) else category,
        "area": 0,
        "img_id": image,
        "comments": "instance:#00008a;duration:16;",
    }


def content(
    *symbols: tuple[object, Sequence[float]], size: tuple[int, int] = (200, 100)
) -> dict[str, Any]:
    """Return the JSON of one page; ``size`` is its width and height."""
    return {
        "annotation_sets": ["deepscores", "muscima++"],
        "categories": dict(CATEGORIES),
        "images": [
            {
                "id": 1,
                "filename": "lg-7-aug-gonville--page-1.png",
                "width": size[0],
                "height": size[1],
                "ann_ids": [str(i + 1) for i in range(len(symbols))],
            }
        ],
        "annotations": {str(i + 1): annotation(*s) for i, s in enumerate(symbols)},
    }


def several_pages(names: Sequence[str], *symbols: tuple[object, Sequence[float]]) -> dict[str, Any]:
    """The JSON of a page of each name, all with the same symbols."""
    data = content()
    [image] = data["images"]
    data["images"] = []
    for i, name in enumerate(names):
        ids = [str(len(symbols) * i + k + 1) for k in range(len(symbols))]
        data["images"].append(image | {"id": i + 1, "filename": name, "ann_ids": ids})
        rows = [annotation(*symbol, image=str(i + 1)) for symbol in symbols]
        data["annotations"] |= dict(zip(ids, rows, strict=True))
    return data


def engraved(
    *symbols: tuple[str, Sequence[float]], size: tuple[int, int] = (200, 100)
) -> dict[str, Any]:
    """Return the JSON of one engraved page."""
    data = content(*(([category], box) for category, box in symbols), size=size)
    data["annotation_sets"] = ["engraved"]
    data["categories"] = {
        str(c.id): {"name": c.name, "annotation_set": "engraved", "color": c.color}
        for c in catalogue("engraved").categories
    }
    return data


def write(folder: Path, data: dict[str, Any], name: str = "deepscores_train.json") -> Path:
    """Write the JSON and its images, all white; return the path of the JSON."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(data), encoding="utf-8")
    for image in data["images"]:
        white = np.full((image["height"], image["width"]), 255, np.uint8)
        images.write(white, folder / "images" / image["filename"])
    return path


def sample() -> Path:
    """Return the folder of real sample data; skip the test if it does not exist."""
    root = Path(__file__).parents[2]
    folder = Path(os.environ.get("OMR_TEST_DATA", root.parent / "shared" / "data"))
    if not (folder / "deepscores_sample").is_dir():
        pytest.skip(f"no deepscores_sample in {folder}; set OMR_TEST_DATA")
    return folder
