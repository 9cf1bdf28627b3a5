"""Small data set in COCO format: images of coloured shapes that represent a few COCO classes.

The demo uses it to train on music and COCO together without downloading COCO.
"""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from converters.images import Pixels

CLASSES = ("tie", "sports ball", "kite", "book")
"""COCO classes that are drawn as a tall triangle, a disc, a rhombus and a rectangle."""
SIZES = {"tie": (16, 36), "sports ball": (22, 22), "kite": (30, 30), "book": (36, 24)}
"""Width and height of each shape in pixels."""
FILES = re.compile(r"(train|val)/\d{12}\.png|annotations/instances_(train|val)\.json")
"""Paths of the files, relative to the folder of the data set."""


def draw_shapes(
    folder: Path, *, n_train: int, n_val: int, side: int, n_shapes: int = 4, seed: int = 1
) -> Path:
    """Draw a training and a validation split: images, and an annotation file for each split.

    Shapes may overlap, like objects in photographs.

    Args:
        folder: Folder to create.
        n_train: Number of training images.
        n_val: Number of validation images.
        side: Side of the images in pixels, at least 36.
        n_shapes: Shapes per image.
        seed: Random seed.

    Returns:
        Folder of the annotation files, which ``omr convert`` reads.
    """
    rng = np.random.default_rng(seed)
    annotation_folder = folder / "annotations"
    annotation_folder.mkdir(parents=True)
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    for split, n_images in (("train", n_train), ("val", n_val)):
        (folder / split).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i in range(1, n_images + 1):
            file = folder / split / f"{i:012}.png"
            image, boxes = _draw_image(rng, side, n_shapes)
            cv2.imwrite(str(file), image)
            images.append({"id": i, "file_name": file.name, "width": side, "height": side})
            for category, (x, y, width, height) in boxes:
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
        content = {"images": images, "annotations": annotations, "categories": categories}
        file_name = f"instances_{split}.json"
        (annotation_folder / file_name).write_text(json.dumps(content), encoding="utf-8")
    return annotation_folder


def is_shape_file(path: str) -> bool:
    """Check whether :func:`draw_shapes` writes the file of a path, relative to its folder."""
    return FILES.fullmatch(path) is not None


def _draw_image(
    rng: np.random.Generator, side: int, n_shapes: int
) -> tuple[Pixels, list[tuple[int, tuple[int, int, int, int]]]]:
    """Draw one image; return it with the category id and the xywh box of each shape."""
    image = np.full((side, side, 3), rng.integers(90, 160, 3), np.uint8)
    boxes = []
    for category in rng.integers(1, len(CLASSES) + 1, n_shapes).tolist():
        name = CLASSES[category - 1]
        width, height = SIZES[name]
        x, y = rng.integers(0, [side - width + 1, side - height + 1]).tolist()
        colour = tuple(rng.integers([0, 0, 180], [60, 60, 256]).tolist())
        _draw(image, name, (x, y, width, height), colour)
        boxes.append((category, (x, y, width, height)))
    return image, boxes


def _draw(
    image: Pixels, name: str, box_xywh: tuple[int, int, int, int], colour: tuple[int, ...]
) -> None:
    """Draw a filled shape that touches all four sides of its box."""
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
