"""The drawn shapes that stand for COCO, converted."""

from pathlib import Path

import class_maps
from converters.conversion import ConversionOptions, convert
from converters.shapes import draw_shapes


def converted_shapes(folder: Path, *, n_images: int = 6, side: int = 96) -> Path:
    """Draw as many images to train on as to hold out, and convert them; returns the YOLO folder."""
    source = draw_shapes(folder / "source", n_train=n_images, n_val=n_images, side=side)
    convert(source, folder / "coco", ConversionOptions(class_map=class_maps.load("coco")))
    return folder / "coco"
