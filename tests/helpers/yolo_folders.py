"""Small YOLO folders for tests, with images that differ from each other."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from converters import images

SIDE_PX = 96


def draw(path: Path, seed: int) -> Path:
    """Write an image with black bars at places that depend on a seed."""
    pixels = np.full((SIDE_PX, SIDE_PX), 255, np.uint8)
    for x, y in np.random.default_rng(seed).integers(0, SIDE_PX - 16, (12, 2)):
        pixels[y : y + 16, x : x + 12] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(pixels, path)
    return path


def write_yolo(
    folder: Path, labels: Mapping[str, Sequence[int]], names: Sequence[str] = ("note", "rest")
) -> Path:
    """Write a YOLO folder.

    Args:
        folder: Folder to create.
        labels: Labels of the symbols of each image, such as ``train/a.png``.
        names: Names of the classes.
    """
    for seed, (image, of_image) in enumerate(labels.items()):
        draw(folder / "images" / image, seed)
        file = (folder / "labels" / image).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"{label} 0.5 {(i + 1) / 100} 0.1 0.015\n" for i, label in enumerate(of_image))
        file.write_text("".join(lines))
    splits = dict.fromkeys(image.split("/")[0] for image in labels)
    folders = "".join(f"{split}: images/{split}\n" for split in splits)
    (folder / "data.yaml").write_text(f"{folders}names: [{', '.join(names)}]\n")
    return folder
