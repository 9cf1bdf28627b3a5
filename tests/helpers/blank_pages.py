"""Blank pages with symbols of two classes, and a check of the colours in which they are drawn."""

from pathlib import PurePosixPath

import numpy as np

from converters.images import Pixels
from converters.page import Page
from eval.pictures.drawing import class_colour

NAMES = ("notehead", "stem")
CAPTION, GAP = 26, 8
"""Heights of the caption of a picture, and of the gap below it, in pixels."""


def page(boxes: list[list[float]], label: int = 0, image: str = "a.png") -> Page:
    return Page(
        image=PurePosixPath(image),
        width=100,
        height=50,
        boxes_xyxy=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        labels=np.full(len(boxes), label, dtype=np.int64),
    )


def white(side: tuple[int, ...] = (50, 100)) -> Pixels:
    return np.full(side, 255, dtype=np.uint8)


def has_colour(sheet: Pixels, label: int) -> bool:
    return bool((sheet == class_colour(label)).all(axis=-1).any())
