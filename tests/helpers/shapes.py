"""Draws a data set in COCO's form: shapes in colour that stand for some of COCO's classes."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import class_maps
from converters.conversion import ConversionOptions, convert
from converters.images import Pixels

CLASSES = ("tie", "sports ball", "kite", "book")
"""COCO's own words: a tall triangle, a disc, a rhombus and a rectangle."""
SIZES = {"tie": (16, 36), "sports ball": (22, 22), "kite": (30, 30), "book": (36, 24)}
"""Width and height in pixels."""


def coco_shapes(folder: Path, *, n_images: int = 6, side: int = 96, n_shapes: int = 4) -> Path:
    """Draw ``train`` and ``val``: images, and a file of annotations for each; returns the folder.

    Shapes may overlap, as things in photographs do.
    """
    rng = np.random.default_rng(1)
    (folder / "annotations").mkdir(parents=True)
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    for split in ("train", "val"):
        (folder / split).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i in range(1, n_images + 1):
            image = np.full((side, side, 3), rng.integers(90, 160, 3), np.uint8)
            for category in rng.integers(1, len(CLASSES) + 1, n_shapes).tolist():
                width, height = SIZES[CLASSES[category - 1]]
                x, y = rng.integers(0, [side - width, side - height]).tolist()
                colour = tuple(rng.integers([0, 0, 180], [60, 60, 256]).tolist())
                _draw(image, CLASSES[category - 1], (x, y, width, height), colour)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": i,
                        "category_id": category,
                        "bbox": [x, y, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                    }
                )
            cv2.imwrite(str(folder / split / f"{i:012}.png"), image)
            images.append({"id": i, "file_name": f"{i:012}.png", "width": side, "height": side})
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


def _draw(
    image: Pixels, name: str, box_xywh: tuple[int, int, int, int], colour: tuple[int, ...]
) -> None:
    """Fill a shape that touches all four sides of its box."""
    x, y, width, height = box_xywh
    right, bottom, middle = x + width - 1, y + height - 1, x + width // 2
    if name == "sports ball":
        cv2.circle(image, (middle, y + height // 2), width // 2 - 1, colour, -1)
    elif name == "book":
        cv2.rectangle(image, (x, y), (right, bottom), colour, -1)
    else:
        kite = [(middle, y), (right, y + height // 2), (middle, bottom), (x, y + height // 2)]
        corners = kite if name == "kite" else [(middle, y), (right, bottom), (x, bottom)]
        cv2.fillPoly(image, [np.array(corners, np.int32)], colour)


def converted_shapes(folder: Path, *, n_images: int = 6, side: int = 96) -> Path:
    """Draw the shapes and convert them with the class map coco; returns the YOLO folder."""
    source = coco_shapes(folder / "source", n_images=n_images, side=side)
    options = ConversionOptions(class_map=class_maps.load("coco"))
    convert(source / "annotations", folder / "coco", options)
    return folder / "coco"
