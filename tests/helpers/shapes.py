"""Converted data set of drawn shapes in COCO format."""

from pathlib import Path

import class_maps
from converters.conversion import ConversionOptions, convert
from omr.demo.shapes import draw_shapes


def converted_shapes(folder: Path, *, n_images: int = 6, side: int = 96) -> Path:
    """Draw and convert training images and as many validation images; return the YOLO folder."""
    source = draw_shapes(folder / "source", n_train=n_images, n_val=n_images, side=side)
    convert(source, folder / "coco", ConversionOptions(class_map=class_maps.load("coco")))
    return folder / "coco"
